"""What the subcommands of ef-sim share: input files, errors, the progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ef_slurm.cli.common.output import say
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.throughput import ThroughputTables, read_throughputs
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.compare import simulate_all
from ef_slurm.simulator.errors import InvariantError, SimulatorError
from ef_slurm.simulator.simulate import Request, Result, prepare
from ef_slurm.simulator.trace import Trace, read_trace


class _Bug(click.ClickException):
    exit_code = 70  # EX_SOFTWARE of sysexits.h


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors of the simulator become messages: 1 for bad input, 70 for a bug."""

    @wraps(command)
    def guarded(**options: Any) -> None:
        try:
            command(**options)
        except (SimulatorError, FormatError) as error:
            kind = _Bug if isinstance(error, InvariantError) else click.ClickException
            raise kind(str(error)) from None

    return guarded


def trace_of(file: Path, throughputs: Path | None, gpus_per_node: int) -> Trace:
    """The trace; a note on standard error where its rows had to be sorted.

    Raises:
        InputError: trace or tables are not valid.
    """
    trace = read_trace(file, tables_of(throughputs, gpus_per_node))
    if trace.unsorted_rows:
        rows = f"{trace.unsorted_rows} rows out of order"
        say(f"note: {file}: {rows}, sorted by submission", err=True)
    return trace


def tables_of(directory: Path | None, gpus_per_node: int) -> ThroughputTables:
    """The tables of `--throughputs`, or ef-sim's own.

    Raises:
        InputError: a table is not valid.
    """
    return analytic_tables(gpus_per_node) if directory is None else read_throughputs(directory)


def possible_of(requests: list[Request]) -> list[Request]:
    """Those that can run here and on this trace, with a note on the others."""
    possible = []
    for request in requests:
        try:
            prepare(request)
        except (SimulatorError, FormatError) as error:
            say(f"note: {request.policy} left out: {error}", err=True)
        else:
            possible.append(request)
    return possible


def simulate_with_progress(requests: list[Request], processes: int) -> list[Result]:
    """Simulates, `processes` at a time, with a bar of the jobs that left.

    Raises:
        SimulatorError: one of the simulations cannot be done, or failed.
    """
    total = sum(len(request.trace.jobs) for request in requests)
    with _progress(total) as on_done:
        return simulate_all(requests, processes, on_done)


@contextmanager
def _progress(jobs: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(
        length=jobs,
        label="simulating",
        file=sys.stderr,
        show_pos=True,
        update_min_steps=max(1, jobs // 200),
    ) as bar:
        yield bar.update
