"""ef-sim site: what ef-slurm would have done with a site's own history."""

from __future__ import annotations

from pathlib import Path

import click

from ef_slurm.cli.sim import options as sim_options
from ef_slurm.cli.sim.outputs import Outputs
from ef_slurm.cli.sim.shared import reports_errors, simulate_with_progress
from ef_slurm.model import Admission, IfInfeasible
from ef_slurm.simulator.history.read import HistoryFormat, read_history
from ef_slurm.simulator.overhead import OverheadModel
from ef_slurm.simulator.report.site_page import site_page
from ef_slurm.simulator.site import SiteQuestion, answer_site, parse_scaling


@click.command("site")
@click.argument("history_file", metavar="EXPORT", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice([kind.value for kind in HistoryFormat]),
    help="What EXPORT is written in. Default: told by how it begins.",
)
@click.option(
    "--delimiter",
    metavar="TEXT",
    help="What stands between the columns of a sacct export. Default: told by its header.",
)
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
    sim_options.admission(),
    sim_options.PROCESSES,
)
@sim_options.together(sim_options.JSON, sim_options.HTML, sim_options.SQLITE)
@reports_errors
def site_command(
    history_file: Path,
    kind: str | None,
    delimiter: str | None,
    nodes: int,
    gpus_per_node: int,
    factors: tuple[float, ...],
    scaling: str,
    max_growth: float,
    overhead: OverheadModel,
    if_infeasible: str,
    admission: str,
    processes: int,
    json_file: Path | None,
    html_file: Path | None,
    sqlite_file: Path | None,
) -> None:
    """Ask what ef-slurm would have done with your cluster's own history.

    EXPORT is what this prints:

    \b
      sacct --allusers --allocations --duplicates --parsable2 \\
          --starttime=2026-09-01 --endtime=2026-10-01 \\
          --format=JobID,Submit,Start,End,Timelimit,ReqTRES,AllocTRES,State > history.txt

    or the same with --json instead of --parsable2 and --format, or a published trace: Philly's
    cluster_job_log, Helios' cluster_log.csv, Alibaba's pai_task_table.csv (2020) or
    openb_pod_list_*.csv (2023).

    Every GPU job gets a deadline at X times its run time. How it would have run on other numbers of
    GPUs nobody measured: --scaling is an assumption, and the answer is as good as that.

    \b
    Example:
      ef-sim site history.txt --nodes 32 --gpus-per-node 8 --deadline-factor 2 --html report.html
    """
    outputs = Outputs(json_file, html_file, sqlite_file=sqlite_file)
    outputs.check()
    question = SiteQuestion(
        history=read_history(
            history_file, None if kind is None else HistoryFormat(kind), delimiter or None
        ),
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        factors=tuple(dict.fromkeys(factors)),
        scaling=parse_scaling(scaling, max_growth),
        overhead=overhead,
        if_infeasible=IfInfeasible(if_infeasible),
        admission=Admission(admission),
    )
    answer = answer_site(question, lambda requests: simulate_with_progress(requests, processes))
    outputs.write_text(answer.text())
    outputs.write_json(answer.as_json())
    outputs.write_html(lambda: site_page(answer))
    outputs.add_to_database(
        answer.results,
        history_file,
        command="site",
        if_infeasible=if_infeasible,
        scaling=question.scaling,
    )
