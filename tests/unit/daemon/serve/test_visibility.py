"""Who sees whose jobs, with and without Slurm's PrivateData."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import (
    Await,
    Cancel,
    Explain,
    ListHistory,
    ListJobs,
    Request,
    TrainOn,
    Withdraw,
)
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.requests import Dispatch
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.visibility import (
    FRESH_SECONDS,
    STALE_SECONDS,
    Viewer,
    Visibility,
    masked_text,
    private,
)
from ef_slurm.model import (
    ACTOR,
    Block,
    CompanionState,
    CompanionView,
    Event,
    EventKind,
    HistoryPage,
    JobDetail,
    JobList,
    JobState,
    Outcome,
    QueueLimits,
    Reason,
    ReasonCode,
    Story,
    Verdict,
    planner_id,
)
from ef_slurm.queue.queries import UnknownJobError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.commands.accounting import AdminLevel, Rights, rights
from ef_slurm.slurm.commands.runner import Result, Runner
from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.site_types import SlurmConfiguration
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.api.fakes import REQUEST, SCRIPT
from tests.unit.daemon.serve.stub import NoScheduler

ALICE, BOB, CAROL, DAVE = 5001, 5002, 5003, 5004


@dataclass
class Word:
    """What Slurm and accounting say."""

    settings: dict[str, str] = field(default_factory=dict)
    rights: dict[str, Rights] = field(default_factory=dict)
    now: float = 0.0
    silent: bool = False
    asked: int = 0

    def configuration(self) -> SlurmConfiguration:
        self.asked += 1
        if self.silent:
            raise SlurmUnavailableError("no answer", command=("scontrol",))
        return SlurmConfiguration((24, 11, 5), "mini", 30.0, 300.0, True, (), self.settings)

    def visibility(self) -> Visibility:
        return Visibility(self.configuration, self.rights.get, lambda: self.now)


PRIVATE = {"PrivateData": "jobs,usage", "SlurmUser": "slurm(64030)"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("none", False),
        ("", False),
        ("accounts,usage,users", False),
        ("jobs", True),
        ("accounts, jobs", True),
        ("all", True),
        ("JOBS", True),
    ],
)
def test_what_slurm_calls_private(value: str, expected: bool) -> None:
    assert private({"PrivateData": value}) is expected
    assert not private({})


class TestViewers:
    def test_without_private_data_everybody_sees_all(self) -> None:
        assert Word({"PrivateData": "none"}).visibility().ask(ALICE).sees_all

    def test_with_it_nobody_does(self) -> None:
        assert Word(PRIVATE).visibility().ask(ALICE) == Viewer(ALICE, False)

    @pytest.mark.parametrize("uid", [0, os.getuid(), 64030])
    def test_but_root_and_the_daemons(self, uid: int) -> None:
        assert Word(PRIVATE).visibility().ask(uid).sees_all

    @pytest.mark.parametrize("level", [AdminLevel.OPERATOR, AdminLevel.ADMINISTRATOR])
    def test_and_operators(self, level: AdminLevel) -> None:
        assert Word(PRIVATE, {str(ALICE): Rights(level)}).visibility().ask(ALICE).sees_all

    def test_and_coordinators_of_their_accounts(self) -> None:
        word = Word(PRIVATE, {str(ALICE): Rights(AdminLevel.NONE, frozenset({"physics"}))})
        assert word.visibility().ask(ALICE) == Viewer(ALICE, False, frozenset({"physics"}))

    def test_a_slurm_that_says_nothing_shows_nothing(self) -> None:
        assert not Word(silent=True).visibility().ask(ALICE).sees_all

    def test_or_what_it_said_before(self) -> None:
        word = Word({"PrivateData": "none"})
        visibility = word.visibility()
        visibility.ask(ALICE)
        word.silent, word.now = True, 2 * FRESH_SECONDS
        assert visibility.ask(BOB).sees_all

    def test_it_is_asked_once_a_minute(self) -> None:
        word = Word(PRIVATE)
        visibility = word.visibility()
        assert visibility.known(ALICE) == (None, True)
        viewer = visibility.ask(ALICE)
        visibility.ask(BOB)
        assert word.asked == 1
        assert visibility.known(ALICE) == (viewer, False)
        word.now = FRESH_SECONDS
        assert visibility.known(ALICE) == (viewer, True)
        word.now = STALE_SECONDS
        assert visibility.known(ALICE) == (None, True)


class TestAccounting:
    class Says(Runner):
        def __init__(self, answer: str) -> None:
            super().__init__()
            object.__setattr__(self, "answer", answer)

        def query(self, _: object, __: str = "") -> Result:
            return Result(cast(str, self.answer), "")  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("None|\n", Rights(AdminLevel.NONE)),
            ("Operator|\n", Rights(AdminLevel.OPERATOR)),
            ("None|physics,bio\n", Rights(AdminLevel.NONE, frozenset({"physics", "bio"}))),
            ("", None),
            ("what\n", None),
        ],
    )
    def test_rights(self, answer: str, expected: Rights | None) -> None:
        assert rights(self.Says(answer), "alice") == expected


@dataclass
class World:
    """Alice's job 7 waits for Bob's job 8; 9 is Carol's in Alice's account."""

    queue: Queue
    dispatch: Dispatch

    def ask(self, uid: int, request: Request, **other: object) -> object:
        viewer = Viewer(uid, False, **other)  # type: ignore[arg-type]
        return self.dispatch.answer(Caller(uid, uid, Transport.UNIX), viewer, request)

    def ids(self, uid: int, request: ListJobs, **other: object) -> list[int]:
        answer = self.ask(uid, request, **other)
        assert isinstance(answer, JobList)
        return [job.job_id for job in answer.jobs]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    path = tmp_path / "queue.sqlite"
    slurm = MemorySlurm(MemoryCluster({"n1": 4}), time.time, user="me", operator=True)
    context = ServerContext(
        scheduler=NoScheduler(),
        calls=SchedulerCalls(),
        slurm=slurm,
        open_queue=lambda: Queue.open(path, create=False),
        cluster="",
        partition="ef",
        limits=QueueLimits(),
        user="ef-slurm",
        version="1",
        started=0.0,
        advisory=False,
        visibility=Word(PRIVATE).visibility(),
    )
    with Queue.open(path) as queue:
        request = replace(REQUEST, submitted=time.time(), deadline=time.time() + 9e4, cluster="")
        rows = [
            queue.jobs.add(
                replace(request, slurm_job_id=number, owner=owner, uid=uid, account=account),
                SCRIPT,
                actor=owner,
            )
            for number, owner, uid, account in (
                (7, "alice", ALICE, "physics"),
                (8, "bob", BOB, "bio"),
                (9, "carol", CAROL, "physics"),
            )
        ]
        mine, bobs, _ = rows
        reason = Reason(ReasonCode.PAUSED, job=planner_id(bobs.id))
        verdict = Verdict(planner_id(mine.id), Outcome.WAITLISTED, reason)
        why = "pauses: the promise to job 8 needs its GPUs"
        queue.promises.record(verdict, at=time.time(), explanation=why)
        queue.jobs.move(mine.id, JobState.WAITLISTED, at=time.time(), actor=ACTOR, why=why)
        row = queue.jobs.get(mine.id)
        queue.jobs.save(replace(row, reason=reason, note=f"job 7 {why}"))
        queue.events.log(Event(time.time(), EventKind.SHARE, ACTOR, why, mine.id))
        dispatch = Dispatch(context)
        yield World(queue, dispatch)
        dispatch.close()


def test_lists_have_what_one_may_see(world: World) -> None:
    assert world.ids(ALICE, ListJobs()) == [7]
    assert world.ids(BOB, ListJobs()) == [8]
    assert world.ids(DAVE, ListJobs(all=True)) == []
    assert world.ids(BOB, ListJobs(job_ids=(7, 8, 9))) == [8]
    assert world.ids(BOB, ListJobs(users=("alice",))) == []
    assert world.ids(DAVE, ListJobs(), accounts=frozenset({"physics"})) == [7, 9]


@pytest.fixture
def grown(world: World) -> World:
    """Bob's job 8 with companions: 20, which has ended, and 21, which trains."""
    row = world.queue.jobs.of_slurm(8)
    assert row is not None
    for change, (number, node) in enumerate(((20, "n2"), (21, "n3")), start=1):
        one = world.queue.companions.want(row.id, 1, change, Block("gpu", (node,), 4), at=1.0)
        for state in (CompanionState.SUBMITTED, CompanionState.RELEASED, CompanionState.RUNNING):
            one = world.queue.companions.move(one, state, at=2.0, slurm_job_id=number)
        one = world.queue.companions.move(one, CompanionState.JOINED, at=3.0)
        if number == 20:
            world.queue.companions.move(one, CompanionState.ENDED, at=4.0)
    return world


