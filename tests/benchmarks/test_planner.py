"""How fast the planner is. Run by hand, on an idle machine:

    pytest tests/benchmarks/test_planner.py -s --benchmark-timer=time.process_time

Numbers are printed, nothing is asserted on time. Times are CPU time of this process, so that what
else runs on the machine hardly matters. A busy cluster is made by letting the planner
admit jobs until it holds as many as wanted, so that plans in hand are what they are in practice.
"""

from __future__ import annotations

import gc
import math
import random
import resource
import statistics
import time
from dataclasses import replace
from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ef_slurm.model import (
    Cluster,
    IfInfeasible,
    Job,
    Outcome,
    Overhead,
    Plan,
    Policy,
    Running,
    Standing,
    ThroughputCurve,
)
from ef_slurm.planner.placement.buddy import place
from ef_slurm.planner.placement.occupancy import Request, Tenant
from ef_slurm.planner.plan import plan, plan_round

pytestmark = pytest.mark.benchmark

POLICY = Policy()


def peak_mb() -> float:
    """Peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def median(benchmark: BenchmarkFixture) -> float:
    """The median of what was measured, seconds; not a number when measuring is switched off."""
    return math.nan if benchmark.stats is None else float(benchmark.stats.stats.median)


def make_job(rng: random.Random, number: int, now: float, mean: float, slack: float) -> Job:
    """A job of about `mean` seconds on one GPU with diminishing returns and 30 s overheads."""
    rate = rng.uniform(1.0, 20.0)
    efficiency = rng.uniform(0.75, 0.95)
    points = {1 << k: rate * (2 * efficiency) ** k for k in range(7)}
    alone = mean * rng.lognormvariate(-0.5, 1.0)
    return Job(
        id=f"j{number:06}",
        submitted=now,
        iterations=alone * rate,
        curves=(("gpu", ThroughputCurve.of(points)),),
        deadline=now + 120.0 + alone * rng.uniform(0.3, slack),
        overhead=Overhead.constant(30.0),
    )


def carried_out(jobs: dict[str, Job], answer: Plan) -> dict[str, Job]:
    """The jobs as they are once a plan has been carried out."""
    kept = {}
    for decision in answer.decisions:
        job = jobs[decision.job_id]
        running = job.running
        held = None if running is None else running.block
        if decision.block is None:
            running = None
        elif decision.block != held:
            paid = job.overhead.seconds(held, decision.block)
            running = Running(decision.block, answer.now, answer.now + paid)
        kept[job.id] = replace(
            job, standing=Standing.ADMITTED, running=running, plan=decision.schedule
        )
    return kept


@lru_cache(maxsize=4)
def busy(gpus: int, wanted: int, slack: float = 0.8) -> tuple[Cluster, dict[str, Job]]:
    """A cluster of 8-GPU nodes with `wanted` admitted jobs.

    With a `slack` of 0.8 of the time on one GPU nearly all are admitted; with 0.35 about half are,
    so that hardly anything is left to promise in the end.
    """
    rng = random.Random(gpus + wanted)
    cluster = Cluster.uniform(gpus // 8, 8)
    policy = replace(POLICY, offers=False)
    jobs: dict[str, Job] = {}
    number = 0
    while len(jobs) < wanted:
        batch = min(500, wanted - len(jobs))
        arriving = [
            make_job(rng, number + n, 0.0, 10_000.0 * gpus / wanted, slack) for n in range(batch)
        ]
        number += batch
        before = len(jobs)
        asked = {**jobs, **{job.id: job for job in arriving}}
        jobs = carried_out(asked, plan(0.0, tuple(asked.values()), cluster, policy))
        if len(jobs) - before < batch / 2:
            slack *= 1.5  # the cluster is promised; newcomers have to be patient
    return cluster, jobs


def later(jobs: dict[str, Job], now: float) -> tuple[Job, ...]:
    """The jobs after a little time has passed."""
    moved = []
    for job in jobs.values():
        if job.running is not None:
            rate = dict(job.curves[0][1].points)[job.running.gpus]
            done = max(0.0, now - job.running.trains_from) * rate
            job = replace(job, iterations=max(rate, job.iterations - done))
        moved.append(job)
    return tuple(moved)


@pytest.mark.parametrize("slack", [0.8, 0.35], ids=["some-room", "promised-out"])
@pytest.mark.parametrize("offers", [False, True], ids=["no-offer", "with-offer"])
def test_verdict_for_one_arrival(offers: bool, slack: float) -> None:
    """500 admitted jobs on 1,024 GPUs: p50 and p99 over arrivals of all kinds."""
    cluster, jobs = busy(1024, 500, slack)
    rng = random.Random(7)
    policy = replace(POLICY, offers=offers)
    times = []
    outcomes = []
    gc.collect()
    gc.freeze()  # what pytest holds is none of the planner's garbage
    for number in range(100):
        now = 10.0 + number / 10
        present = later(jobs, now)
        newcomer = make_job(rng, 900_000 + number, now, 20_000.0, rng.choice([slack, 2 * slack]))
        began = time.process_time()
        answer = plan(now, (*present, newcomer), cluster, policy)
        times.append(time.process_time() - began)
        outcomes.append(answer.verdicts[0].outcome)
    times.sort()
    admitted = outcomes.count(Outcome.PROMISED)
    print(
        f"\none arrival, {len(jobs)} jobs on 1024 GPUs, slack {slack}, offers {offers}: "
        f"p50 {statistics.median(times) * 1e3:.1f} ms, p99 {times[-2] * 1e3:.1f} ms, "
        f"max {times[-1] * 1e3:.1f} ms; {admitted} of {len(times)} admitted; "
        f"peak {peak_mb():.0f} MB"
    )


@pytest.mark.parametrize("ends", [False, True], ids=["plans-stand", "somebody-cancels"])
def test_verdict_beside_a_waiting_list(ends: bool) -> None:
    """The same with offers and 200 more jobs that wait, refused before; p50 and p99.

    Where somebody cancels, those who wait are asked again in the same round.
    """
    cluster, jobs = busy(1024, 500, 0.35)
    rng = random.Random(11)
    asking = {
        job.id: replace(job, if_infeasible=IfInfeasible.WAIT)
        for job in (make_job(rng, 800_000 + n, 0.0, 20_000.0, 0.35) for n in range(400))
    }
    quiet = replace(POLICY, offers=False)
    first = plan_round(1.0, (*later(jobs, 1.0), *asking.values()), cluster, quiet)
    refused = [one.job_id for one in first.plan.verdicts if one.outcome is Outcome.WAITLISTED]
    waiting = [replace(asking[name], standing=Standing.WAITLISTED) for name in refused[:200]]
    jobs = carried_out(jobs | asking, first.plan)
    times = []
    admitted = 0
    gc.collect()
    gc.freeze()
    for number in range(100):
        now = 10.0 + number / 10
        present = list(later(jobs, now))
        if ends:
            present.pop(rng.randrange(len(present)))
        newcomer = make_job(rng, 900_000 + number, now, 20_000.0, rng.choice([0.35, 0.7]))
        began = time.process_time()
        asked = (*present, *waiting, newcomer)
        answer = plan_round(now, asked, cluster, POLICY, first.waiting).plan
        times.append(time.process_time() - began)
        admitted += answer.verdicts[-1].outcome is Outcome.PROMISED
    times.sort()
    print(
        f"\none arrival, {len(jobs)} jobs on 1024 GPUs, {len(waiting)} waiting, ends {ends}: "
        f"p50 {statistics.median(times) * 1e3:.1f} ms, p99 {times[-2] * 1e3:.1f} ms, "
        f"max {times[-1] * 1e3:.1f} ms; {admitted} of {len(times)} admitted"
    )


@pytest.mark.parametrize(("gpus", "wanted"), [(8192, 2000), (100_000, 10_000)])
def test_full_replan(benchmark: BenchmarkFixture, gpus: int, wanted: int) -> None:
    """The plan of everybody a little later, and of everybody from nothing."""
    cluster, jobs = busy(gpus, wanted)
    present = later(jobs, 10.0)
    answer = benchmark.pedantic(  # type: ignore[no-untyped-call]
        plan, args=(10.0, present, cluster, POLICY), rounds=3
    )
    bare = tuple(replace(job, running=None, plan=()) for job in jobs.values())
    began = time.process_time()
    plan(0.0, bare, cluster, POLICY)
    anew = time.process_time() - began
    print(
        f"\nfull replan, {len(answer.decisions)} jobs on {gpus} GPUs: plans in hand kept "
        f"{median(benchmark):.3f} s, everything planned anew {anew:.3f} s; "
        f"peak {peak_mb():.0f} MB"
    )


def test_growth_with_the_number_of_jobs() -> None:
    """J jobs on 4 J GPUs: plans in hand kept, everything planned anew, and one arrival."""
    print("\n    jobs     GPUs   kept [s]   anew [s]   arrival [s]   anew/J [ms]   peak [MB]")
    for wanted in (125, 250, 500, 1000, 2000, 4000):
        cluster, jobs = busy(4 * wanted, wanted)
        present = later(jobs, 10.0)
        bare = tuple(replace(job, running=None, plan=()) for job in jobs.values())
        newcomer = make_job(random.Random(1), 900_000, 10.0, 8000.0, 2.0)
        took = []
        for now, asked in ((10.0, present), (0.0, bare), (10.0, (*present, newcomer))):
            began = time.process_time()
            plan(now, asked, cluster, POLICY)
            took.append(time.process_time() - began)
        print(
            f"{len(jobs):8} {4 * wanted:8} {took[0]:10.3f} {took[1]:10.3f} {took[2]:13.3f} "
            f"{took[1] / len(jobs) * 1e3:13.2f} {peak_mb():11.0f}"
        )


@pytest.mark.parametrize("gpus", [1024, 8192, 100_000])
def test_incremental_placement(benchmark: BenchmarkFixture, gpus: int) -> None:
    """Five newcomers on a cluster that is 95 % full, and a large job for which others move."""
    rng = random.Random(gpus)
    group = Cluster.uniform(gpus // 8, 8).groups[0]
    sizes: list[int] = []
    while sum(sizes) < gpus - 64:
        sizes.append(1 << rng.choice([0, 1, 1, 2, 2, 3, 3, 4, 5]))
    full = place(group, 0.0, [], [Request(f"j{n}", s, must=False) for n, s in enumerate(sizes)])
    residents = [
        Tenant(job_id, block, rng.uniform(10.0, 90.0))
        for job_id, block in full.blocks.items()
        if rng.random() < 0.95
    ]
    few = [Request(f"n{n}", 1 << n % 4) for n in range(5)]
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        place, args=(group, 0.0, residents, few), rounds=5
    )
    free = gpus - sum(resident.block.gpus for resident in residents)
    large = [Request("large", 1 << ((free // 2).bit_length() - 1))]
    began = time.process_time()
    moved = place(group, 0.0, residents, large)
    print(
        f"\nplacement, {len(residents)} jobs on {gpus} GPUs: five newcomers "
        f"{median(benchmark) * 1e3:.1f} ms; one of {large[0].gpus} GPUs "
        f"{(time.process_time() - began) * 1e3:.1f} ms, {len(moved.migrated)} jobs moved"
    )
