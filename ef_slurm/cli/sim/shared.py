"""What the subcommands of ef-sim share: input files, errors, the progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ef_slurm.cli.common.output import say
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.throughput import ThroughputTables, read_throughputs
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import GpuGroup, side_by_side, uniform
from ef_slurm.simulator.compare import simulate_all
from ef_slurm.simulator.errors import InvariantError, SimulatorError
from ef_slurm.simulator.simulate import Request, Result, prepare
from ef_slurm.simulator.trace import Trace, on_types, read_trace


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


TypedDirectories = Sequence[tuple[str | None, Path]]
"""(GPU type, directory of its tables); None for every type."""


def cluster_of(
    groups: Sequence[GpuGroup], nodes: int | None, gpus_per_node: int | None
) -> tuple[GpuGroup, ...]:
    """The cluster of `--group`, or of `--nodes` and `--gpus-per-node`.

    Raises:
        UsageError: both, neither, or half of the latter.
        SimulatorError: two groups of one type.
    """
    if groups:
        if nodes is not None or gpus_per_node is not None:
            raise click.UsageError("--group stands instead of --nodes and --gpus-per-node")
        return side_by_side(groups)
    for name, value in (("--nodes", nodes), ("--gpus-per-node", gpus_per_node)):
        if value is None:
            raise click.UsageError(f"Missing option '{name}' (or '--group').")
    assert nodes is not None
    assert gpus_per_node is not None
    return uniform(nodes, gpus_per_node)


def trace_of(file: Path, throughputs: TypedDirectories, cluster: Sequence[GpuGroup]) -> Trace:
    """The trace; a note on standard error where its rows had to be sorted.

    Raises:
        InputError: trace or tables are not valid.
        SimulatorError: tables of a type that the cluster does not have, or twice.
    """
    by_type = _tables_by_type(throughputs, cluster)
    # Of the jobs, one type's curve is enough.
    merged = {key: curve for one in reversed(by_type.values()) for key, curve in one.items()}
    trace = read_trace(file, merged)
    if len(cluster) > 1:
        trace = on_types(trace, by_type)
    if trace.unsorted_rows:
        rows = f"{trace.unsorted_rows} rows out of order"
        say(f"note: {file}: {rows}, sorted by submission", err=True)
    return trace


def _tables_by_type(
    throughputs: TypedDirectories, cluster: Sequence[GpuGroup]
) -> dict[str, ThroughputTables]:
    types = [group.gpu_type for group in cluster]
    named: dict[str | None, Path] = {}
    for kind, directory in throughputs:
        if kind is not None and kind not in types:
            raise SimulatorError(
                f"--throughputs {kind}=…: the cluster has no such GPU type; it has "
                f"{', '.join(types)}"
            )
        if kind in named:
            raise SimulatorError(f"--throughputs: twice for {kind or 'every GPU type'}")
        named[kind] = directory
    tables: dict[str, ThroughputTables] = {}
    for group in cluster:
        where = named.get(group.gpu_type, named.get(None))
        tables[group.gpu_type] = tables_of(where, group.gpus_per_node)
    return tables


def tables_name(throughputs: TypedDirectories) -> str:
    """What the SQLite file says of the tables."""
    names = [str(path) if kind is None else f"{kind}={path}" for kind, path in throughputs]
    return ",".join(names) or "analytic"


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