def test_a_companions_id_finds_its_job(grown: World) -> None:
    trains = CompanionView(21, ("n3",), CompanionState.JOINED)
    ended = CompanionView(20, ("n2",), CompanionState.ENDED)
    for asked, expected in ((8, (trains,)), (21, (trains,)), (20, (ended, trains))):
        for request in (ListJobs(job_ids=(asked,)), Await(asked), Explain(asked)):
            answer = grown.ask(BOB, request)
            assert isinstance(answer, JobList | JobDetail | Story)
            job = answer.jobs[0] if isinstance(answer, JobList) else answer.job
            assert (job.job_id, job.companions) == (8, expected)
    assert grown.ids(BOB, ListJobs(job_ids=(8, 20, 21))) == [8]


def test_whose_job_one_may_not_see_has_no_companions(grown: World) -> None:
    assert grown.ids(ALICE, ListJobs(job_ids=(20, 21))) == []
    for request in (Await(21), Explain(21), Cancel((21,)), Await(20), Explain(20)):
        with pytest.raises(UnknownJobError):
            grown.ask(ALICE, request)
    text = "the promise to job 21 needs its GPUs"
    assert masked_text(grown.queue, Viewer(BOB, False), text) == text
    assert "21" not in masked_text(grown.queue, Viewer(ALICE, False), text)


