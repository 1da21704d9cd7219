"""Random clusters, curves, jobs and capacities for the planner's properties."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from ef_slurm.model import (
    OVERHEAD_KINDS,
    Admission,
    Arrival,
    Arrivals,
    Bar,
    Cluster,
    IfInfeasible,
    Job,
    JobKind,
    Node,
    NodeGroup,
    Outage,
    Overhead,
    Policy,
    RiskOrder,
    ThroughputCurve,
)
from tests.unit.planner.world import World

GPU = "gpu"
HORIZON = 4000.0
"""Seconds within which outages begin and most jobs end."""


@st.composite
def outages(draw: st.DrawFn, gpus_per_node: int, horizon: float) -> Outage:
    """An outage of a node or of some of its GPUs, in force now or later, ending or for good."""
    start = draw(st.one_of(st.just(0), st.integers(0, int(horizon))))
    end = draw(st.one_of(st.just(float("inf")), st.integers(start + 1, int(2 * horizon))))
    gpus = draw(st.one_of(st.none(), st.integers(1, gpus_per_node)))
    return Outage(float(start), float(end), gpus)


@st.composite
def node_groups(
    draw: st.DrawFn,
    *,
    gpu_type: str = GPU,
    max_nodes: int = 9,
    max_gpus_per_node: int = 8,
    horizon: float = 0.0,
) -> NodeGroup:
    """Nodes of one type, some with GPUs missing now and, with a `horizon`, later."""
    gpus_per_node = draw(st.sampled_from([g for g in (1, 2, 4, 8) if g <= max_gpus_per_node]))
    count = draw(st.integers(1, max_nodes))
    nodes = []
    for number in range(1, count + 1):
        missing = draw(st.integers(0, 7))
        of_node: tuple[Outage, ...] = ()
        if missing == 5:
            of_node = (Outage(0.0),)
        elif missing == 4:
            of_node = (Outage(0.0, gpus=draw(st.integers(1, gpus_per_node))),)
        elif missing == 3 and horizon > 0:
            kinds = outages(gpus_per_node, horizon)
            of_node = tuple(draw(st.lists(kinds, min_size=1, max_size=2)))
        nodes.append(Node(f"{gpu_type}-{number}", of_node))
    return NodeGroup(gpu_type, gpus_per_node, tuple(nodes))


@st.composite
def clusters(
    draw: st.DrawFn, *, max_nodes: int = 5, max_types: int = 2, horizon: float = HORIZON
) -> Cluster:
    """One or two groups with holes, now and to come."""
    types = draw(st.integers(1, max_types))
    return Cluster(
        tuple(
            draw(node_groups(gpu_type=name, max_nodes=max_nodes, horizon=horizon))
            for name in (GPU, "other")[:types]
        )
    )


@st.composite
def curves(draw: st.DrawFn, largest: int = 32) -> ThroughputCurve:
    """Sub-linear, super-linear, falling and with sizes that are missing."""
    rate = float(draw(st.integers(1, 20)))
    points: dict[int, float] = {}
    size = 1
    while size <= largest:
        if draw(st.integers(0, 4)):
            points[size] = rate
        rate = round(rate * draw(st.sampled_from([0.7, 1.0, 1.2, 1.5, 1.7, 1.9, 2.0, 2.2])), 3)
        size *= 2
    return ThroughputCurve.of(points or {draw(st.sampled_from([1, 2, 4])): rate})


@st.composite
def overheads(draw: st.DrawFn) -> Overhead:
    """None, the same for all, or all different."""
    seconds = st.sampled_from([0.0, 1.0, 4.0, 30.0, 90.0])
    if draw(st.booleans()):
        return Overhead.constant(draw(seconds))
    if draw(st.booleans()):  # what a training that changes its size while it runs costs
        return replace(Overhead.constant(30.0), grow=2.0, shrink=1.5)
    costs = {kind: draw(seconds) for kind in OVERHEAD_KINDS}
    return Overhead(**costs, per_doubling=draw(st.sampled_from([0.0, 2.0])))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """All that a site may decide, limits apart."""
    return Policy(
        min_reshape_interval=draw(st.sampled_from([0.0, 0.0, 300.0])),
        growth_gain=draw(st.sampled_from([0.0, 1.0, 3.0])),
        min_speedup=draw(st.sampled_from([0.0, 0.1, 0.3])),
        best_effort_grows=draw(st.booleans()),
        risk_order=draw(st.sampled_from(RiskOrder)),
        offer_resolution=draw(st.sampled_from([1.0, 60.0])),
        admission=draw(st.sampled_from(Admission)),
    )


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job before it has an arrival time; its deadline counts from the submission."""

    seconds_alone: float  # at the slowest size
    seconds_allowed: float
    curves: tuple[tuple[str, ThroughputCurve], ...]
    kind: JobKind
    grace: float
    if_infeasible: IfInfeasible
    overhead: Overhead
    owner: str
    max_gpus: int | None
    bars: tuple[Bar, ...]
    doubles: bool = False
    waits: float = 0.0  # seconds from its submission until it may begin

    def submitted_at(self, now: float, job_id: str) -> Job:
        """The job that this becomes when it is submitted at `now`."""
        slowest = min(rate for _, curve in self.curves for _, rate in curve.points)
        best_effort = self.kind is JobKind.BEST_EFFORT
        return Job(
            id=job_id,
            submitted=now,
            iterations=self.seconds_alone * slowest,
            curves=self.curves,
            kind=self.kind,
            deadline=None if best_effort else now + self.seconds_allowed,
            grace=self.grace if self.kind is JobKind.SOFT_DEADLINE else 0.0,
            if_infeasible=self.if_infeasible,
            overhead=self.overhead,
            owner=self.owner,
            max_gpus=self.max_gpus,
            bars=self.bars,
            begin=now + self.waits if self.waits else -math.inf,
            doubles=self.doubles,
        )


