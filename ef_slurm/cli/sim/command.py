"""ef-sim: what a scheduler would have done with a trace, or with a site's own history."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from ef_slurm.cli.common.missing import missing_package
from ef_slurm.cli.common.streams import forget_unwritten, lost_output, stand_in_for_closed_streams
from ef_slurm.cli.common.version import version_option

PROGRAM = "ef-sim"


@dataclass(frozen=True)
class _Subcommand:
    """Where a subcommand is, and its line in the help."""

    module: str
    function: str
    summary: str


_SUBCOMMANDS: Mapping[str, _Subcommand] = {
    "run": _Subcommand("simulate", "run_command", "Simulate TRACE under one policy."),
    "compare": _Subcommand(
        "simulate", "compare_command", "Simulate TRACE under several policies, side by side."
    ),
    "generate": _Subcommand(
        "generate", "generate_command", "Make a synthetic trace and write it to TRACE."
    ),
    "site": _Subcommand(
        "site",
        "site_command",
        "Ask what ef-slurm would have done with your cluster's own history.",
    ),
}


class _Subcommands(click.Group):
    """Loads a subcommand when it is asked for: help needs no package of the simulator's."""

    def main(self, *arguments: Any, **more: Any) -> Any:
        """As click does it, and standard output that cannot be written is an error in one line."""
        stand_in_for_closed_streams()
        try:
            return super().main(*arguments, **more)
        except OSError:
            lost = lost_output()
            if not lost:
                raise
            with suppress(OSError):
                click.echo(f"Error: standard output: {lost}", err=True)
            sys.exit(1)
        finally:
            forget_unwritten()

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_SUBCOMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        known = _SUBCOMMANDS.get(name)
        if known is None:
            return None
        try:
            module = import_module(f"ef_slurm.cli.sim.{known.module}")
        except ModuleNotFoundError as error:
            missing = missing_package(PROGRAM, error)
            if missing is None:
                raise
            raise click.ClickException(missing) from None
        command: click.Command = getattr(module, known.function)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.summary) for name, one in _SUBCOMMANDS.items()])


@click.group(cls=_Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@version_option(PROGRAM)
def main() -> None:
    """Simulate deadline scheduling on a GPU cluster.

    \b
    A first look, with nothing but this package:
      ef-sim generate trace.csv --jobs 200 --mean-interarrival 300
      ef-sim run trace.csv --nodes 8 --gpus-per-node 8
      ef-sim compare trace.csv --nodes 8 --gpus-per-node 8 --html report.html

    \b
    Results of many runs in one file, and a question across them:
      ef-sim compare trace.csv --nodes 8 --gpus-per-node 8 --sqlite results.db
      sqlite-utils query results.db --table \\
          'select policy, overhead, ratio from runs order by ratio desc'

    \b
    Exit codes: 0 done, 1 a file cannot be read or written, or a package is missing,
      2 usage, 70 a fault of ef-sim itself.
    """


if __name__ == "__main__":
    main()
