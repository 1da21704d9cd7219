"""ef-sim: what a scheduler would have done with a trace, or with a site's own history."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ef_slurm.cli.sim import options as sim_options
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.files import write_whole
from ef_slurm.formats.throughput import ThroughputTables, read_throughputs
from ef_slurm.model import IfInfeasible
from ef_slurm.simulator.analytic import analytic_tables, write_tables
from ef_slurm.simulator.compare import simulate_all
from ef_slurm.simulator.errors import InvariantError, SimulatorError
from ef_slurm.simulator.generate import Recipe, generate, only_models
from ef_slurm.simulator.overhead import OverheadModel
from ef_slurm.simulator.policies.registry import POLICIES
from ef_slurm.simulator.report.html import compare_page, run_page
from ef_slurm.simulator.report.png import (
    check_figure_file,
    write_compare_figure,
    write_run_figure,
)
from ef_slurm.simulator.report.table import HEADINGS, cells, grid, sheet
from ef_slurm.simulator.sacct import read_sacct
from ef_slurm.simulator.simulate import Request, Result, prepare, simulate
from ef_slurm.simulator.site import SiteQuestion, answer_site, parse_scaling
from ef_slurm.simulator.trace import Trace, read_trace, trace_text


class _Bug(click.ClickException):
    exit_code = 70  # EX_SOFTWARE of sysexits.h


def _reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors of the simulator become messages: 1 for bad input, 70 for a bug."""

    @wraps(command)
    def guarded(**options: Any) -> None:
        try:
            command(**options)
        except (SimulatorError, FormatError) as error:
            kind = _Bug if isinstance(error, InvariantError) else click.ClickException
            raise kind(str(error)) from None

    return guarded


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ef-slurm")
def main() -> None:
    """Simulate deadline scheduling on a GPU cluster.

    \b
    A first look, with nothing but this package:
      ef-sim generate trace.csv --jobs 200 --mean-interarrival 300
      ef-sim run trace.csv --nodes 8 --gpus-per-node 8
      ef-sim compare trace.csv --nodes 8 --gpus-per-node 8 --html report.html
    """


@main.command()
@click.argument("trace_file", metavar="TRACE", type=click.Path(path_type=Path))
@sim_options.together(sim_options.TABLES, *sim_options.CLUSTER)
@click.option("--policy", type=click.Choice(POLICIES), default="elasticflow", show_default=True)
@sim_options.together(
    sim_options.cost("zero"),
    sim_options.if_infeasible("wait", "reject", "best-effort", default="wait"),
)
@sim_options.together(sim_options.CHECK, sim_options.JSON, sim_options.HTML, sim_options.PNG)
@_reports_errors
def run(
    trace_file: Path,
    throughputs: Path | None,
    nodes: int,
    gpus_per_node: int,
    policy: str,
    overhead: OverheadModel,
    if_infeasible: str,
    check: bool,
    json_file: Path | None,
    html_file: Path | None,
    figure_file: Path | None,
) -> None:
    """Simulate TRACE under one policy.

    TRACE is a CSV file with submission_time, num_iteration, model_name, deadline, batch_size and,
    for policies with fixed sizes, num_gpu and duration; best_effort (0 or 1) and job_id may be left
    out.

    \b
    Example:
      ef-sim run 195job.csv --throughputs throughputs_A100 --nodes 16 --gpus-per-node 8 \\
          --overhead constant:30 --html report.html
    """
    if figure_file is not None:
        check_figure_file(figure_file)
    trace = _trace(trace_file, throughputs, gpus_per_node)
    request = Request(
        trace, nodes, gpus_per_node, policy, overhead, IfInfeasible(if_infeasible), check=check
    )
    with _progress(len(trace.jobs), "simulating") as on_done:
        result = simulate(request, on_done)
    if not _is_stdout(json_file):
        click.echo(sheet(result.metrics))
    _write_json(json_file, asdict(result.metrics))
    if html_file is not None:
        _write(html_file, run_page(result))
    if figure_file is not None:
        write_run_figure(result, figure_file)