DEADLINE_HEAVY = (JobKind.DEADLINE,) * 4 + (JobKind.SOFT_DEADLINE, JobKind.BEST_EFFORT)


@st.composite
def drafts(draw: st.DrawFn, types: tuple[str, ...] = (GPU,)) -> JobDraft:
    """From hopeless to lax, on one type or on several."""
    wanted = [name for name in types if draw(st.integers(0, 3))] or [types[0]]
    seconds = float(draw(st.integers(1, 2000)))
    tightness = draw(st.sampled_from([0.15, 0.4, 0.7, 1.0, 1.3, 2.0, 4.0]))
    overhead = draw(overheads())
    names = st.sampled_from([f"{name}-{n}" for name in types for n in range(1, 6)])
    bars = st.lists(
        st.builds(Bar, st.frozensets(names), st.sampled_from([1, 1, 2, 4, 8])), max_size=2
    )
    return JobDraft(
        seconds_alone=seconds,
        seconds_allowed=max(1.0, round(seconds * tightness + overhead.start)),
        curves=tuple((name, draw(curves())) for name in wanted),
        kind=draw(st.sampled_from(DEADLINE_HEAVY)),
        grace=draw(st.sampled_from([0.0, 60.0, 600.0])),
        if_infeasible=draw(st.sampled_from(IfInfeasible)),
        overhead=overhead,
        owner=draw(st.sampled_from(["ann", "bob"])),
        max_gpus=draw(st.sampled_from([None, None, 1, 4, 0])),
        bars=tuple(draw(bars)) if draw(st.integers(0, 3)) == 3 else (),
        doubles=draw(st.booleans()),
        waits=draw(st.sampled_from([0.0, 0.0, 0.0, 5.0, 0.3 * seconds, 2.0 * seconds])),
    )


@st.composite
def pasts(draw: st.DrawFn, now: float = 0.0) -> Arrivals:
    """Who has arrived before `now`: too few for a price of GPU time, or enough for a high one."""
    count = draw(st.sampled_from([0, 0, 4, 8]))
    window = float(draw(st.sampled_from([100, 1000])))
    seconds = float(draw(st.sampled_from([10, 300, 5000])))
    return tuple(
        Arrival(f"p{number}", now - window * (count - number) / count, window, seconds)
        for number in range(count)
    )


@st.composite
def lives(
    draw: st.DrawFn,
    *,
    max_jobs: int = 6,
    max_types: int = 1,
    horizon: float = HORIZON,
    policy: Policy | None = None,
) -> World:
    """A cluster on which some jobs have arrived and some time has passed."""
    cluster = draw(clusters(max_types=max_types, horizon=horizon))
    world = World(cluster, policy or draw(policies()))
    world.arrivals = draw(pasts())
    types = tuple(group.gpu_type for group in cluster.groups)
    for number in range(draw(st.integers(max_jobs // 2, max_jobs))):
        world.submit(draw(drafts(types)).submitted_at(world.now, f"j{number}"))
        world.advance(world.now + draw(st.sampled_from([0.0, 0.0, 0.0, 13.0, 111.1, 700.0])))
    return world
