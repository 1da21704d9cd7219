"""ef-profile: the profile library."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import click

from ef_slurm.api.client import expect
from ef_slurm.api.messages import (
    AddRates,
    DeleteRates,
    FindCurves,
    KnownCurves,
    ListRates,
    Rates,
    RatesChanged,
    Request,
)
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.counts import COUNT
from ef_slurm.cli.common.entry import configuration, run_click
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.grouped import TableCommand
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.version import version_option
from ef_slurm.cli.profile.drawing import curve_lines, rate_lines
from ef_slurm.cli.profile.figure import check_figure_file, write_figure
from ef_slurm.cli.profile.run_help import ABOUT, EPILOG, OPERANDS
from ef_slurm.cli.profile.run_options import RUN_GROUPS
from ef_slurm.cli.profile.tables import rates_of, table_of
from ef_slurm.cli.sbatch.completing import COMPLETE
from ef_slurm.cli.sbatch.environment import variables_of
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.throughput import read_table
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import UNSPECIFIED, KnownCurve, ModelError

PROGRAM = "ef-profile"

EXAMPLES = """
\b
Examples:
  ef-profile run --gpus=1,2,4 train.py --lr 0.1     measure it; see ef-profile run --help
  ef-profile list                              what was measured of my trainings
  ef-profile show bert --global-batch-size=256
  ef-profile plot bert --global-batch-size=256 --output bert.svg
  ef-profile import bert.csv --gpu-type=a100   a table of another site's, for me
  ef-profile export bert > bert.csv
  ef-profile delete bert --global-batch-size=256
\b
Exit codes: 0 done, 1 a file cannot be read or written, 2 usage, or nothing is known,
  3 run: some sizes are not measured, 4 ef-schedd cannot be reached, 5 not allowed.
