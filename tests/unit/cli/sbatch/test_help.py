"""The help against the table of options, of which it is made."""

import click
import pytest
from click.testing import CliRunner

from ef_slurm.cli.common.grouped import TableOption, group_of
from ef_slurm.cli.profile.command import _command as profile
from ef_slurm.cli.sbatch.command import click_command
from ef_slurm.cli.sbatch.options import ANSWERED, GROUPS, OWN


def shown() -> str:
    result = CliRunner().invoke(click_command(), ["--test-only", "--help"], terminal_width=100)
    assert result.exit_code == 0
    return result.stdout


def test_every_option_of_ours_is_in_the_help() -> None:
    help_text = shown()
    assert [one.flag for one in (*OWN, *ANSWERED) if f"{one.flag}" not in help_text] == []
    assert [one.flag for one in (*OWN, *ANSWERED) if not one.help.endswith(".")] == []
    for each in GROUPS[:-1]:
        assert f"{each.title}:\n" in help_text


def test_it_fits_a_terminal() -> None:
    assert [line for line in shown().splitlines() if len(line) > 100] == []


def test_the_options_behind_a_script_are_the_scripts_own() -> None:
    context = click_command().make_context(
        "ef-sbatch", ["-J", "x", "train.py", "--help"], resilient_parsing=True
    )
    assert context.obj == ["train.py", "--help"]
    assert [item.type for item in context.command.shell_complete(context, "--d")] == ["file"]


def test_options_are_completed_before_the_script() -> None:
    context = click_command().make_context("ef-sbatch", ["-J", "x"], resilient_parsing=True)
    found = [item.value for item in context.command.shell_complete(context, "--dead")]
    assert found == ["--deadline"]


@pytest.mark.parametrize(
    ("flag", "spelled"),
    [("--soft", "--soft[=GRACE]"), ("--wait", "-W, --wait"), ("--job-name", "-J, --job-name=NAME")],
)
def test_options_are_spelled_as_in_sbatchs_manual(flag: str, spelled: str) -> None:
    (found,) = (one for one in click_command().params if flag in one.opts)
    assert isinstance(found, TableOption)
    assert found.spelling == spelled
    assert group_of(found) in {each.title for each in GROUPS}


def test_the_help_of_a_subcommand_that_takes_a_script() -> None:
    assert isinstance(profile, click.Group)
    result = CliRunner().invoke(profile, ["run", "--gpus=1", "--help"])
    assert result.exit_code == 0
    assert "run [OPTIONS] SCRIPT [ARGUMENT...]" in result.stdout.splitlines()[0]
