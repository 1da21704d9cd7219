"""Who may change a job of the queue: its owner and operators, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.plan.changes import Changed
from ef_slurm.daemon.serve import visibility
from ef_slurm.daemon.serve.job_changes import JobChanges
from ef_slurm.daemon.serve.visibility import Viewer, Visibility
from ef_slurm.model import (
    ChangeOutcome,
    HeldBy,
    JobAction,
    JobState,
    Outcome,
    QueueJob,
    Reason,
    ReasonCode,
    Verdict,
    planner_id,
)
from ef_slurm.queue.queries import UnknownJobError
from ef_slurm.slurm.commands.accounting import AdminLevel, Rights
from ef_slurm.slurm.site_types import SlurmConfiguration
from tests.unit.daemon.world import World

OWNER, OTHER, OPERATOR, COORDINATOR, SLURM_USER = 1001, 1002, 1003, 1004, 1005
RIGHTS = {
    "u1003": Rights(AdminLevel.OPERATOR),
    "u1004": Rights(AdminLevel.NONE, frozenset({"", "physics"})),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite", nodes=1)
    yield world
    world.queue.close()


@pytest.fixture
def job(world: World) -> QueueJob:
    job = world.submit(1000, deadline=900.0)
    world.queue._database.execute("UPDATE jobs SET uid = ?, revision = revision + 1", (OWNER,))
    return world.row(job)


@pytest.fixture
def changes(world: World, monkeypatch: pytest.MonkeyPatch) -> JobChanges:
    monkeypatch.setattr(visibility, "user_name", lambda uid: f"u{uid}")
    settings = {"SlurmUser": f"slurm({SLURM_USER})"}
    configuration = SlurmConfiguration(
        (24, 11, 5), "memory", 30.0, 300.0, True, (), settings=settings
    )
    return JobChanges(world.queue, Visibility(lambda: configuration, RIGHTS.get))


def allowed(changes: JobChanges, job: QueueJob, uid: int, *, sees_all: bool = True) -> QueueJob:
    caller = Caller(uid, uid, Transport.UNIX)
    return changes.allowed(caller, Viewer(uid, sees_all), job.request.slurm_job_id)


@pytest.mark.parametrize("uid", [OWNER, OPERATOR, SLURM_USER, 0])
@pytest.mark.parametrize("sees_all", [True, False])
def test_owners_and_operators_may(
    changes: JobChanges, job: QueueJob, uid: int, sees_all: bool
) -> None:
    assert allowed(changes, job, uid, sees_all=sees_all) == job


@pytest.mark.parametrize("uid", [OTHER, COORDINATOR])
def test_others_may_not(changes: JobChanges, job: QueueJob, uid: int) -> None:
    with pytest.raises(RequestError) as refused:
        allowed(changes, job, uid)
    assert refused.value.failure.code is FailureCode.DENIED


@pytest.mark.parametrize("held_by", [None, *HeldBy])
@pytest.mark.parametrize("action", JobAction)
def test_an_owner_who_is_an_operator_too_releases_as_one(
    changes: JobChanges, job: QueueJob, held_by: HeldBy | None, action: JobAction
) -> None:
    def as_owner(uid: int, *, owns: bool) -> bool:
        row = replace(job, request=replace(job.request, uid=uid if owns else OTHER))
        row = replace(row, held_by=held_by)
        return changes.acts_as_owner(Caller(uid, uid, Transport.UNIX), row, action)

    assert as_owner(OWNER, owns=True)
    assert not as_owner(OPERATOR, owns=False)
    ends_anothers = action is JobAction.RELEASE and held_by is not HeldBy.OWNER
    assert as_owner(OPERATOR, owns=True) is not ends_anothers


def test_whoever_may_not_see_it_is_told_that_there_is_none(
    changes: JobChanges, job: QueueJob
) -> None:
    with pytest.raises(UnknownJobError):
        allowed(changes, job, OTHER, sees_all=False)


def test_a_refusal_names_no_job_that_one_may_not_see(
    world: World, changes: JobChanges, job: QueueJob
) -> None:
    other = world.submit(1000, deadline=900.0)
    reason = Reason(ReasonCode.PAUSED, job=planner_id(other.id))
    verdict = Verdict(planner_id(job.id), Outcome.REJECTED, reason)
    words = f"the promise to job {other.request.slurm_job_id} needs its GPUs"
    made = Changed(ChangeOutcome.REFUSED, words, verdict)
    answer = changes.changed(Viewer(OWNER, False), job.request.slurm_job_id, made)
    assert answer.others == ()
    assert answer.verdict is not None
    assert answer.verdict.reason.job is None
    assert "another job" in answer.explanation
    seen = changes.changed(Viewer(0, True), job.request.slurm_job_id, made)
    assert [one.job_id for one in seen.others] == [other.request.slurm_job_id]
    assert world.state(job) is JobState.NEW
