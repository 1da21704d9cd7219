"""What owners are told: once per change, not for every reshape; no kill loses or doubles it."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.act.channels import DeliveryError, Letter
from ef_slurm.daemon.act.notices import RISK_SECONDS
from ef_slurm.daemon.act.sender import AGAIN_SECONDS, MOST_TRIES, Sender
from ef_slurm.daemon.scheduler import Scheduler
from ef_slurm.model import (
    EventKind,
    JobAction,
    JobChange,
    JobState,
    NoticeKind,
    NoticeState,
    QueueJob,
)
from ef_slurm.queue.notices import MOST_OF_A_JOB
from ef_slurm.queue.store import Queue
from tests.unit.daemon.test_changes import ITERATIONS
from tests.unit.daemon.world import World

ALL = tuple(NoticeKind)


class Telling(World):
    """A world in which somebody tells."""

    def _scheduler(self) -> Scheduler:
        return Scheduler(
            self.settings, self.slurm, self.queue, self.bench, self.clock, lambda: None
        )

    def ask(self, job: QueueJob, kinds: tuple[NoticeKind, ...] = ALL) -> QueueJob:
        """`--mail-type`, which `World.submit` does not have."""
        with self.queue._database.transaction():
            self.queue._database.execute(
                "UPDATE jobs SET mail_types = json(?), revision = revision + 1 WHERE id = ?",
                (str([kind.value for kind in kinds]).replace("'", '"'), job.id),
            )
        return self.queue.jobs.get(job.id)


class Post:
    """Takes letters; `fails` that many."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.letters: list[Letter] = []

    def send(self, letter: Letter) -> None:
        if self.fails:
            self.fails -= 1
            raise DeliveryError("no such host")
        self.letters.append(letter)

    @property
    def kinds(self) -> list[str]:
        return [str(letter.fields["kind"]) for letter in self.letters]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Telling]:
    world = Telling(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def sender(world: World, post: Post) -> Sender:
    return Sender(lambda: Queue.open(world.path, create=False), post, world.clock)


def deliver(world: World, post: Post) -> None:
    """All that is due by now."""
    one = sender(world, post)
    while one.send_one(world.queue):
        pass


def test_a_job_that_is_moved_and_resized_is_told_of_once(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(ITERATIONS, deadline=3000.0))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    for _ in range(4):
        world.submit(2_000, deadline=400.0)
        world.run(150)
        deliver(world, post)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    world.run(RISK_SECONDS)
    deliver(world, post)
    assert world.row(job).reshapes >= 2
    assert sorted(post.kinds) == ["BEGIN", "END", "KEPT", "PROMISED"]
    assert post.kinds[0] == "PROMISED"
    assert {letter.fields["job_id"] for letter in post.letters} == {job.request.slurm_job_id}


def test_only_what_was_asked_for_is_told(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(2_000, deadline=1000.0), (NoticeKind.KEPT,))
    quiet = world.submit(2_000, deadline=1000.0)
    world.run_until(lambda: world.state(quiet) is world.state(job) is JobState.COMPLETED)
    world.run(5)
    deliver(world, post)
    assert post.kinds == ["KEPT"]


def test_a_risk_that_passes_at_once_is_not_told(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(20_000, deadline=3000.0))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.scheduler.act(job.id, JobAction.HOLD, "root", by_owner=False)
    world.run(RISK_SECONDS / 2)
    deliver(world, post)
    world.scheduler.act(job.id, JobAction.RELEASE, "root", by_owner=False)
    world.run(5 * RISK_SECONDS)
    deliver(world, post)
    assert "AT_RISK" not in post.kinds
    assert post.kinds.count("PROMISED") == 1


def test_a_risk_that_lasts_is_told_and_that_it_is_over(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(20_000, deadline=3000.0))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.scheduler.act(job.id, JobAction.HOLD, "root", by_owner=False)
    world.run(2 * RISK_SECONDS)
    deliver(world, post)
    assert post.kinds.count("AT_RISK") == 1
    world.scheduler.act(job.id, JobAction.RELEASE, "root", by_owner=False)
    world.run_until(lambda: world.state(job) is JobState.COMPLETED)
    world.run(5)
    deliver(world, post)
    assert [kind for kind in post.kinds if kind in ("PROMISED", "AT_RISK", "KEPT", "LATE")] == [
        *("PROMISED", "AT_RISK", "PROMISED", "KEPT"),
    ]


def test_a_late_one_and_one_that_fails(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(20_000, deadline=3000.0))
    other = world.ask(world.submit(5_000, deadline=3000.0), (NoticeKind.FAIL, NoticeKind.END))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.scheduler.act(job.id, JobAction.HOLD, "root", by_owner=False)
    world.run_until(lambda: world.state(other) is JobState.COMPLETED)
    world.run(3100)
    deliver(world, post)
    assert post.kinds.count("LATE") == 1
    own = job.request.slurm_job_id
    others = [one.fields["kind"] for one in post.letters if one.fields["job_id"] != own]
    assert others == ["END"]


@pytest.mark.parametrize("taken_back", [True, False])
def test_one_that_slurm_has_lost(world: Telling, taken_back: bool) -> None:
    post = Post()
    if not taken_back:
        world.settings = replace(world.settings, uid=4711)
        world.restart()
    job = world.ask(world.submit(20_000, deadline=3000.0))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.bench.trainings.pop(job.request.slurm_job_id)
    del world.cluster.jobs[job.request.slurm_job_id]
    for _ in range(10):
        world.scheduler.tick()
        world.clock.now += RISK_SECONDS / 5
        deliver(world, post)
    told = set(post.kinds) - {"PROMISED", "BEGIN", "AT_RISK"}
    assert told == ({"REQUEUE"} if taken_back else {"FAIL", "LATE"})


def test_another_deadline_is_another_promise(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(20_000, deadline=3000.0))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    deadline = world.row(job).request.deadline
    assert deadline is not None
    world.scheduler.change(job.id, JobChange(deadline=deadline + 600.0), "user1")
    world.run(60)
    deliver(world, post)
    assert post.kinds.count("PROMISED") == 2
    # All day long it does not go on.
    for step in range(2 * MOST_OF_A_JOB):
        later = deadline + 1200.0 + 60.0 * step
        world.scheduler.change(job.id, JobChange(deadline=later), "user1")
    world.run(10)
    deliver(world, post)
    assert len(post.kinds) == MOST_OF_A_JOB


def test_what_fails_is_tried_once_more_then_logged_and_counted(world: Telling) -> None:
    post = Post(fails=1)
    job = world.ask(world.submit(20_000, deadline=3000.0), (NoticeKind.PROMISED,))
    world.run(20)
    deliver(world, post)
    assert post.kinds == []
    world.run(AGAIN_SECONDS + 1)
    deliver(world, post)
    assert post.kinds == ["PROMISED"]
    assert world.queue.notices.counts() == {NoticeState.SENT: 1}
    post.fails = 99
    deadline = world.row(job).request.deadline
    assert deadline is not None
    world.scheduler.change(job.id, JobChange(deadline=deadline + 600.0), "user1")
    for _ in range(5):
        world.run(AGAIN_SECONDS + 1)
        deliver(world, post)
    assert post.fails == 99 - MOST_TRIES
    assert world.queue.notices.counts() == {NoticeState.SENT: 1, NoticeState.FAILED: 1}
    told = world.queue.events.all(job_id=job.id, kinds=(EventKind.ERROR,))
    assert any("PROMISED was not told" in event.message for event in told)
    assert any("no such host" in event.message for event in told)


def test_a_kill_while_one_is_sent_repeats_it_once(world: Telling) -> None:
    world.ask(world.submit(20_000, deadline=3000.0), (NoticeKind.PROMISED,))
    world.run(20)
    post = Post()
    for tries in (1, 2):
        notice = world.queue.notices.claim(world.clock.now)
        assert notice is not None
        assert notice.tries == tries
        world.restart()  # in the midst of it
        sender(world, post).recover(world.queue)
    assert world.queue.notices.claim(world.clock.now) is None
    assert world.queue.notices.counts() == {NoticeState.FAILED: 1}


@pytest.mark.parametrize("seed", range(4))
def test_kills_at_any_moment_lose_nothing_and_double_nothing(world: Telling, seed: int) -> None:
    chance, post = random.Random(seed), Post()
    job = world.ask(world.submit(20_000, deadline=3000.0))
    while world.state(job) is not JobState.COMPLETED:
        world.step()
        if chance.random() < 0.2:
            world.restart()
        if chance.random() < 0.3:
            deliver(world, post)
    world.run(10)
    deliver(world, post)
    assert sorted(post.kinds) == ["BEGIN", "END", "KEPT", "PROMISED"]


def test_who_turns_it_on_is_not_told_the_past(tmp_path: Path) -> None:
    silent = World(tmp_path / "queue.sqlite")
    job = Telling.ask(silent, silent.submit(20_000, deadline=3000.0))  # type: ignore[arg-type]
    silent.run_until(lambda: silent.state(job) is JobState.RUNNING)
    silent.scheduler = Scheduler(
        silent.settings, silent.slurm, silent.queue, silent.bench, silent.clock, lambda: None
    )
    silent.run_until(lambda: silent.state(job) is JobState.COMPLETED)
    silent.run(10)
    post = Post()
    deliver(silent, post)
    assert sorted(post.kinds) == ["END", "KEPT"]
    silent.queue.close()


def test_it_is_sent_by_a_thread_that_no_tick_waits_for(world: Telling) -> None:
    class Stuck(Post):
        def send(self, letter: Letter) -> None:
            super().send(letter)
            released.wait(30.0)

    released, post = threading.Event(), Stuck()
    world.ask(world.submit(2_000, deadline=1000.0))
    one = sender(world, post)
    one.start()
    try:
        world.run(400)  # ticks go on, whatever hangs
        one.wake()
        for _ in range(200):
            if post.letters:
                break
            threading.Event().wait(0.05)
        assert post.kinds == ["PROMISED"]
        assert world.queue.notices.counts()[NoticeState.SENDING] == 1
        released.set()
        for _ in range(400):
            if len(post.letters) == 4:
                break
            threading.Event().wait(0.05)
        assert sorted(post.kinds) == ["BEGIN", "END", "KEPT", "PROMISED"]
    finally:
        released.set()
        one.stop()


def test_an_owner_is_named_and_addresses_are_those_given(world: Telling) -> None:
    post = Post()
    job = world.ask(world.submit(2_000, deadline=1000.0), (NoticeKind.PROMISED,))
    world.run(20)
    deliver(world, post)
    (letter,) = post.letters
    assert (letter.to, letter.owner) == ((), job.request.owner)
    assert replace(letter, to=("ann",)).fields["owner"] == "user1"


def owned(world: Telling, uid: int, *messages: str) -> QueueJob:
    """A job of somebody, with something to tell of it."""
    job = world.submit(2_000, deadline=1000.0)
    with world.queue._database.transaction():
        world.queue._database.execute(
            "UPDATE jobs SET uid = ?, revision = revision + 1 WHERE id = ?", (uid, job.id)
        )
    for message in messages:
        number = sum(world.queue.notices.counts().values())
        assert world.queue.notices.add(
            job.id, NoticeKind.END, event_id=number, at=0.0, wait=0.0, message=message
        )
    return world.queue.jobs.get(job.id)


def test_each_owner_has_a_turn_whoever_has_much_to_be_told(world: Telling) -> None:
    post = Post()
    many = [owned(world, 1000, *("x",) * 5) for _ in range(4)]
    few = [owned(world, 2000, "x"), owned(world, 1500, "x", "x")]
    deliver(world, post)
    uid_of = {job.request.slurm_job_id: job.request.uid for job in (*many, *few)}
    order = [uid_of[letter.fields["job_id"]] for letter in post.letters]
    assert order[:6] == [1000, 1500, 2000, 1000, 1500, 1000]
    assert len(order) == 23


def test_other_peoples_jobs_have_no_number_in_what_leaves(world: Telling) -> None:
    post = Post()
    own, other = owned(world, 1000), owned(world, 2000)
    theirs, strangers = own.request.slurm_job_id, other.request.slurm_job_id
    owned(world, 1000, f"waits for job {strangers} and job {theirs}, not job 4711")
    deliver(world, post)
    (letter,) = post.letters
    expected = f"waits for another job and job {theirs}, not another job"
    assert letter.fields["message"] == expected
    assert expected in letter.lines[1]
