"""A trace through the daemon's own ingest, plan and reconcile: the same shares as `ef-sim` gives.

Slurm is in memory, time is virtual. Every start and reshape takes exactly what the planner was told
it takes, and reports tell fractions of iterations, as in the simulator.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.settings import Settings
from ef_slurm.formats.throughput import read_throughputs
from ef_slurm.model import EventKind, IfInfeasible, Policy, planner_id
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.simulate import Request, simulate
from ef_slurm.simulator.trace import Trace, TraceJob, read_trace
from tests.fakes.memory_cluster import Timing
from tests.unit.daemon.world import Training, World

# Hours of simulated life: measured, they take three times as long.
pytestmark = pytest.mark.no_cover

POLICY = Policy(offers=False)
OVERHEAD = parse_overhead("constant:30")

MEMORY = Path("/dev/shm")
"""Replays write thousands of transactions that nobody wants to keep."""

Shares = dict[str, list[tuple[float, int]]]
"""Job → (when, GPUs from then on)."""


def first_jobs(trace: Trace, count: int) -> Trace:
    """The first jobs, under the names that the queue will give them."""
    jobs = trace.jobs[:count]
    named = (replace(job, id=planner_id(number)) for number, job in enumerate(jobs, start=1))
    return replace(trace, jobs=tuple(named))


def simulated(trace: Trace, nodes: int, gpus_per_node: int) -> Shares:
    result = simulate(
        Request(
            trace,
            uniform(nodes, gpus_per_node),
            "elasticflow",
            OVERHEAD,
            IfInfeasible.WAIT,
            POLICY,
            check=True,
        )
    )
    return {
        job.spec.id: [(share.start, share.gpus) for share in job.held_shares] for job in result.jobs
    }


def replayed(trace: Trace, nodes: int, gpus_per_node: int) -> Shares:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(
            Path(directory) / "queue.sqlite",
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            timing=Timing(min_job_age=1e12),
            overhead=OVERHEAD.for_cluster(nodes * gpus_per_node),
            settings=Settings(
                ResourceScope(frozenset({"ef"})),
                policy=POLICY,
                query_interval=0.0,
                tick_interval=0.25,
                idle_report_interval=3600.0,
                idle_interval=3600.0,
                report_interval=1e-3,
                progress_interval=0.0,
                replan_interval=float("inf"),
                learn=False,
            ),
            now=0.0,
        )

        def trains_from(training: Training) -> float:
            row = world.queue.jobs.of_slurm(training.slurm.job_id)
            assert row is not None
            assert row.running is not None
            return row.running.trains_from

        world.bench.boot_of = trains_from
        for job in trace.jobs:
            world.at(job.submitted, partial(submit, world, job))
        world.run_until(world.finished, 1e9)
        shares: Shares = {job.id: [] for job in trace.jobs}
        for event in world.queue.events.all(kinds=[EventKind.SHARE]):
            assert event.job_id is not None
            gpus = event.data["to"]
            assert isinstance(gpus, int)
            if gpus:
                shares[planner_id(event.job_id)].append((event.at, gpus))
        world.queue.close()
        return shares


def submit(world: World, job: TraceJob) -> None:
    world.submit(
        int(job.iterations),
        None if job.deadline is None else job.deadline - world.clock.now,
        curve=job.curve,
        if_infeasible=IfInfeasible.WAIT,
        save=0.0,
        exact=True,
    )


def differences(expected: Shares, got: Shares) -> list[str]:
    """Where the sequences of shares part, in words."""
    found = []
    for job, steps in expected.items():
        mine = got[job]
        same = len(mine) == len(steps) and all(
            gpus == other and abs(at - moment) < 1e-3
            for (at, gpus), (moment, other) in zip(mine, steps, strict=True)
        )
        if not same:
            found.append(f"job {job}: simulated {steps}, replayed {mine}")
    return found


def test_a_generated_trace_gets_the_shares_that_the_simulator_gives() -> None:
    recipe = Recipe(jobs=20, mean_interarrival=60.0, seed=3, slack=(0.6, 2.0), best_effort=0.2)
    trace = first_jobs(generate(recipe, analytic_tables()), recipe.jobs)
    expected = simulated(trace, nodes=4, gpus_per_node=4)
    assert sum(len(steps) for steps in expected.values()) > 0
    assert not differences(expected, replayed(trace, nodes=4, gpus_per_node=4))


def test_a_published_trace_gets_the_shares_that_the_simulator_gives(shared_data: Path) -> None:
    tables = read_throughputs(shared_data / "throughputs_A100")
    trace = read_trace(shared_data / "elasticflow-traces" / "195job.csv", tables)
    trace = first_jobs(trace, len(trace.jobs) if os.environ.get("EF_LONG") else 80)
    expected = simulated(trace, nodes=16, gpus_per_node=8)
    assert not differences(expected, replayed(trace, nodes=16, gpus_per_node=8))
