"""Long random lives of a cluster from a seed: arrivals, departures and time passing.

Hypothesis finds small failures; this drives thousands of events through one cluster, busy all the
time. A life is data, so that a failing one can be cut down and repeated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ef_slurm.model import (
    Admission,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    Node,
    NodeGroup,
    Outage,
    Overhead,
    Policy,
    ThroughputCurve,
)
from tests.unit.planner.world import World


@dataclass(frozen=True, slots=True)
class Event:
    """At `at`, `jobs` arrive together, the jobs in `cancelled` leave, and the planner is asked."""

    at: float
    jobs: tuple[Job, ...] = ()
    cancelled: tuple[str, ...] = ()


def live(world: World, events: Sequence[Event]) -> World:
    """Carry the events out, and then let every promised job end."""
    for event in events:
        world.advance(event.at)
        for job_id in event.cancelled:
            if job_id in world.jobs:
                world.cancel(job_id)
        world.submit(*event.jobs)
    while world.promised:
        world.advance(max(world.jobs[job_id].deadline or 0.0 for job_id in world.promised) + 1e3)
    return world


def random_cluster(rng: random.Random, nodes: int, gpus_per_node: int) -> Cluster:
    """One group with a few holes and maintenance to come."""
    members = []
    for number in range(1, nodes + 1):
        outages: tuple[Outage, ...] = ()
        kind = rng.randrange(10)
        if kind == 0:
            outages = (Outage(0.0, gpus=rng.randint(1, gpus_per_node)),)
        elif kind <= 2:
            start = float(rng.randrange(20_000))
            end = rng.choice([start + rng.randrange(1, 20_000), math.inf])
            outages = (Outage(start, end, rng.choice([None, rng.randint(1, gpus_per_node)])),)
        members.append(Node(f"n{number}", outages))
    return Cluster((NodeGroup("gpu", gpus_per_node, tuple(members)),))


def random_curve(rng: random.Random, largest: int) -> ThroughputCurve:
    """Diminishing returns as a rule, now and then super-linear or falling, with sizes missing."""
    rate = rng.uniform(1.0, 20.0)
    points = {}
    size = 1
    while size <= largest:
        if rng.random() < 0.85:
            points[size] = rate
        rate *= rng.choice([0.8, 1.1, 1.4, 1.6, 1.8, 1.9, 1.95, 2.0, 2.1])
        size *= 2
    return ThroughputCurve.of(points or {1: rate})


def random_job(rng: random.Random, now: float, job_id: str, mean: float, largest: int) -> Job:
    """A job of `mean` seconds on one GPU, with a deadline from hopeless to lax."""
    curve = random_curve(rng, largest)
    alone = min(20 * mean, rng.expovariate(1 / mean) + 1.0)
    kind = rng.choice([JobKind.DEADLINE] * 6 + [JobKind.SOFT_DEADLINE, JobKind.BEST_EFFORT])
    overhead = rng.choice(
        [
            Overhead(),
            Overhead.constant(30.0),
            Overhead(20.0, grow=5.0, shrink=10.0, move=40.0, restart=50.0, per_doubling=2.0),
            Overhead(grow=40.0, move=4.0, restart=4.0),
        ]
    )
    allowed = alone * rng.uniform(0.2, 3.0) + overhead.start + 1.0
    return Job(
        id=job_id,
        submitted=now,
        iterations=alone * curve.points[0][1],
        curves=(("gpu", curve),),
        kind=kind,
        deadline=None if kind is JobKind.BEST_EFFORT else now + allowed,
        grace=rng.choice([0.0, 300.0]) if kind is JobKind.SOFT_DEADLINE else 0.0,
        if_infeasible=rng.choice(list(IfInfeasible)),
        overhead=overhead,
        owner=rng.choice(["ann", "bob", "eve"]),
    )


def random_policy(rng: random.Random) -> Policy:
    """What a site may decide."""
    return Policy(
        min_reshape_interval=rng.choice([0.0, 0.0, 600.0]),
        growth_gain=rng.choice([0.0, 1.0, 1.0, 2.0]),
        min_speedup=rng.choice([0.0, 0.1, 0.1]),
        best_effort_grows=rng.random() < 0.5,
        offers=rng.random() < 0.2,
        admission=rng.choice(list(Admission)),
    )


def random_events(
    rng: random.Random, arrivals: int, gpus: int, mean: float = 2000.0, load: float = 1.3
) -> Iterator[Event]:
    """Arrivals that ask for about `load` times what the cluster can do."""
    now = 0.0
    arrived = 0
    while arrived < arrivals:
        now += rng.expovariate(load * gpus / mean)
        count = min(arrivals - arrived, rng.choice([1] * 8 + [2, 4]))
        jobs = tuple(
            random_job(rng, now, f"j{arrived + n:05}", mean, gpus) for n in range(1, count + 1)
        )
        arrived += count
        cancelled = (f"j{rng.randint(1, arrived):05}",) if rng.random() < 0.05 else ()
        yield Event(now, jobs, cancelled)
        if rng.random() < 0.2:  # asked once more for no reason
            now += rng.uniform(0.0, 50.0)
            yield Event(now)