"""

R = TypeVar("R")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_BATCH = click.option("--global-batch-size", type=COUNT, metavar="B", help="Of this one only.")
_NEEDED_BATCH = click.option(
    "--global-batch-size",
    type=COUNT,
    metavar="B",
    required=True,
    help="Samples per iteration over all GPUs.",
)
_PRECISION = click.option(
    "--precision", default=UNSPECIFIED, show_default=True, metavar="WORD", help="As at submission."
)
_ANY_PRECISION = click.option("--precision", metavar="WORD", help="Of this one only.")
_TYPE = click.option("--gpu-type", metavar="TYPE", help="On GPUs of this type only.")
_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration file."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON: times are epoch seconds.")


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@version_option(PROGRAM)
def _command() -> None:
    """What is known of how fast trainings go.

    ef-schedd remembers the rates of every job with a model name, so that the next submission of the
    same training needs no --throughput. Your own count before your account's, and those before what
    several users of the site agree on.
    """


def _run(words: Sequence[str]) -> ExitCode:
    from ef_slurm.cli.profile.run import run_command  # the others need nothing of ef-sbatch's

    return run_command(words)


_command.add_command(
    TableCommand(
        "run",
        _run,
        RUN_GROUPS,
        OPERANDS,
        about=ABOUT,
        epilog=EPILOG,
        complete=COMPLETE,
        variables=variables_of(ours=False),
    )
)


@_command.command("list")
@click.argument("model", required=False)
@_JSON
@_CONFIG
def list_command(model: str | None, as_json: bool, config: Path | None) -> ExitCode:
    """Show what was measured of your own trainings, of all or of MODEL."""
    rates = _ask(config, ListRates(model_name=model), Rates).rates
    if as_json:
        say_json({"rates": rates})
        return ExitCode.OK
    for line in rate_lines(rates, local_zone()):
        say(line)
    return ExitCode.OK


@_command.command("show")
@click.argument("model")
@_NEEDED_BATCH
@_PRECISION
@_TYPE
@_JSON
@_CONFIG
def show_command(
    model: str,
    global_batch_size: int,
    precision: str,
    gpu_type: str | None,
    as_json: bool,
    config: Path | None,
) -> ExitCode:
    """Draw the curve that a submission of MODEL would get: measured sizes, and what is expected."""
    curves = _curves(config, FindCurves(model, global_batch_size, precision), gpu_type)
    if as_json:
        say_json({"curves": curves})
        return ExitCode.OK
    for curve in curves:
        for line in curve_lines(curve, local_zone()):
            say(line)
    return ExitCode.OK


@_command.command("plot")
@click.argument("model")
@_NEEDED_BATCH
@_PRECISION
@_TYPE
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="NAME.png, NAME.svg or NAME.pdf.",
)
@_CONFIG
def plot_command(
    model: str,
    global_batch_size: int,
    precision: str,
    gpu_type: str | None,
    output: Path,
    config: Path | None,
) -> ExitCode:
    """Draw the curve of MODEL into a file, with its uncertainty. Needs ef-slurm[web]."""
    check_figure_file(output)
    curves = _curves(config, FindCurves(model, global_batch_size, precision), gpu_type)
    title = f"{model}, {global_batch_size} samples per iteration, {precision}"
    write_figure(title, curves, output)
    return ExitCode.OK


@_command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--gpu-type", metavar="TYPE", required=True, help="On which it was measured.")
@click.option("--model-name", metavar="NAME", help="Default: the file's name without .csv.")
@_PRECISION
@click.option(
    "--gpus-per-node", type=click.IntRange(min=1), default=8, show_default=True, metavar="N",
    help="GPUs of a whole node, where it was measured.",
)  # fmt: skip
@click.option("--software", default="", metavar="TEXT", help="What it ran with, for the record.")
@_CONFIG
def import_command(
    file: Path,
    gpu_type: str,
    model_name: str | None,
    precision: str,
    gpus_per_node: int,
    software: str,
    config: Path | None,
) -> ExitCode:
    """Take in a throughput table (global_batch_size,1,2,4,...), for yourself alone."""
    try:
        rates = rates_of(
            read_table(file),
            model_name=file.stem if model_name is None else model_name,
            precision=precision,
            gpu_type=gpu_type,
            gpus_per_node=gpus_per_node,
            source=str(file),
            software=software,
            at=time.time(),
        )
    except (FormatError, ModelError) as error:
        raise UsageError(str(error)) from None
    count = _ask(config, AddRates(rates), RatesChanged).count
    say(f"{count} rates imported")
    return ExitCode.OK


@_command.command("export")
@click.argument("model")
@_ANY_PRECISION
@_TYPE
@_CONFIG
def export_command(
    model: str, precision: str | None, gpu_type: str | None, config: Path | None
) -> ExitCode:
    """Write what was measured of your own MODEL as a throughput table, to standard output."""
    wanted = ListRates(model_name=model, precision=precision, gpu_type=gpu_type)
    click.echo(table_of(_ask(config, wanted, Rates).rates), nl=False)
    return ExitCode.OK


@_command.command("delete")
@click.argument("model")
@_BATCH
@_ANY_PRECISION
@_TYPE
@_CONFIG
def delete_command(
    model: str,
    global_batch_size: int | None,
    precision: str | None,
    gpu_type: str | None,
    config: Path | None,
) -> ExitCode:
    """Forget what was measured of your own MODEL: all, or what has the options' values."""
    wanted = DeleteRates(model, global_batch_size, precision, gpu_type)
    count = _ask(config, wanted, RatesChanged).count
    if not count:
        raise UsageError(f"{model}: nothing of yours is known under it; see ef-profile list")
    say(f"{count} rate{'' if count == 1 else 's'} forgotten")
    return ExitCode.OK


def _curves(
    config: Path | None, wanted: FindCurves, gpu_type: str | None
) -> tuple[KnownCurve, ...]:
    known = _ask(config, wanted, KnownCurves).curves
    found = tuple(one for one in known if gpu_type in (None, one.gpu_type))
    if not found:
        raise UsageError(
            f"{wanted.model_name}: nothing was measured under it with a global batch size of "
            f"{wanted.global_batch_size} and the precision {wanted.precision!r}; see "
            "ef-profile list"
        )
    return found


def _ask(config: Path | None, request: Request, kind: type[R]) -> R:
    site = configuration(config)
    with closing(connect(site, lambda: slurm_of(site))) as client:
        return expect(kind, client.ask(request))


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