def test_the_record_has_what_one_may_see(world: World) -> None:
    for row in world.queue.jobs.all():
        world.queue.jobs.move(row.id, JobState.CANCELLED, at=time.time(), actor=ACTOR, why="test")

    def seen(uid: int, **other: object) -> dict[int, str]:
        answer = world.ask(uid, ListHistory(0.0), **other)
        assert isinstance(answer, HistoryPage)
        return {job.job_id: job.note for job in answer.jobs}

    assert seen(ALICE) == {7: "job 7 pauses: the promise to another job needs its GPUs"}
    assert seen(BOB) == {8: ""}
    assert seen(DAVE) == {}
    assert seen(DAVE, accounts=frozenset({"physics"})).keys() == {7, 9}
    caller = Caller(DAVE, DAVE, Transport.UNIX)
    answer = world.dispatch.answer(caller, Viewer(DAVE, sees_all=True), ListHistory(0.0))
    assert isinstance(answer, HistoryPage)
    assert [job.job_id for job in answer.jobs] == [7, 8, 9]


def test_whoever_sees_all_is_told_all(world: World) -> None:
    caller = Caller(DAVE, DAVE, Transport.UNIX)
    listed = world.dispatch.answer(caller, Viewer(DAVE, sees_all=True), ListJobs())
    assert isinstance(listed, JobList)
    assert [job.job_id for job in listed.jobs] == [7, 8, 9]
    assert [(other.job_id, other.owner) for other in listed.others] == [(8, "bob")]


@pytest.mark.parametrize(
    "request_", [Await(8), Explain(8), Cancel((8,)), Withdraw(8), TrainOn(8, 1)]
)
def test_what_one_may_not_see_is_not_there(world: World, request_: Request) -> None:
    with pytest.raises(UnknownJobError) as hidden:
        world.ask(ALICE, request_)
    named = {"job_ids": (99,)} if isinstance(request_, Cancel) else {"job_id": 99}
    missing = replace(request_, **named)
    with pytest.raises(UnknownJobError) as absent:
        world.ask(ALICE, missing)
    assert str(hidden.value).replace("8", "99") == str(absent.value)


def test_ones_own_job_says_nothing_of_anothers(world: World) -> None:
    answers = [world.ask(ALICE, request) for request in (ListJobs(), Await(7), Explain(7))]
    for answer in answers:
        assert isinstance(answer, JobList | JobDetail | Story)
        said = repr(answer)
        assert "job 8" not in said
        assert "bob" not in said
        assert answer.others == ()
        job = answer.jobs[0] if isinstance(answer, JobList) else answer.job
        assert job.reason == Reason(ReasonCode.PAUSED)
        assert job.verdict is not None
        assert job.verdict.reason.job is None
        assert job.verdict.explanation == "pauses: the promise to another job needs its GPUs"
        assert job.note.startswith("job 7 pauses: the promise to another job")
    story = answers[-1]
    assert isinstance(story, Story)
    assert "submitted as Slurm job 7" in [event.message for event in story.events]


def test_a_coordinator_is_told_of_jobs_of_the_account(world: World) -> None:
    viewer = Viewer(DAVE, False, frozenset({"physics", "bio"}))
    answer = world.dispatch.answer(Caller(DAVE, DAVE, Transport.UNIX), viewer, Explain(7))
    assert isinstance(answer, Story)
    assert [other.job_id for other in answer.others] == [8]
    assert "job 8" in answer.job.note


def test_sentences_name_only_what_one_sees(world: World) -> None:
    def masked(text: str) -> str:
        return masked_text(world.queue, Viewer(ALICE, False), text)

    assert masked("the promise to job 8, job 7 and job 99") == (
        "the promise to another job, job 7 and another job"
    )
    assert masked("goes on as Slurm job 8") == "goes on as Slurm job 8"
    assert masked("job " + "9" * 30) == "another job"
