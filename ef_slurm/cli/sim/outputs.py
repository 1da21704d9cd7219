"""Where the results of ef-sim go: terminal, JSON, HTML page, figure, SQLite file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import click

from ef_slurm.charts import library
from ef_slurm.cli.common.output import say
from ef_slurm.cli.common.version import own_version
from ef_slurm.formats.codec import pretty
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.files import write_whole
from ef_slurm.formats.times import format_iso
from ef_slurm.simulator.simulate import Result
from ef_slurm.simulator.site import Scaling

_EXTRA = "simulator"
"""What brings the charts."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that the options name; None where an option was not given."""

    json_file: Path | None = None
    html_file: Path | None = None
    figure_file: Path | None = None
    sqlite_file: Path | None = None

    def check(self) -> None:
        """Refuses, before the work is done, what could not be written after it.

        Raises:
            ChartsError: there is nothing to draw with, or the figure's format is not known.
            FormatError: the SQLite file cannot be used, or a file's directory is not there.
        """
        for file in (self.json_file, self.html_file, self.figure_file):
            if file is not None and not is_stdout(file) and not file.parent.is_dir():
                raise FormatError(f"{file}: cannot be written: there is no directory {file.parent}")
        if self.figure_file is not None:
            library.check_file(self.figure_file, _EXTRA)
        if self.html_file is not None:
            library.need(_EXTRA)
        if self.sqlite_file is not None:
            from ef_slurm.simulator.report.database import prepare_database  # slow to import

            prepare_database(self.sqlite_file)

    def write_text(self, text: str) -> None:
        """To the terminal, unless JSON goes there."""
        if not is_stdout(self.json_file):
            for line in text.split("\n"):
                say(line)

    def write_json(self, content: object) -> None:
        """`--json`."""
        if self.json_file is not None:
            write_text(self.json_file, pretty(content) + "\n")

    def write_html(self, page: Callable[[], str]) -> None:
        """`--html`; the page is made only if it is wanted."""
        if self.html_file is not None:
            write_text(self.html_file, page())

    def write_figure(self, draw: Callable[[Path], None]) -> None:
        """`--png`."""
        if self.figure_file is not None:
            draw(self.figure_file)

    def add_to_database(
        self,
        results: Sequence[Result],
        trace_file: Path,
        *,
        command: str,
        if_infeasible: str,
        throughputs: str | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        """`--sqlite`. See `RunContext` for the arguments.

        Raises:
            FormatError: the file cannot be written.
        """
        if self.sqlite_file is None:
            return
        from ef_slurm.simulator.report.database import RunContext, add_results

        context = RunContext(
            command=command,
            recorded_at=format_iso(time.time(), UTC),
            version=own_version(),
            trace_file=str(trace_file),
            throughputs=throughputs,
            if_infeasible=if_infeasible,
            scaling=None if scaling is None else scaling.name,
            max_growth=None if scaling is None else scaling.max_growth,
        )
        add_results(self.sqlite_file, results, context)


def is_stdout(file: Path | None) -> bool:
    """Whether an option says "-"."""
    return file is not None and str(file) == "-"


def write_text(file: Path, content: str) -> None:
    """Writes to a file, whole or not at all, or to standard output.

    Raises:
        FormatError: it cannot be written.
    """
    if is_stdout(file):
        click.echo(content, nl=False)
    else:
        write_whole(file, content)
