"""Counts of click's options are read as those of ef-sbatch."""

import click
import pytest
from click.testing import CliRunner

from ef_slurm.cli.common.counts import COUNT


@click.command()
@click.option("--jobs", type=COUNT, default=3)
def counted(jobs: int) -> None:
    click.echo(repr(jobs))


@pytest.mark.parametrize(
    ("words", "number"), [([], 3), (["--jobs=2k"], 2000), (["--jobs=1e2"], 100)]
)
def test_a_count(words: list[str], number: int) -> None:
    assert CliRunner().invoke(counted, words).output == f"{number}\n"


@pytest.mark.parametrize("text", ["0", "1.5", "many"])
def test_what_is_none(text: str) -> None:
    done = CliRunner().invoke(counted, [f"--jobs={text}"])
    assert done.exit_code == 2
    assert f"'{text}' is not a whole number of 1 or more" in done.output