@main.command()
@click.argument("trace_file", metavar="TRACE", type=click.Path(path_type=Path))
@sim_options.together(sim_options.TABLES, *sim_options.CLUSTER)
@click.option(
    "--policies",
    type=sim_options.policies,
    metavar="NAME,NAME,…",
    show_default="all that can run",
    help=f"Of {', '.join(POLICIES)}.",
)
@sim_options.together(
    sim_options.cost("zero"),
    sim_options.if_infeasible("wait", "reject", "best-effort", default="wait"),
    sim_options.PROCESSES,
)
@sim_options.together(sim_options.CHECK, sim_options.JSON, sim_options.HTML, sim_options.PNG)
@_reports_errors
def compare(
    trace_file: Path,
    throughputs: Path | None,
    nodes: int,
    gpus_per_node: int,
    policies: tuple[str, ...] | None,
    overhead: OverheadModel,
    if_infeasible: str,
    processes: int,
    check: bool,
    json_file: Path | None,
    html_file: Path | None,
    figure_file: Path | None,
) -> None:
    """Simulate TRACE under several policies, side by side.

    \b
    Example:
      ef-sim compare 195job.csv --throughputs throughputs_A100 --nodes 16 --gpus-per-node 8 \\
          --policies elasticflow,edf,slurm --html report.html
    """
    if figure_file is not None:
        check_figure_file(figure_file)
    trace = _trace(trace_file, throughputs, gpus_per_node)
    infeasible = IfInfeasible(if_infeasible)
    requests = [
        Request(trace, nodes, gpus_per_node, policy, overhead, infeasible, check=check)
        for policy in policies or POLICIES
    ]
    if policies is None:
        requests = _possible(requests)
    results = _simulate_all(requests, processes)
    if not _is_stdout(json_file):
        click.echo(grid(HEADINGS, [cells(result.metrics) for result in results]))
    _write_json(json_file, {"results": [asdict(result.metrics) for result in results]})
    if html_file is not None:
        _write(html_file, compare_page(results))
    if figure_file is not None:
        write_compare_figure(results, figure_file)


@main.command("generate")
@click.argument("trace_file", metavar="TRACE", type=sim_options.FILE)
@click.option("--jobs", type=click.IntRange(min=1), default=200, show_default=True)
@click.option(
    "--mean-interarrival",
    type=float,
    metavar="SECONDS",
    default=900.0,
    show_default=True,
    help="Mean of the exponential time between two submissions.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--slack",
    type=(float, float),
    metavar="LOW HIGH",
    default=(0.5, 1.5),
    show_default=True,
    help="Deadline: uniformly so many run times after submission.",
)
@click.option(
    "--best-effort",
    type=float,
    metavar="SHARE",
    default=0.0,
    show_default=True,
    help="Part of the jobs without a deadline, 0 to 1.",
)
@sim_options.TABLES
@click.option("--models", metavar="NAME,NAME,…", help="Only these models. Default: all tables.")
@click.option(
    "--write-throughputs",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the throughput tables in use there, too.",
)
@_reports_errors
def generate_command(
    trace_file: Path,
    jobs: int,
    mean_interarrival: float,
    seed: int,
    slack: tuple[float, float],
    best_effort: float,
    throughputs: Path | None,
    models: str | None,
    write_throughputs: Path | None,
) -> None:
    """Make a synthetic trace and write it to TRACE ('-': standard output).

    Requested GPUs: 1 (83 %), 2 (3 %), 4 (3 %), 8 (10 %), 16 (1 %). Run time at that size:
    60 * 10^U(1, 2.5) seconds (80 %) or 60 * 10^U(2.5, 4) (20 %). Models and batch sizes: uniform.
    The same options and seed give the same trace.

    \b
    Example:
      ef-sim generate trace.csv --jobs 1000 --mean-interarrival 1500 --seed 7
    """
    tables = _tables(throughputs, 8)
    if models is not None:
        tables = only_models(tables, [name.strip() for name in models.split(",")])
    trace = generate(Recipe(jobs, mean_interarrival, seed, slack, best_effort), tables)
    _write(trace_file, trace_text(trace))
    if write_throughputs is not None:
        write_tables(tables, write_throughputs)
    if not _is_stdout(trace_file):
        click.echo(f"{trace_file}: {len(trace.jobs)} jobs")


