"""ef-sim generate: synthetic traces."""

from __future__ import annotations

from pathlib import Path

import click

from ef_slurm.cli.common.counts import COUNT
from ef_slurm.cli.common.output import say
from ef_slurm.cli.sim import options as sim_options
from ef_slurm.cli.sim.outputs import is_stdout, write_text
from ef_slurm.cli.sim.shared import reports_errors, tables_of
from ef_slurm.simulator.analytic import write_tables
from ef_slurm.simulator.generate import Recipe, generate, only_models
from ef_slurm.simulator.trace import trace_text


@click.command("generate")
@click.argument("trace_file", metavar="TRACE", type=sim_options.FILE)
@click.option("--jobs", type=COUNT, default=200, show_default=True)
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
@click.option(
    "--accounts",
    type=click.IntRange(min=0, max=1000),
    default=0,
    show_default=True,
    help="Whose the jobs are: of so many accounts a1, a2, …, the k-th in proportion to 1/k. 0: it "
    "is not said.",
)
@sim_options.TABLES
@click.option("--models", metavar="NAME,NAME,…", help="Only these models. Default: all tables.")
@click.option(
    "--write-throughputs",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the throughput tables in use there, too.",
)
@reports_errors
def generate_command(
    trace_file: Path,
    jobs: int,
    mean_interarrival: float,
    seed: int,
    slack: tuple[float, float],
    best_effort: float,
    accounts: int,
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
    tables = tables_of(throughputs, 8)
    if models is not None:
        tables = only_models(tables, [name.strip() for name in models.split(",")])
    trace = generate(Recipe(jobs, mean_interarrival, seed, slack, best_effort, accounts), tables)
    write_text(trace_file, trace_text(trace))
    if write_throughputs is not None:
        write_tables(tables, write_throughputs)
    if not is_stdout(trace_file):
        say(f"{trace_file}: {len(trace.jobs)} jobs")
