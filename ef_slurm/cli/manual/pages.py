"""The commands, and what click does not know of them: variables, files, where to read on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType

import click

CONFIGURATION = (
    ("/etc/ef-slurm/ef-slurm.toml", "The site's configuration."),
    ("~/.config/ef-slurm/ef-slurm.toml", "One person's own, instead of it."),
)
VARIABLES = (
    ("EF_SLURM_CONFIG", "The configuration file, where --config names none."),
    ("NO_COLOR", "Set to anything: no colours."),
)
TIME_ZONE = ("TZ", "The time zone of the times that are read and shown.")
STATE_DIRECTORY = (
    "~/.ef-slurm/jobs/STAMP-NAME-…/",
    "A job's state directory, or under [jobs] state_root: checkpoints, progress, request.",
)


@dataclass(frozen=True, slots=True)
class Page:
    """The manual page of a command.

    Args:
        section: of the manual: 1 for everybody, 8 for administrators.
        load: the command as click knows it.
        variables, files: name and what it is.
        more: further sections: heading and text in paragraphs.
    """

    program: str
    section: int
    load: Callable[[], click.Command]
    variables: tuple[tuple[str, str], ...] = VARIABLES
    files: tuple[tuple[str, str], ...] = CONFIGURATION
    see_also: tuple[str, ...] = ()
    more: Mapping[str, Callable[[], str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its file: `ef-sbatch.1`."""
        return f"{self.program}.{self.section}"

    @property
    def see(self) -> list[str]:
        """Where to read on: our other pages, then those of others."""
        ours = [f"{one.program}({one.section})" for one in PAGES if one is not self]
        return [*ours, *self.see_also]


def _named(module: str, name: str) -> Callable[[], click.Command]:
    """Loads a command when its page is made."""

    def load() -> click.Command:
        found: click.Command = getattr(import_module(f"ef_slurm.cli.{module}"), name)
        return found

    return load


def _sbatch() -> click.Command:
    from ef_slurm.cli.sbatch.command import click_command

    return click_command()


def _not_taken() -> str:
    """sbatch's options that decide nothing here, and what to use instead."""
    from ef_slurm.cli.sbatch.options import GROUPS
    from ef_slurm.cli.sbatch.sbatch_table import SBATCH, Handling

    described = {option.name for each in GROUPS for option in each.options}
    left = [one for one in SBATCH if one.option.name not in described]
    lines = ["These say what ef-slurm decides. Some are refused:"]
    lines += [
        f"{one.option.flag}: {one.words}." for one in left if one.handling is Handling.REFUSED
    ]
    lines.append("The others are taken, and change nothing:")
    lines += [
        f"{one.option.flag}: {one.words}." for one in left if one.handling is not Handling.REFUSED
    ]
    return "\n\n".join(lines)


PAGES: tuple[Page, ...] = (
    Page(
        "ef-sbatch",
        1,
        _sbatch,
        variables=(
            *VARIABLES,
            TIME_ZONE,
        ),
        files=(*CONFIGURATION, STATE_DIRECTORY),
        see_also=("sbatch(1)",),
        more=MappingProxyType({"OPTIONS OF SBATCH THAT DECIDE NOTHING": _not_taken}),
    ),
    Page(
        "ef-squeue",
        1,
        _named("squeue.command", "_command"),
        variables=(*VARIABLES, TIME_ZONE, ("COLUMNS", "The width of the table on a terminal.")),
        see_also=("squeue(1)", "sacct(1)"),
    ),
    Page("ef-scancel", 1, _named("scancel", "_command"), see_also=("scancel(1)",)),
    Page(
        "ef-scontrol",
        1,
        _named("scontrol.command", "_command"),
        variables=(*VARIABLES, TIME_ZONE),
        files=(*CONFIGURATION, STATE_DIRECTORY),
        see_also=("scontrol(1)",),
    ),
    Page("ef-profile", 1, _named("profile.command", "_command"), see_also=("torchrun(1)",)),
    Page(
        "ef-sim",
        1,
        _named("sim.command", "main"),
        files=(
            ("TRACE", "A trace: CSV, or what sacct writes; docs/simulator.md has its columns."),
        ),
        see_also=("sacct(1)",),
    ),
    Page(
        "ef-schedd",
        8,
        _named("schedd.command", "_command"),
        files=(
            *CONFIGURATION,
            (
                "~/.local/state/ef-slurm/queue.sqlite",
                "The queue, where [queue] path says nothing else; a service has it in"
                " /var/lib/ef-slurm.",
            ),
            ("ef-schedd.sock", "Beside the queue, or [daemon] socket: where commands ask."),
        ),
        see_also=("slurmctld(8)", "munged(8)", "systemctl(1)"),
    ),
)
"""All commands, in the order in which they are told of."""
