"""Slurm's limits as the planner counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.site_limits import SiteLimits
from ef_slurm.daemon.plan.slurm_limits import (
    allowed_sizes,
    asker_of,
    bounded,
    budgets_of,
    licenses_of,
    timed,
)
from ef_slurm.model import (
    Block,
    Charge,
    Cluster,
    Job,
    JobKind,
    JobRequest,
    JobState,
    NodeGroup,
    QueueJob,
    Reservation,
    Running,
    ThroughputCurve,
)
from ef_slurm.slurm.limits import JOBS, Asker, Bound, JobLimits, Members, Shared
from ef_slurm.slurm.site_types import SlurmLicense
from ef_slurm.slurm.types import (
    HeldGpus,
    HoldKind,
    JobBaseState,
    Observation,
    Requested,
    SlurmJob,
)

CURVE = ThroughputCurve.of({1: 1.0, 2: 1.9, 4: 3.6, 8: 6.0, 16: 9.0})
CLUSTER = Cluster.uniform(nodes=4, gpus_per_node=4)
SETTINGS = (("CPUs per GPU", "gres/gpu:8"), ("QOS", "small"), ("time limit", "90"))
REQUEST = JobRequest(
    slurm_job_id=7,
    owner="ann",
    uid=1000,
    name="x",
    submitted=0.0,
    kind=JobKind.DEADLINE,
    iterations=100,
    global_batch_size=16,
    curves=(("gpu", CURVE),),
    state_dir="/x",
    deadline=1000.0,
    partition="ef",
)


def job(**fields: object) -> Job:
    return Job("1", 0.0, 100.0, (("gpu", CURVE),), deadline=1000.0, **fields)  # type: ignore[arg-type]


def sizes(one: Job) -> list[int]:
    most = math.inf if one.max_gpus is None else one.max_gpus
    return [gpus for _, curve in one.curves for gpus, _ in curve.points if gpus <= most]


def limited(*bounds: Bound, one: Job | None = None, settings: object = SETTINGS) -> Job:
    return bounded(one or job(), JobLimits(bounds), settings, CLUSTER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bound", "allowed"),
    [
        (Bound("gres/gpu", 4, "w"), [1, 2, 4]),
        (Bound("gres/gpu", 7, "w"), [1, 2, 4]),
        (Bound("gres/gpu:gpu", 2, "w"), [1, 2]),
        (Bound("gres/gpu:other", 0, "w"), [1, 2, 4, 8, 16]),
        (Bound("node", 3, "w"), [1, 2, 4, 8]),
        (Bound("node", 1, "w"), [1, 2, 4]),
        (Bound("cpu", 20, "w"), [1, 2]),  # eight CPUs come with a GPU
        (Bound("cpu", 16, "w", on_node=True), [1, 2]),
        (Bound("gres/gpu", 2, "w", on_node=True), [1, 2]),
        (Bound("gres/gpu", 2, "w", least=True), [2, 4, 8, 16]),
        (Bound("node", 2, "w", least=True), [8, 16]),
        (Bound("mem", 1, "w"), [1, 2, 4, 8, 16]),  # how much it takes is not known
        (Bound("billing", 1, "w"), [1, 2, 4, 8, 16]),  # left to Slurm
    ],
)
def test_sizes_of_one_job(bound: Bound, allowed: list[int]) -> None:
    assert sizes(limited(bound)) == allowed
    group = CLUSTER.groups[0]
    some = allowed_sizes([1, 2, 4, 8, 16], JobLimits((bound,)), SETTINGS, group)
    assert list(some) == allowed


def test_what_is_too_large_stays_in_the_curve() -> None:
    """So that whoever refuses the job knows that the limit is what refuses it."""
    one = limited(Bound("gres/gpu", 4, "w"))
    assert (one.max_gpus, one.max_gpus_by, one.curves) == (4, "w", job().curves)


def test_a_job_without_cpus_per_gpu_takes_one_for_each_node_at_least() -> None:
    assert sizes(limited(Bound("cpu", 2, "w"), settings=())) == [1, 2, 4, 8]


def test_no_size_is_left_and_the_limit_is_named() -> None:
    one = limited(Bound("gres/gpu", 0, "no GPUs"))
    assert (one.max_gpus, one.max_gpus_by) == (0, "no GPUs")


def test_what_its_owner_has_set_lower_stays_the_owners() -> None:
    one = limited(Bound("gres/gpu", 8, "w"), one=job(max_gpus=2))
    assert (one.max_gpus, one.max_gpus_by) == (2, "")


def test_a_limit_of_one_type_leaves_the_other() -> None:
    groups = tuple(replace(CLUSTER.groups[0], gpu_type=kind) for kind in ("a", "b"))
    curves = (("a", CURVE), ("b", CURVE))
    limits = JobLimits((Bound("gres/gpu:a", 2, "w"),))
    one = bounded(replace(job(), curves=curves), limits, (), Cluster(groups))
    assert {kind: curve.points[-1][0] for kind, curve in one.curves} == {"a": 2, "b": 16}


def test_what_it_holds_it_may_keep() -> None:
    running = Running(Block("gpu", ("n1", "n2"), 4), 0.0, 0.0)
    plan = (Reservation(0.0, 50.0, 8, "gpu"),)
    one = limited(Bound("gres/gpu", 2, "w"), one=job(running=running, plan=plan))
    assert (sizes(one), one.plan) == ([1, 2, 8], plan)
    closed = JobLimits(closed="State=DOWN of partition ef")
    one = bounded(job(running=running, plan=plan), closed, (), CLUSTER)
    assert (one.max_gpus, one.plan) == (8, plan)


def test_a_plan_that_a_limit_forbids_is_none() -> None:
    plan = (Reservation(10.0, 50.0, 8, "gpu"),)
    assert limited(Bound("gres/gpu", 2, "w"), one=job(plan=plan)).plan == ()
    assert limited(Bound("gres/gpu", 8, "w"), one=job(plan=plan)).plan == plan


def test_what_does_not_start_at_all() -> None:
    one = bounded(job(), JobLimits(closed="State=DOWN of partition ef"), (), CLUSTER)
    assert (one.max_gpus, one.max_gpus_by) == (0, "State=DOWN of partition ef")


# Together


def shared(tres: str, amount: float, **members: object) -> Shared:
    return Shared(tres, amount, f"{tres}={amount:g}", Members(**members))  # type: ignore[arg-type]


def test_charges() -> None:
    limits = JobLimits(
        shared=(shared("gres/gpu", 4), shared("node", 2), shared("cpu", 64), shared(JOBS, 3)),
    )
    wants = (*SETTINGS, ("licenses", "matlab:2,absent"))
    one = bounded(job(), limits, wants, CLUSTER, [SlurmLicense("matlab", 5, 1)])
    assert one.charges == (
        Charge("gres/gpu=4", per_gpu=1.0),
        Charge("node=2", per_node=1.0),
        Charge("cpu=64", per_gpu=8.0),
        Charge("jobs=3", per_job=1.0),
        Charge("Licenses=matlab:4", per_job=2.0),
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("matlab", {"matlab": 1}),
        ("matlab:3", {"matlab": 3}),
        ("matlab@server:2,foo:1", {"matlab@server": 2, "foo": 1}),
        ("a:1|b:2", {"a": 1, "b": 2}),  # of alternatives each is counted
        (" , ", {}),
        ("a:many,b:\u00b2", {"a": 1, "b": 1}),
    ],
)
def test_licences_that_a_job_wants(text: str, wanted: dict[str, int]) -> None:
    assert licenses_of((("licenses", text),)) == wanted


def slurm_job(
    job_id: int, user: str = "bob", qos: str = "small", *, runs: bool = True, **fields: object
) -> SlurmJob:
    values: dict[str, object] = {
        "nodes": ("n1", "n2") if runs else (),
        "held": (HeldGpus("n1", "", 1), HeldGpus("n2", "a", 2)) if runs else (),
        "end_time": 500.0,
        "cpus_per_node": 4.0,
        "settings": (("QOS", qos), ("licenses", "matlab:1")),
        **fields,
    }
    return SlurmJob(
        job_id,
        "x",
        user,
        1,
        "physics",
        JobBaseState.RUNNING if runs else JobBaseState.PENDING,
        frozenset(),
        "",
        HoldKind.NONE,
        Requested(1, 1, 1, 1, partition="batch"),
        **values,  # type: ignore[arg-type]
    )


def budgets(*limits: Shared, jobs: tuple[SlurmJob, ...]) -> dict[str, tuple[object, ...]]:
    site = SiteLimits(licenses=(SlurmLicense("matlab", 5, 1), SlurmLicense("unwanted", 1)))
    seen = Observation(100.0, {one.job_id: one for one in jobs}, ())
    found = budgets_of([JobLimits(shared=limits)] * 9, site, seen, {1}, CLUSTER, {"matlab"})
    return {one.name: (one.most, one.taken) for one in found}


def test_what_jobs_outside_of_plans_use() -> None:
    jobs = (
        slurm_job(1),  # ours
        slurm_job(2),
        slurm_job(3, "eve", "normal"),
        slurm_job(4, runs=False),
    )
    assert budgets(
        shared("gres/gpu", 4, qos="small"),
        shared("gres/gpu:a", 9),
        shared("node", 6, user="eve"),
        shared("cpu", 64, accounts=frozenset({"physics"})),
        shared("jobs", 5, partition="ef"),
        jobs=jobs,
    ) == {
        "gres/gpu=4": (4, ((500.0, 3.0),)),
        "gres/gpu:a=9": (9, ((500.0, 2.0), (500.0, 2.0))),
        "node=6": (6, ((500.0, 2.0),)),
        "cpu=64": (64, ((500.0, 8.0), (500.0, 8.0))),
        "jobs=5": (5, ()),
        "Licenses=matlab:4": (4, ((500.0, 1.0), (500.0, 1.0))),
    }


def test_what_nobody_can_exceed_is_no_budget() -> None:
    """Sixteen GPUs on four nodes, and nine jobs."""
    loose = [shared("gres/gpu", 16), shared("node", 13), shared(JOBS, 9)]
    assert budgets(*loose, jobs=()).keys() == {"Licenses=matlab:4"}
    tight = [shared("gres/gpu", 15), shared("node", 12), shared(JOBS, 8), shared("cpu", 9999)]
    assert len(budgets(*tight, jobs=())) == 5
    # What others use may make the difference.
    assert "node=13" in budgets(shared("node", 13), jobs=(slurm_job(2),))


# Time


def row(**fields: object) -> QueueJob:
    return QueueJob(1, REQUEST, JobState.RUNNING, **fields)  # type: ignore[arg-type]


def test_a_job_that_has_not_started_has_its_whole_limit() -> None:
    request = replace(REQUEST, max_time=120.0)
    one = timed(job(), request, JobLimits(), None)
    assert (one.longest, one.longest_by, one.deadline) == (120.0, "--time=2:00", 1000.0)


@pytest.mark.parametrize(
    ("own", "limits", "asked", "longest", "words"),
    [
        (None, JobLimits(), None, math.inf, ""),
        (None, JobLimits(), math.inf, math.inf, ""),
        (None, JobLimits(), 600.0, 600.0, "its time limit in Slurm is 10:00"),
        (None, JobLimits(longest=300.0, longest_by="MaxTime"), 300.0, 300.0, "MaxTime"),
        (60.0, JobLimits(longest=300.0, longest_by="MaxTime"), 60.0, 60.0, "--time=1:00"),
    ],
)
def test_the_shortest_limit_counts(
    own: float | None, limits: JobLimits, asked: float | None, longest: float, words: str
) -> None:
    one = timed(job(), replace(REQUEST, max_time=own), limits, asked)
    assert (one.longest, one.longest_by) == (longest, words)


def test_the_owners_limit_counts_from_the_first_start() -> None:
    """Pauses and requeues included: a requeue does not get round it."""
    request = replace(REQUEST, max_time=120.0)
    paused = timed(job(), request, JobLimits(), 120.0, row(first_started_at=50.0))
    assert (paused.deadline, paused.longest) == (170.0, math.inf)
    assert paused.longest_by == "--time=2:00"


def test_slurms_limit_counts_from_each_start_anew() -> None:
    paused = timed(job(), REQUEST, JobLimits(), 120.0, row(first_started_at=50.0))
    assert (paused.deadline, paused.longest) == (1000.0, 120.0)


def test_a_run_ends_when_slurm_ends_it() -> None:
    running = Running(Block("gpu", ("n1",), 4), 50.0, 60.0)
    status = JobStatus(slurm_job(7, end_time=400.0))
    one = timed(
        job(running=running), REQUEST, JobLimits(), 600.0, row(first_started_at=50.0), status
    )
    assert (one.deadline, one.longest) == (400.0, math.inf)
    endless = JobStatus(slurm_job(7, end_time=math.inf))
    one = timed(job(running=running), REQUEST, JobLimits(), None, row(), endless)
    assert one.deadline == 1000.0


def test_grace_does_not_reach_beyond_the_limit() -> None:
    soft = replace(job(), kind=JobKind.SOFT_DEADLINE, grace=100.0)
    request = replace(REQUEST, max_time=1050.0)
    one = timed(soft, request, JobLimits(), None, row(first_started_at=0.0))
    assert (one.deadline, one.grace) == (1000.0, 50.0)
    request = replace(REQUEST, max_time=900.0)
    one = timed(soft, request, JobLimits(), None, row(first_started_at=0.0))
    assert (one.deadline, one.grace) == (900.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ((), None),
        ((("time limit", ""),), None),
        ((("time limit", "soon"),), None),
        ((("time limit", "90"),), 5400.0),
    ],
)
def test_who_asks_for_what(settings: tuple[tuple[str, str], ...], limit: float | None) -> None:
    asker = asker_of(replace(REQUEST, account="a"), (*settings, ("QOS", "small")))
    assert asker == Asker("ann", "a", "small", "ef", limit)
    moved = asker_of(REQUEST, (("account", "b"), ("time limit", "unlimited")))
    assert moved == Asker("ann", "b", "", "ef", math.inf)


def test_a_group_of_one_node() -> None:
    group = NodeGroup("gpu", 4, CLUSTER.groups[0].nodes[:1])
    assert allowed_sizes([1, 4], JobLimits((Bound("node", 1, "w"),)), (), group) == (1, 4)
