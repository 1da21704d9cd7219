"""ef-sim: what a scheduler would have done with a trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from ef_slurm.model import IfInfeasible
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.policies.registry import POLICIES
from ef_slurm.simulator.run import Request, simulate
from ef_slurm.simulator.throughput import read_throughputs
from ef_slurm.simulator.trace import read_trace


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Simulate deadline scheduling on a GPU cluster."""


@main.command()
@click.argument("trace_file", metavar="TRACE", type=click.Path(path_type=Path))
@click.option("--throughputs", required=True, type=click.Path(path_type=Path))
@click.option("--nodes", required=True, type=click.IntRange(min=1))
@click.option("--gpus-per-node", required=True, type=click.IntRange(min=1))
@click.option("--policy", default="elasticflow", type=click.Choice(list(POLICIES)))
@click.option("--overhead", default="zero", help="zero, constant:SECONDS or paper")
@click.option("--if-infeasible", default="wait", type=click.Choice(["wait", "reject"]))
@click.option("--check", is_flag=True, help="check the simulator's invariants at every event")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def run(
    trace_file: Path,
    throughputs: Path,
    nodes: int,
    gpus_per_node: int,
    policy: str,
    overhead: str,
    if_infeasible: str,
    check: bool,
    json_file: Path | None,
) -> None:
    """Simulate TRACE under one policy."""
    try:
        trace = read_trace(trace_file, read_throughputs(throughputs))
        request = Request(
            trace,
            nodes,
            gpus_per_node,
            policy,
            parse_overhead(overhead),
            IfInfeasible(if_infeasible),
            check=check,
        )
        with _progress(len(trace.jobs)) as on_done:
            result = simulate(request, on_done)
    except SimulatorError as error:
        raise click.ClickException(str(error)) from None
    text = json.dumps(asdict(result.metrics), indent=2)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")
    click.echo(text)


@contextmanager
def _progress(jobs: int) -> Iterator[Callable[[int], None]]:
    with click.progressbar(length=jobs, label="jobs", file=sys.stderr) as bar:
        yield bar.update


if __name__ == "__main__":
    main()
