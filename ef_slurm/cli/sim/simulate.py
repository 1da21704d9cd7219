"""ef-sim run, ef-sim compare: a trace under one policy, or under several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ef_slurm.cli.sim import options as sim_options
from ef_slurm.cli.sim.outputs import Outputs
from ef_slurm.cli.sim.shared import (
    cluster_of,
    possible_of,
    reports_errors,
    simulate_with_progress,
    tables_name,
    trace_of,
)
from ef_slurm.model import Admission, IfInfeasible
from ef_slurm.simulator import accounts
from ef_slurm.simulator.accounts import by_account, several_accounts
from ef_slurm.simulator.cluster import GpuGroup
from ef_slurm.simulator.failures import FailuresOption
from ef_slurm.simulator.knowledge import CurvesOption
from ef_slurm.simulator.overhead import OverheadModel
from ef_slurm.simulator.policies.registry import ELASTICFLOW, POLICIES
from ef_slurm.simulator.report.figures import write_compare_figure, write_run_figure
from ef_slurm.simulator.report.html import compare_page, run_page
from ef_slurm.simulator.report.table import HEADINGS, cells, grid, sheet
from ef_slurm.simulator.simulate import Request, Result


@click.command("run")
@click.argument("trace_file", metavar="TRACE", type=click.Path(path_type=Path))
@sim_options.together(sim_options.TYPED_TABLES, *sim_options.ANY_CLUSTER)
@click.option("--policy", type=click.Choice(POLICIES), default="elasticflow", show_default=True)
@sim_options.together(
    sim_options.cost("zero"),
    sim_options.if_infeasible("wait", "reject", "best-effort", default="wait"),
    sim_options.admission(),
    *sim_options.ACCOUNTS,
)
@sim_options.together(
    sim_options.CURVES, sim_options.FAILURES, sim_options.CHECK, *sim_options.OUTPUTS
)
@reports_errors
def run_command(
    trace_file: Path,
    throughputs: tuple[tuple[str | None, Path], ...],
    nodes: int | None,
    gpus_per_node: int | None,
    groups: tuple[GpuGroup, ...],
    policy: str,
    overhead: OverheadModel,
    if_infeasible: str,
    admission: str,
    limits: tuple[tuple[str, float], ...],
    weights: tuple[tuple[str, float], ...],
    curves: CurvesOption,
    failures: FailuresOption,
    check: bool,
    json_file: Path | None,
    html_file: Path | None,
    figure_file: Path | None,
    sqlite_file: Path | None,
) -> None:
    """Simulate TRACE under one policy.

    TRACE is a CSV file with submission_time, num_iteration, model_name, deadline, batch_size and,
    for policies with fixed sizes, num_gpu and duration; best_effort (0 or 1), grace (seconds),
    account and job_id may be left out.

    \b
    Example:
      ef-sim run 195job.csv --throughputs throughputs_A100 --nodes 16 --gpus-per-node 8 \\
          --overhead constant:30 --html report.html
      ef-sim run 195job.csv --group a100:8x8 --group t4:16x4 \\
          --throughputs a100=throughputs_A100 --throughputs t4=throughputs_T4
    """
    outputs = Outputs(json_file, html_file, figure_file, sqlite_file)
    outputs.check()
    cluster = cluster_of(groups, nodes, gpus_per_node)
    trace = trace_of(trace_file, throughputs, cluster)
    request = Request(
        trace,
        cluster,
        policy,
        overhead,
        IfInfeasible(if_infeasible),
        sim_options.planner_policy(admission, limits, weights),
        check=check,
        curves=curves,
        failures=failures,
    )
    (result,) = simulate_with_progress([request], 1)
    outputs.write_text(sheet(result.metrics))
    _write_accounts(outputs, [result])
    outputs.write_json(result.metrics)
    outputs.write_html(lambda: run_page(result))
    outputs.write_figure(lambda file: write_run_figure(result, file))
    outputs.add_to_database(
        [result],
        trace_file,
        command="run",
        if_infeasible=if_infeasible,
        throughputs=tables_name(throughputs),
    )


@click.command("compare")
@click.argument("trace_file", metavar="TRACE", type=click.Path(path_type=Path))
@sim_options.together(sim_options.TYPED_TABLES, *sim_options.ANY_CLUSTER)
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
    sim_options.admission(several=True),
    *sim_options.ACCOUNTS,
    sim_options.PROCESSES,
)
@sim_options.together(
    sim_options.CURVES, sim_options.FAILURES, sim_options.CHECK, *sim_options.OUTPUTS
)
@reports_errors
def compare_command(
    trace_file: Path,
    throughputs: tuple[tuple[str | None, Path], ...],
    nodes: int | None,
    gpus_per_node: int | None,
    groups: tuple[GpuGroup, ...],
    policies: tuple[str, ...] | None,
    overhead: OverheadModel,
    if_infeasible: str,
    admission: tuple[str, ...],
    limits: tuple[tuple[str, float], ...],
    weights: tuple[tuple[str, float], ...],
    processes: int,
    curves: CurvesOption,
    failures: FailuresOption,
    check: bool,
    json_file: Path | None,
    html_file: Path | None,
    figure_file: Path | None,
    sqlite_file: Path | None,
) -> None:
    """Simulate TRACE under several policies, side by side.

    \b
    Example:
      ef-sim compare 195job.csv --throughputs throughputs_A100 --nodes 16 --gpus-per-node 8 \\
          --policies elasticflow,edf,slurm --html report.html --sqlite results.db
    """
    outputs = Outputs(json_file, html_file, figure_file, sqlite_file)
    outputs.check()
    cluster = cluster_of(groups, nodes, gpus_per_node)
    trace = trace_of(trace_file, throughputs, cluster)
    infeasible = IfInfeasible(if_infeasible)
    requests = [
        Request(
            trace,
            cluster,
            policy,
            overhead,
            infeasible,
            sim_options.planner_policy(first, limits, weights),
            check=check,
            curves=curves,
            failures=failures,
        )
        for policy in policies or POLICIES
        for first in _admissions(policy, admission)
    ]
    if policies is None:
        requests = possible_of(requests)
    results = simulate_with_progress(requests, processes)
    outputs.write_text(grid(HEADINGS, [cells(result.metrics) for result in results]))
    _write_accounts(outputs, results)
    outputs.write_json(
        {
            "results": [result.metrics for result in results],
            "accounts": [one for result in results for one in by_account(result)],
        }
    )
    outputs.write_html(lambda: compare_page(results))
    outputs.write_figure(lambda file: write_compare_figure(results, file))
    outputs.add_to_database(
        results,
        trace_file,
        command="compare",
        if_infeasible=if_infeasible,
        throughputs=tables_name(throughputs),
    )


def _admissions(policy: str, asked: Sequence[str]) -> list[str]:
    """Under which rules of admission a policy is simulated: elasticflow under each, others once."""
    return list(dict.fromkeys(asked)) if policy == ELASTICFLOW else [Admission.FIRST_COME.value]


def _write_accounts(outputs: Outputs, results: Sequence[Result]) -> None:
    """Who got what, where the trace says whose the jobs are."""
    if several_accounts(results):
        rows = [accounts.cells(one) for result in results for one in by_account(result)]
        outputs.write_text("\n" + grid(accounts.HEADINGS, rows, left=2))