@main.command()
@click.argument("sacct_file", metavar="EXPORT", type=click.Path(path_type=Path))
@sim_options.together(*sim_options.CLUSTER)
@click.option(
    "--deadline-factor",
    "factors",
    type=click.FloatRange(min=1, min_open=True),
    multiple=True,
    default=(1.5, 2.0, 3.0),
    show_default=True,
    metavar="X",
    help="Deadlines at X times a job's run time after its submission. May be repeated.",
)
@click.option(
    "--scaling",
    metavar="linear|amdahl:F|power:E",
    default="amdahl:0.02",
    show_default=True,
    help="Assumed speed-up on n GPUs: n, 1/(F+(1-F)/n), or n to the power of E.",
)
@click.option(
    "--max-growth",
    type=click.FloatRange(min=1),
    default=8.0,
    show_default=True,
    help="No job gets more than this many times the GPUs that it requested.",
)
@sim_options.cost("constant:30")
@sim_options.together(
    sim_options.if_infeasible("best-effort", "wait", "reject", default="best-effort"),
    sim_options.PROCESSES,
    sim_options.JSON,
)
@_reports_errors
def site(
    sacct_file: Path,
    nodes: int,
    gpus_per_node: int,
    factors: tuple[float, ...],
    scaling: str,
    max_growth: float,
    overhead: OverheadModel,
    if_infeasible: str,
    processes: int,
    json_file: Path | None,
) -> None:
    """Ask what ef-slurm would have done with your cluster's own history.

    EXPORT is what this prints:

    \b
      sacct --allusers --allocations --duplicates --parsable2 \\
          --starttime=2026-09-01 --endtime=2026-10-01 \\
          --format=JobID,Submit,Start,End,Timelimit,ReqTRES,AllocTRES,State > history.txt

    Every GPU job gets a deadline at X times its run time. How it would have run on other numbers of
    GPUs nobody measured: --scaling is an assumption, and the answer is as good as that.

    \b
    Example:
      ef-sim site history.txt --nodes 32 --gpus-per-node 8 --deadline-factor 2
    """
    question = SiteQuestion(
        history=read_sacct(sacct_file),
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        factors=tuple(dict.fromkeys(factors)),
        scaling=parse_scaling(scaling, max_growth),
        overhead=overhead,
        if_infeasible=IfInfeasible(if_infeasible),
    )
    answer = answer_site(question, lambda requests: _simulate_all(requests, processes))
    if not _is_stdout(json_file):
        click.echo(answer.text())
    _write_json(json_file, answer.as_json())


def _trace(file: Path, throughputs: Path | None, gpus_per_node: int) -> Trace:
    trace = read_trace(file, _tables(throughputs, gpus_per_node))
    if trace.unsorted_rows:
        click.echo(
            f"note: {file}: {trace.unsorted_rows} rows out of order, sorted by submission", err=True
        )
    return trace


def _tables(directory: Path | None, gpus_per_node: int) -> ThroughputTables:
    return analytic_tables(gpus_per_node) if directory is None else read_throughputs(directory)


def _possible(requests: list[Request]) -> list[Request]:
    """Those that can run here and on this trace, with a note on the others."""
    possible = []
    for request in requests:
        try:
            prepare(request)
        except (SimulatorError, FormatError) as error:
            click.echo(f"note: {request.policy} left out: {error}", err=True)
        else:
            possible.append(request)
    return possible


def _simulate_all(requests: list[Request], processes: int) -> list[Result]:
    total = sum(len(request.trace.jobs) for request in requests)
    with _progress(total, "simulating") as on_done:
        return simulate_all(requests, processes, on_done)


@contextmanager
def _progress(jobs: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(
        length=jobs,
        label=label,
        file=sys.stderr,
        show_pos=True,
        update_min_steps=max(1, jobs // 200),
    ) as bar:
        yield bar.update


def _is_stdout(file: Path | None) -> bool:
    return file is not None and str(file) == "-"


def _write_json(file: Path | None, content: object) -> None:
    if file is not None:
        _write(file, json.dumps(content, indent=2) + "\n")


def _write(file: Path, content: str) -> None:
    if _is_stdout(file):
        click.echo(content, nl=False)
    else:
        write_whole(file, content)


if __name__ == "__main__":
    main()
