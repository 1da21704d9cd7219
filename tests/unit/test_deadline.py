"""One meaning of "in time" for everybody who judges a finish."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.transitions import derive_transition
from ef_slurm.model import (
    Cluster,
    Job,
    JobKind,
    Overhead,
    Policy,
    PromiseOutcome,
    PromiseState,
    Running,
    Standing,
    ThroughputCurve,
    is_in_time,
    slack_seconds,
)
from ef_slurm.planner.plan import plan
from ef_slurm.simulator.metrics import is_met
from ef_slurm.simulator.simulated_job import SimulatedJob
from ef_slurm.simulator.trace import TraceJob
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.make import NOW, TWO_NODES, row, slurm_job

CURVE = ThroughputCurve.of({8: 10.0})
DEADLINE = NOW + 100.0
LATENESS = [(-5.0, True), (0.0, True), (0.5e-3, True), (2e-3, False), (1.0, False)]


@pytest.mark.parametrize(("seconds", "in_time"), LATENESS)
def test_a_hair_is_forgiven_and_no_more(seconds: float, in_time: bool) -> None:
    finish = DEADLINE + seconds
    assert is_in_time(finish, DEADLINE) is in_time
    assert (slack_seconds(finish, DEADLINE) >= 0) is in_time
    assert is_in_time(finish + 60.0, DEADLINE, grace=60.0) is in_time
    assert is_in_time(finish, math.inf)
    assert not is_in_time(math.inf, DEADLINE)


@pytest.mark.parametrize(("seconds", "in_time"), LATENESS)
def test_planner_simulator_and_daemon_judge_alike(seconds: float, in_time: bool) -> None:
    finish = DEADLINE + seconds

    cluster = Cluster.uniform(nodes=2, gpus_per_node=4)
    job = Job(
        "a",
        0.0,
        10.0 * (finish - NOW),
        (("gpu", CURVE),),
        deadline=DEADLINE,
        standing=Standing.ADMITTED,
        running=Running(TWO_NODES, 0.0, 0.0),
    )
    state = plan(NOW, [job], cluster, Policy()).decision("a").promise
    assert state is (PromiseState.SAFE if in_time else PromiseState.AT_RISK)

    run = SimulatedJob(TraceJob("a", 0.0, 1.0, "bert", 64, CURVE, DEADLINE), Overhead())
    run.finish(finish)
    assert is_met(run) is in_time

    ended = slurm_job(JobBaseState.COMPLETED, end_time=finish)
    promised = row(running=Running(TWO_NODES, 0.0, 0.0))
    promised = replace(promised, request=replace(promised.request, deadline=DEADLINE))
    seen_at = finish + 1.0
    transition = derive_transition(
        promised, JobStatus(ended), None, seen_at, ours=HoldKind.ADMIN, seen_at=seen_at
    )
    assert transition.settled is not None
    assert transition.settled.outcome is (PromiseOutcome.KEPT if in_time else PromiseOutcome.BROKEN)
    soft = replace(promised.request, kind=JobKind.SOFT_DEADLINE, deadline=DEADLINE - 60, grace=60.0)
    promised = replace(promised, request=soft)
    transition = derive_transition(
        promised, JobStatus(ended), None, seen_at, ours=HoldKind.ADMIN, seen_at=seen_at
    )
    assert transition.settled is not None
    expected = PromiseOutcome.KEPT_IN_GRACE if in_time else PromiseOutcome.BROKEN
    assert transition.settled.outcome is expected
