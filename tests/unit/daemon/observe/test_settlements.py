"""How promises end, and whose doing that is said to be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.settlements import (
    due_at,
    settle_completed,
    settle_given_up,
    settle_overdue,
)
from ef_slurm.model import (
    Fault,
    JobState,
    PromiseOutcome,
    QueueJob,
    Reason,
    ReasonCode,
    is_in_time,
)
from ef_slurm.slurm.types import FINAL_STATES, JobBaseState
from tests.unit.daemon.make import NOW, TWO_NODES, pending, row, running, slurm_job

BEFORE, AFTER = NOW + 4000.0, NOW + 6000.0


def due(deadline: float | None, grace: float = 0.0, **other: object) -> QueueJob:
    job = row(**other)  # type: ignore[arg-type]
    return replace(job, request=replace(job.request, deadline=deadline, grace=grace))


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.OWNER, PromiseOutcome.VOID),
        (Fault.JOB, PromiseOutcome.VOID),
        (Fault.OPERATOR, PromiseOutcome.BROKEN),
        (Fault.CLUSTER, PromiseOutcome.BROKEN),
        (Fault.EF_SLURM, PromiseOutcome.BROKEN),
    ],
)
def test_only_the_job_and_its_owner_make_a_promise_void(
    fault: Fault, outcome: PromiseOutcome
) -> None:
    settled = settle_given_up(row(), fault, "it ended", BEFORE)
    assert (settled.outcome, settled.fault) == (outcome, fault)
    # After the deadline it was broken whatever came then.
    assert settle_given_up(row(), fault, "it ended", AFTER).outcome is PromiseOutcome.BROKEN


@pytest.mark.parametrize(
    ("state", "code", "fault"),
    [
        (JobState.HELD, ReasonCode.KEPT, Fault.OPERATOR),
        (JobState.RUNNING, ReasonCode.BEHIND, Fault.JOB),
        (JobState.PAUSED, ReasonCode.LOST_CAPACITY, Fault.CLUSTER),
        (JobState.PAUSED, ReasonCode.LIMITED, Fault.CLUSTER),
        (JobState.RUNNING, ReasonCode.KEPT, Fault.EF_SLURM),
        (JobState.RUNNING, None, Fault.EF_SLURM),
    ],
)
def test_why_it_is_late(state: JobState, code: ReasonCode | None, fault: Fault) -> None:
    job = row(state, reason=None if code is None else Reason(code))
    settled = settle_overdue(job, running(TWO_NODES), AFTER)
    assert settled is not None
    assert (settled.outcome, settled.fault) == (PromiseOutcome.BROKEN, fault)
    assert "it goes on" in settled.why


def test_an_overdue_job_is_broken_when_it_is_seen_to_go_on() -> None:
    job = due(NOW + 0.5, iteration=500.0)
    assert due_at(job) == NOW + 1.0
    assert settle_overdue(job, running(TWO_NODES), NOW + 0.9) is None
    settled = settle_overdue(job, running(TWO_NODES), NOW + 1.0)
    assert settled is not None
    assert "500 of 10000 iterations" in settled.why
    assert settle_overdue(job, pending(), NOW + 1.0) is not None
    suspended = JobStatus(slurm_job(JobBaseState.SUSPENDED))
    assert settle_overdue(job, suspended, NOW + 1.0) is not None


@pytest.mark.parametrize("state", sorted(FINAL_STATES, key=str))
def test_what_may_have_ended_in_time_is_not_called_late(state: JobBaseState) -> None:
    leaving = slurm_job(state, flags=frozenset({"COMPLETING"}))
    assert settle_overdue(due(NOW), JobStatus(leaving), NOW + 9.0) is None


def test_a_grace_is_waited_for() -> None:
    job = due(NOW, grace=60.0)
    assert settle_overdue(job, running(TWO_NODES), NOW + 60.0) is None
    assert settle_overdue(job, running(TWO_NODES), NOW + 61.0) is not None


@pytest.mark.parametrize(
    "job",
    [
        row(best_effort=True),
        row(JobState.NEW),
        row(JobState.WAITLISTED),
    ],
)
def test_where_nothing_is_promised_nothing_is_broken(job: QueueJob) -> None:
    assert due_at(job) is None
    assert settle_overdue(job, running(TWO_NODES), AFTER) is None


@given(st.floats(1e9, 2e9), st.floats(-10.0, 10.0), st.floats(0.0, 5.0))
def test_what_was_called_late_is_never_seen_to_have_been_in_time(
    deadline: float, passed: float, later: float
) -> None:
    """Slurm tells the end in whole seconds, rounded down, and we look before it."""
    job, seen_at = due(deadline), deadline + passed
    if settle_overdue(job, running(TWO_NODES), seen_at) is None:
        return
    ended_at = float(int(seen_at + later))
    assert not is_in_time(ended_at, deadline)
    settled = settle_completed(job, ended_at)
    assert settled is not None
    assert settled.outcome is PromiseOutcome.BROKEN
