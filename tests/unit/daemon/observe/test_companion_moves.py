"""What is believed of a companion, and what the facts make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.contract import LaunchState
from ef_slurm.daemon.observe.companion_moves import companion_move, disbelief
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus, Member
from ef_slurm.model import Block, Companion, CompanionState, JobKind, JobRequest, JobState, QueueJob
from ef_slurm.slurm.types import HoldKind, JobBaseState, Requested, SlurmJob
from tests.unit.daemon.make import launch, progress, slurm_job

OTHER = Requested(1, 1, 1, 1, comment="mine now")
ONE = Block("gpu", ("n1",), 4)
PART = Block("gpu", ("n2",), 4)
COMMENT = "ef-slurm: companion of 7, launch 1, change 1"
ELSEWHERE = Requested(1, 1, 1, 1, comment=COMMENT, partition="other")
REQUEST = JobRequest(7, "user1", 1001, "train", 0.0, JobKind.BEST_EFFORT, 100, 8, (), "/shared/7")
JOB = QueueJob(1, REQUEST, JobState.RUNNING)
BOOTS = frozenset({"CONFIGURING"})
FIRST = slurm_job(JobBaseState.RUNNING, on=ONE)


def companion(state: CompanionState, slurm_id: int | None = 18) -> Companion:
    return Companion(1, 1, 1, 1, state, PART, 900.0, 900.0, slurm_id)


def seen(state: JobBaseState = JobBaseState.PENDING, **other: Any) -> SlurmJob:
    requested = Requested(1, 1, 1, 1, comment=COMMENT)
    hold = HoldKind.USER if state is JobBaseState.PENDING else HoldKind.NONE
    on = PART if state is JobBaseState.RUNNING else None
    job = slurm_job(state, on=on, hold=hold, job_id=18)
    return replace(job, **{"requested": requested, **other})


def status(**reports: Any) -> JobStatus:
    told = {"live": True, "nodes": "n1", **reports}
    return JobStatus(FIRST, JobReports(launch(nodes="n1"), progress(world_size=4, **told)))


def test_what_is_a_companion() -> None:
    wanted = companion(CompanionState.WANTED, None)
    assert disbelief(JOB, FIRST, wanted, seen(), known=False) == ""


@pytest.mark.parametrize(
    ("slurm", "known", "why"),
    [
        (None, False, "its owner has no such job"),
        (seen(uid=1002), False, "its owner has no such job"),
        (seen(requested=Requested(1, 1, 1, 1, comment="x")), False, "comment"),
        (
            seen(requested=Requested(1, 1, 1, 1, comment=COMMENT.replace("7", "8"))),
            False,
            "comment",
        ),
        (
            seen(requested=Requested(1, 1, 1, 1, comment=COMMENT.replace("launch 1", "launch 2"))),
            False,
            "comment",
        ),
        (
            seen(requested=Requested(1, 1, 1, 1, comment=COMMENT, partition="other")),
            False,
            "partition other",
        ),
        (seen(), True, "another job"),
        (seen(job_id=7), False, "another job"),
        (seen(array=True), False, "another job"),
        (seen(account="theirs"), False, "its account is theirs, not none"),
        (seen(settings=(("QOS", "high"),)), False, "its QOS is high, not none"),
        (seen(settings=(("reservation", "r1"),)), False, "its reservation is r1, not none"),
        (seen(hold=HoldKind.NONE), False, "not held"),
        (seen(JobBaseState.RUNNING), False, "not held"),
        (seen(JobBaseState.CANCELLED), False, "not held"),
    ],
)
def test_what_is_no_companion(slurm: SlurmJob | None, known: bool, why: str) -> None:
    wanted = companion(CompanionState.WANTED, None)
    assert why in disbelief(JOB, FIRST, wanted, slurm, known=known)


@pytest.mark.parametrize(
    ("state", "slurm", "reports", "to"),
    [
        (CompanionState.SUBMITTED, seen(), {}, None),
        (
            CompanionState.SUBMITTED,
            seen(JobBaseState.RUNNING),
            {},
            CompanionState.LEAVING,
        ),
        (CompanionState.RELEASED, seen(hold=HoldKind.NONE), {}, None),
        # Whoever has made something else of it before it starts does not get it started.
        (CompanionState.SUBMITTED, seen(requested=OTHER), {}, CompanionState.LEAVING),
        (CompanionState.RELEASED, seen(requested=OTHER), {}, CompanionState.LEAVING),
        (CompanionState.SUBMITTED, seen(account="theirs"), {}, CompanionState.LEAVING),
        (CompanionState.RELEASED, seen(requested=ELSEWHERE), {}, CompanionState.LEAVING),
        (CompanionState.RUNNING, seen(JobBaseState.RUNNING, requested=OTHER), {}, None),
        (CompanionState.RELEASED, seen(JobBaseState.RUNNING), {}, CompanionState.RUNNING),
        (CompanionState.RELEASED, seen(JobBaseState.RUNNING, flags=BOOTS), {}, None),
        (
            CompanionState.RELEASED,
            seen(JobBaseState.RUNNING, nodes=("n3",)),
            {},
            CompanionState.LEAVING,
        ),
        (CompanionState.RUNNING, seen(JobBaseState.RUNNING), {}, None),
        (
            CompanionState.RUNNING,
            seen(JobBaseState.RUNNING),
            {"ready": "n2"},
            CompanionState.READY,
        ),
        (CompanionState.RUNNING, seen(), {}, CompanionState.LEAVING),
        (
            CompanionState.READY,
            seen(JobBaseState.RUNNING),
            {"nodes": "n1,n2", "change": 1},
            CompanionState.JOINED,
        ),
        (CompanionState.JOINED, seen(JobBaseState.RUNNING), {"nodes": "n1,n2"}, None),
        (CompanionState.JOINED, seen(JobBaseState.RUNNING), {"nodes": ""}, None),
        (CompanionState.JOINED, seen(JobBaseState.RUNNING), {}, CompanionState.LEAVING),
        (CompanionState.JOINED, seen(JobBaseState.RUNNING), {"ready": "n2"}, None),
        (CompanionState.JOINED, seen(JobBaseState.CANCELLED), {}, CompanionState.ENDED),
        (CompanionState.LEAVING, seen(JobBaseState.RUNNING), {}, None),
        (CompanionState.LEAVING, seen(JobBaseState.COMPLETED), {}, CompanionState.ENDED),
        (CompanionState.SUBMITTED, None, {}, CompanionState.ENDED),
    ],
)
def test_moves(
    state: CompanionState,
    slurm: SlurmJob | None,
    reports: dict[str, Any],
    to: CompanionState | None,
) -> None:
    move = companion_move(Member(companion(state), slurm), status(**reports))
    assert (None if move is None else move.to) == to


def test_after_one_that_was_started_otherwise_there_is_no_other_at_once() -> None:
    for state, nodes in ((CompanionState.SUBMITTED, ("n2",)), (CompanionState.RELEASED, ("n3",))):
        runs = seen(JobBaseState.RUNNING, nodes=nodes)
        move = companion_move(Member(companion(state), runs), status())
        assert move is not None
        assert (move.to, move.unwanted) == (CompanionState.LEAVING, True)


def test_another_launch_ends_a_companion() -> None:
    member = Member(companion(CompanionState.JOINED), seen(JobBaseState.RUNNING))
    again = JobStatus(FIRST, JobReports(launch(generation=2), progress(generation=2)))
    waits = JobStatus(FIRST, JobReports(launch(LaunchState.WAITING), progress()))
    gone = JobStatus(slurm_job(JobBaseState.PENDING), JobReports(launch(), progress()))
    unread = JobStatus(FIRST, JobReports())
    for one in (again, waits, gone):
        move = companion_move(member, one)
        assert move is not None
        assert (move.to, move.unexpected) == (CompanionState.LEAVING, True)
    assert companion_move(member, unread) is None
