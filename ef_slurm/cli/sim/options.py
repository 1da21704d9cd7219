"""Options that the commands of ef-sim share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.numbers import parse_count
from ef_slurm.model import Admission, Limit, ModelError, Policy, Weight, is_power_of_two
from ef_slurm.simulator.accounts import parse_share
from ef_slurm.simulator.cluster import GpuGroup, parse_group
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.failures import NONE, REPAIR_SECONDS, FailuresOption, parse_failures
from ef_slurm.simulator.knowledge import CurvesOption, parse_curves
from ef_slurm.simulator.overhead import OverheadModel, parse_overhead
from ef_slurm.simulator.policies.registry import POLICIES

FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


def overhead(text: str) -> OverheadModel:
    """The type of `--overhead`."""
    try:
        return parse_overhead(text)
    except SimulatorError as error:
        raise click.BadParameter(str(error)) from None


def curves(text: str) -> CurvesOption:
    """The type of `--curves`."""
    try:
        return parse_curves(text)
    except SimulatorError as error:
        raise click.BadParameter(str(error)) from None


def failures(text: str) -> FailuresOption:
    """The type of `--failures`."""
    try:
        return parse_failures(text)
    except SimulatorError as error:
        raise click.BadParameter(str(error)) from None


def power_of_two(text: str) -> int:
    """The type of `--gpus-per-node`."""
    number = parse_count(text)
    if number is None or not is_power_of_two(number):
        raise click.BadParameter(f"{text!r} is not valid: a power of two (1, 2, 4, 8, …)")
    return number


def group(text: str) -> GpuGroup:
    """The type of `--group`."""
    try:
        return parse_group(text)
    except SimulatorError as error:
        raise click.BadParameter(str(error)) from None


def typed_directory(text: str) -> tuple[str | None, Path]:
    """The type of `--throughputs` where there may be several GPU types."""
    kind, equals, directory = text.partition("=")
    # A directory's own name may have a = in it, behind a slash.
    if not equals or "/" in kind:
        return None, Path(text)
    return kind, Path(directory)


def policies(text: str) -> tuple[str, ...]:
    """The type of `--policies`."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in POLICIES:
            raise click.BadParameter(f"{name!r} is not a policy: one of {', '.join(POLICIES)}")
    return names


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order of `--help`."""

    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


CLUSTER = (
    click.option(
        "--nodes", required=True, type=click.IntRange(min=1), help="Nodes of the cluster."
    ),
    click.option(
        "--gpus-per-node",
        required=True,
        type=power_of_two,
        metavar="POWER OF TWO",
        help="GPUs of each node.",
    ),
)
ANY_CLUSTER = (
    click.option("--nodes", type=click.IntRange(min=1), help="Nodes of the cluster."),
    click.option(
        "--gpus-per-node",
        type=power_of_two,
        metavar="POWER OF TWO",
        help="GPUs of each node.",
    ),
    click.option(
        "--group",
        "groups",
        type=group,
        multiple=True,
        metavar="TYPE:NODESxGPUS",
        help="Instead of these two: nodes of one GPU type, as a100:4x8. Repeated for a cluster of "
        "several types.",
    ),
)
TYPED_TABLES = click.option(
    "--throughputs",
    type=typed_directory,
    multiple=True,
    metavar="[TYPE=]DIR",
    help="Throughput tables, <model>.csv each; with TYPE=, those of one GPU type of --group. "
    "Default: ef-sim's own analytic curves.",
)
TABLES = click.option(
    "--throughputs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Throughput tables, <model>.csv each. Default: ef-sim's own analytic curves.",
)
JSON = click.option(
    "--json",
    "json_file",
    type=FILE,
    metavar="FILE",
    help="Write the numbers as JSON ('-': only that, to standard output).",
)
HTML = click.option(
    "--html",
    "html_file",
    type=FILE,
    metavar="FILE",
    help="Write a report, one self-contained page.",
)
PNG = click.option(
    "--png",
    "figure_file",
    type=FILE,
    metavar="FILE",
    help="Write a figure (.png, .svg or .pdf).",
)
SQLITE = click.option(
    "--sqlite",
    "sqlite_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add the results to an SQLite file; many runs may share it.",
)
OUTPUTS = (JSON, HTML, PNG, SQLITE)
CHECK = click.option(
    "--check", is_flag=True, help="Check the simulator's own rules at every event (slower)."
)
PROCESSES = click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    show_default="the machine's cores",
    help="Simulations at a time.",
)


CURVES = click.option(
    "--curves",
    type=curves,
    metavar="known|learned|off:SPREAD[:SEED]",
    default="known",
    show_default=True,
    help="What the scheduler knows of throughput curves: the truth; nothing until a job was "
    "measured; or curves that are each wrong by a factor from 1 - SPREAD to 1 + SPREAD.",
)


FAILURES = click.option(
    "--failures",
    type=failures,
    metavar="MTBF[:REPAIR[:SEED]]",
    default=NONE,
    show_default=True,
    help="Every node fails after an exponentially distributed time with this mean and is down for "
    f"REPAIR ({describe_duration(REPAIR_SECONDS)}): jobs on it go on from their last checkpoint. "
    "Durations as in 30d, 12h, 30-00:00:00.",
)


def if_infeasible(*names: str, default: str) -> Callable[[Any], Any]:
    """`--if-infeasible` with these choices."""
    return click.option(
        "--if-infeasible",
        type=click.Choice(names),
        default=default,
        show_default=True,
        help="What elasticflow does with a deadline that it cannot promise.",
    )


def admission(*, several: bool = False) -> Callable[[Any], Any]:
    """`--admission`; with `several` elasticflow is simulated once with each."""
    first_come = Admission.FIRST_COME.value
    return click.option(
        "--admission",
        type=click.Choice([one.value for one in Admission]),
        default=(first_come,) if several else first_come,
        multiple=several,
        show_default=first_come,
        help="Whom elasticflow promises a deadline when not everybody can be: whoever comes first, "
        "or with a price on GPU time, learned from those who have arrived."
        + (" Repeated to compare them." if several else ""),
    )


def account_number(option: str, what: str) -> Callable[[str], tuple[str, float]]:
    """The type of `--limit` and `--weight`."""

    def parse(text: str) -> tuple[str, float]:
        try:
            return parse_share(text, option, what)
        except SimulatorError as error:
            raise click.BadParameter(str(error)) from None

    return parse


ACCOUNTS = (
    click.option(
        "--limit",
        "limits",
        type=account_number("--limit", "GPUS"),
        multiple=True,
        metavar="ACCOUNT=GPUS",
        help="The most GPUs that the jobs of an account hold at a time, under elasticflow and "
        "slurm. Repeated for several.",
    ),
    click.option(
        "--weight",
        "weights",
        type=account_number("--weight", "NUMBER"),
        multiple=True,
        metavar="ACCOUNT=NUMBER",
        help="What a promise to an account's jobs counts with --admission most-promises. Repeated "
        "for several.",
    ),
)


def planner_policy(
    admission: str, limits: Sequence[tuple[str, float]], weights: Sequence[tuple[str, float]]
) -> Policy:
    """The planner's settings that these options ask for.

    Raises:
        SimulatorError: a weight or a limit that is none.
    """
    for account, gpus in limits:
        if gpus != int(gpus):
            raise SimulatorError(f"--limit {account}={gpus:g} is not valid: a whole number of GPUs")
    try:
        return Policy(
            offers=False,
            admission=Admission(admission),
            limits=tuple(Limit(int(gpus), account=account) for account, gpus in limits),
            weights=tuple(Weight(number, account=account) for account, number in weights),
        )
    except ModelError as error:
        raise SimulatorError(f"--weight: {error}") from None


def cost(default: str) -> Callable[[Any], Any]:
    """`--overhead` with this default."""
    return click.option(
        "--overhead",
        type=overhead,
        metavar="zero|constant:SECONDS|paper|KIND=SECONDS,…",
        default=default,
        show_default=True,
        help="Training lost at every change of a job's GPUs: the same for all, or by kind "
        "(start, grow, shrink, move, restart), as in start=30,grow=2,shrink=1.5. A kind that is "
        "not named costs as much as the dearest that is; docs/simulator.md says which is which.",
    )
