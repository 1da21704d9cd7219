"""A lost queue is made anew: every promise, state, hold and limit is there again, and kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.record_files import FoundRecords, RecordFiles
from ef_slurm.daemon.rebuild import Evidence, Rebuilt, rebuild, wanted_of_accounting
from ef_slurm.model import (
    ACTIVE,
    FINAL,
    ArrayMember,
    Block,
    CompanionState,
    HeldBy,
    IfInfeasible,
    JobAction,
    JobChange,
    JobState,
    Promise,
    PromiseOutcome,
    QueueJob,
    lasting,
)
from ef_slurm.queue import copies
from ef_slurm.queue.copies import back_up, install, is_backup, new_queue
from ef_slurm.queue.errors import QueueError, QueueIsBackupError
from ef_slurm.queue.job_records import record_of
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.commands.ended import read_ended
from ef_slurm.slurm.types import HoldKind, JobBaseState, SlurmJob
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")
EXAMPLES = 100 if os.environ.get("EF_LONG") else 8


@pytest.fixture
def world(tmp_path: Path) -> World:
    return made(tmp_path)


def made(directory: Path) -> World:
    OrderFiles(directory / "orders").make_root()
    return World(directory / "queue.sqlite", records=RecordFiles(directory / "orders"))


def lose(world: World, *, aside: Path | None = None) -> None:
    """The daemon is gone, and so is its disk."""
    world.queue.close()
    for path in world.path.parent.glob("queue.sqlite*"):
        if aside is None:
            path.unlink()
        else:
            path.rename(aside / path.name)


def evidence(world: World, **changes: object) -> Evidence:
    assert world.records is not None
    found = Evidence(
        records=world.records.read(),
        observation=world.slurm.observe(),
        ended={},
        state_dirs=world.bench,
        ours=HoldKind.ADMIN,
        partitions=frozenset({"ef"}),
        now=world.clock.now,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def recover(world: World, **changes: object) -> Rebuilt:
    """Rebuild, and start the daemon again."""
    found = rebuild(world.path, evidence(world, **changes))
    world.queue = Queue.open(world.path)
    world.restart()
    return found


def told(world: World) -> dict[int, tuple[QueueJob, Promise | None]]:
    """What must be there again of each job."""
    jobs = world.queue.jobs.all(JobState)
    return {job.id: (lasting(job), _plain(world.queue.promises.of(job.id))) for job in jobs}


def _plain(promise: Promise | None) -> Promise | None:
    return None if promise is None else replace(promise, id=0)


def test_twenty_jobs_with_promises_keep_them(world: World) -> None:
    jobs = [world.submit(3_000, deadline=9000.0) for _ in range(20)]
    world.run_until(lambda: all(world.queue.promises.of(job.id) for job in jobs))
    world.run(30.0)
    running = [job for job in jobs if world.state(job) is JobState.RUNNING]
    assert running
    before = told(world)
    lose(world)
    found = recover(world)
    assert not found.lost
    assert told(world) == before
    assert len(found.jobs) == 20
    restarts = {job.id: world.training(job).slurm.restarts for job in running}
    world.run(5.0)
    assert {job.id: world.training(job).slurm.restarts for job in running} == restarts
    world.run_until(world.finished)
    for job in jobs:
        promise = world.queue.promises.of(job.id)
        assert promise is not None
        assert promise.outcome is PromiseOutcome.KEPT
        assert promise.deadline == job.request.deadline
        assert world.state(job) is JobState.COMPLETED


MOVES = ("submit", "wait", "hold", "release", "change", "cancel", "array", "after")
moves = st.lists(
    st.tuples(
        st.sampled_from(MOVES),
        st.integers(0, 9),
        st.floats(0.05, 3.0),
    ),
    min_size=3,
    max_size=14,
)


def play(world: World, script: list[tuple[str, int, float]]) -> list[QueueJob]:
    """Whatever owners and operators may do."""
    jobs: list[QueueJob] = []
    for what, which, factor in script:
        job = jobs[which % len(jobs)] if jobs else None
        deadline = 3000.0 * factor
        if what == "submit" or job is None:
            kind = (IfInfeasible.REJECT, IfInfeasible.WAIT, IfInfeasible.BEST_EFFORT)[which % 3]
            jobs.append(
                world.submit(
                    1000 + 2000 * which,
                    None if which == 7 else deadline,
                    if_infeasible=kind,
                    grace=60.0 if which == 3 else 0.0,
                    known=which != 5,
                    begin=deadline / 3 if which == 4 else None,
                )
            )
        elif what == "array":
            for task in range(2):
                member = ArrayMember(900 + len(jobs), task, 2, 0, 1, most=1)
                jobs.append(world.submit(2000, deadline, array=member))
        elif what == "after":
            after = f"afterany:{job.request.slurm_job_id}"
            jobs.append(world.submit(2000, deadline, after=after))
        elif what == "wait":
            world.run(40.0 * factor)
        elif world.state(job) in ACTIVE:
            act(world, what, world.row(job), deadline, by_owner=which % 2 == 0)
        world.run(1.0)
    return jobs


def act(world: World, what: str, job: QueueJob, deadline: float, *, by_owner: bool) -> None:
    if what == "hold":
        world.scheduler.act(job.id, JobAction.HOLD, "somebody", by_owner=by_owner)
    elif what == "release" and (job.held_by is HeldBy.OWNER or (job.held_by and not by_owner)):
        world.scheduler.act(job.id, JobAction.RELEASE, "somebody", by_owner=by_owner)
    elif what == "cancel":
        world.slurm.cancel(job.request.slurm_job_id)
    elif what == "change" and job.request.deadline is not None and job.request.complete:
        change = JobChange(deadline=world.clock.now + deadline)
        world.scheduler.change(job.id, change, "somebody")


def different(one: QueueJob, other: QueueJob) -> dict[str, tuple[object, object]]:
    pairs = {f.name: (getattr(one, f.name), getattr(other, f.name)) for f in fields(one)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@contextmanager
def small_world() -> Iterator[World]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = made(Path(directory))
        yield world
        world.queue.close()


@given(moves)
@settings(
    deadline=None,
    max_examples=EXAMPLES,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_whatever_was_done_every_promise_state_and_limit_is_there_again(
    script: list[tuple[str, int, float]],
) -> None:
    with small_world() as world:
        play(world, script)
        before = told(world)
        lose(world)
        found = recover(world)
        assert not found.lost
        after = told(world)
        assert after.keys() == before.keys()
        for job_id, (job, promise) in before.items():
            found_job, found_promise = after[job_id]
            assert found_promise == promise
            between = (JobState.STARTING, JobState.RUNNING)
            if job.state in between and found_job.state is job.waiting_state:
                # Released, about to be, or put back: it is as before that.
                found_job = replace(found_job, state=job.state, running=job.running)
            assert found_job == job, different(found_job, job)
        # And with the next plan nobody has lost a promise that can be kept.
        world.run(3.0)
        for job_id, (_, promise) in before.items():
            now = world.queue.promises.of(job_id)
            if promise is None or promise.outcome is not PromiseOutcome.OPEN:
                continue
            assert now is not None
            assert (now.deadline, now.grace) == (promise.deadline, promise.grace)
            if world.training(world.queue.jobs.get(job_id)).slurm.state is JobBaseState.CANCELLED:
                continue
            assert now.outcome in (PromiseOutcome.OPEN, PromiseOutcome.KEPT, PromiseOutcome.BROKEN)
            if now.outcome is PromiseOutcome.BROKEN:
                assert world.clock.now > promise.deadline + promise.grace


def test_how_it_ended_is_accountings_word_once_slurm_has_forgotten(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    late = world.submit(3_000, deadline=9000.0)
    world.run_until(lambda: world.state(late) is JobState.RUNNING)
    lose(world)
    ids = [one.request.slurm_job_id for one in (job, late)]
    for slurm_id in ids:
        del world.cluster.jobs[slurm_id]
    now = int(world.clock.now)
    lines = [
        f"{ids[0]}|0|user1|COMPLETED|0:0|{now}|{now + 100}|{now}|train",
        f"{ids[1]}|0|user1|CANCELLED by 0|0:15|{now}|{now + 100}|{now}|train",
        f"{ids[1]}|77|mallory|COMPLETED|0:0|{now}|{now + 100}|{now}|train",
        "no line",
    ]
    world.clock.now += 500
    world.bench.trainings.clear()
    ended = {one.job_id: one for one in read_ended("\n".join(lines[:2]))}
    found = evidence(world)
    assert sorted(wanted_of_accounting(found.records, found.observation)) == ids
    recover(world, ended=ended)
    promise = world.queue.promises.of(job.id)
    assert promise is not None
    assert (world.state(job), promise.outcome) == (JobState.COMPLETED, PromiseOutcome.KEPT)
    void = world.queue.promises.of(late.id)
    assert void is not None
    assert (world.state(late), void.outcome) == (JobState.CANCELLED, PromiseOutcome.VOID)
    assert world.row(job).ended_at == now + 100
    # Somebody else's job under a recycled id says nothing.
    other = [one for one in read_ended("\n".join(lines)) if one.uid == 77]
    world.queue.close()
    world.path.unlink()
    assert world.records is not None
    kept = {late.id: replace(world.records.read().records[late.id], job=world_row(late))}
    rebuild(
        world.path,
        evidence(world, records=FoundRecords(kept, {}), ended={other[0].job_id: other[0]}),
    )
    with closing(Queue.open(world.path)) as queue:
        assert queue.jobs.get(late.id).state is JobState.RUNNING


def world_row(job: QueueJob) -> QueueJob:
    return replace(job, state=JobState.RUNNING)


def test_what_was_started_after_its_record_was_written_goes_on(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run(0.5)
    assert world.records is not None
    old = world.records.read().records[job.id]
    admitted = replace(old, job=replace(old.job, state=JobState.ADMITTED, running=None))
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    lose(world)
    recover(world, records=FoundRecords({job.id: admitted}, {}))
    assert world.row(job).running is not None
    restarts = world.training(job).slurm.restarts
    world.run(5.0)
    assert world.state(job) is JobState.RUNNING
    assert world.training(job).slurm.restarts == restarts


def test_its_companions_are_there_again(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    companions = world.queue.companions
    now = world.clock.now
    wanted = companions.want(job.id, 1, 1, Block("gpu", ("n4",), 4), at=now)
    companions.move(wanted, CompanionState.ENDED, at=now)
    wanted = companions.want(job.id, 1, 2, Block("gpu", ("n3",), 4), at=now)
    companions.move(wanted, CompanionState.SUBMITTED, at=now, slurm_job_id=500)
    assert world.records is not None
    world.records.write([record_of(world.queue, world.row(job), at=now)])
    before = [one for one in companions.of(job.id) if not one.has_ended]
    assert [one.slurm_job_id for one in before] == [500]
    lose(world)
    recover(world)
    assert list(world.queue.companions.of(job.id)) == before


def test_a_job_with_a_recycled_id_is_not_taken_for_it(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.training(job).slurm.user = "mallory"
    seen = world.slurm.observe().jobs[job.request.slurm_job_id]
    theirs = {seen.job_id: replace(seen, uid=77)}
    lose(world)
    found = evidence(world)
    found = replace(found, observation=replace(found.observation, jobs=theirs))
    made_anew = rebuild(world.path, found)
    assert "does not know it" in made_anew.jobs[0].words


def test_a_hold_of_which_its_record_does_not_say_whose_it_is_is_an_operators(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    world.scheduler.act(job.id, JobAction.HOLD, "user1", by_owner=True)
    assert world.records is not None
    record = world.records.read().records[job.id]
    assert record.job.held_by is HeldBy.OWNER
    before = replace(record, job=replace(record.job, held_by=None))  # of an older version
    lose(world)
    recover(world, records=FoundRecords({job.id: before}, {}))
    assert (world.state(job), world.row(job).held_by) == (JobState.HELD, HeldBy.OPERATOR)


def test_what_has_no_record_and_what_is_none_is_told(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run(2.0)
    world.cluster.add_job("user1", "stranger", now=world.clock.now)
    lose(world)
    (world.path.parent / "orders/records/active/77.json").write_text("{")
    found = recover(world)
    assert len(found.jobs) == 1
    assert any("active/77.json is none: " in words for words in found.lost)
    assert any("has no record" in words for words in found.lost)
    assert any("events" in words for words in found.always)
    story = [event.message for event in world.queue.events.all(job_id=job.id)]
    assert any("put back by ef-schedd rebuild" in words for words in story)


def test_records_that_contradict_each_other_spoil_no_other(world: World) -> None:
    good = world.submit(3_000, deadline=9000.0)
    bad = world.submit(3_000, deadline=9000.0)
    world.run(2.0)
    lose(world)
    found = evidence(world)
    records = dict(found.records.records)
    request = replace(records[bad.id].job.request, slurm_job_id=good.request.slurm_job_id)
    records[bad.id] = replace(records[bad.id], job=replace(records[bad.id].job, request=request))
    made_anew = recover(world, records=FoundRecords(records, {}))
    assert [one.job.id for one in made_anew.jobs] == [good.id]
    assert len(made_anew.lost) == 2  # and Slurm has one that nobody speaks for


def test_a_dry_run_writes_nothing(world: World) -> None:
    world.submit(3_000, deadline=9000.0)
    world.run(2.0)
    lose(world)
    before = sorted(world.path.parent.rglob("*"))
    assert len(rebuild(world.path, evidence(world), dry_run=True).jobs) == 1
    assert sorted(world.path.parent.rglob("*")) == before


def test_a_log_that_a_lost_queue_left_is_not_taken_for_the_new_ones(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run(2.0)
    world.queue.jobs.all(JobState)
    stale = world.path.with_name("queue.sqlite-wal").read_bytes()
    assert stale
    lose(world)
    world.path.with_name("queue.sqlite-wal").write_bytes(stale)
    recover(world)
    assert world.state(job) is not JobState.NEW
    assert list(world.path.parent.glob("queue.sqlite.before-rebuild-*-wal"))


def test_a_queue_that_is_there_is_kept_beside(world: World) -> None:
    job = world.submit(3_000, deadline=9000.0)
    world.run(2.0)
    world.queue.close()
    found = rebuild(world.path, evidence(world))
    assert found.aside is not None
    with closing(Queue.open(found.aside)) as before, closing(Queue.open(world.path)) as after:
        assert before.jobs.get(job.id).request == after.jobs.get(job.id).request
        assert before.identity() != after.identity()


REBUILDER = """
import os, sys
from pathlib import Path
from ef_slurm.queue import copies
from ef_slurm.queue.store import Queue
path, stop = Path(sys.argv[1]), int(sys.argv[2])
def step(number):
    if number == stop:
        os.kill(os.getpid(), 9)
step(0)
with copies.new_queue(path) as place:
    step(1)
    queue = Queue.open(place)
    step(2)
    with queue.transaction():
        queue.become_another()
        step(3)
    queue.settle()
    queue.close()
    step(4)
    rename = Path.rename
    def renaming(self, to):
        step(5)
        done = rename(self, to)
        step(6)
        return done
    Path.rename = renaming
    copies.install(place, path, aside=".before")
step(7)
"""


@pytest.mark.parametrize("stop", range(9))
def test_killed_at_any_moment_there_is_a_whole_queue_or_none(tmp_path: Path, stop: int) -> None:
    path = tmp_path / "queue.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", REBUILDER, str(path), str(stop)], check=False, capture_output=True
    )
    assert (done.returncode == 0) is (stop == 8), done.stderr
    assert path.exists() is (stop >= 6)
    if path.exists():
        with closing(Queue.open(path)) as queue:
            assert not queue.jobs.all(JobState)
    # And the next one is not held up by what the first left.
    with new_queue(path) as place:
        with closing(Queue.open(place)) as queue:
            queue.settle()
        install(place, path, aside=".before")
    with closing(Queue.open(path)) as queue:
        assert not queue.jobs.all(JobState)
    assert not list(tmp_path.glob("*.rebuild*"))


class TestBackups:
    def test_a_copy_while_it_is_written_comes_back_with_what_was_promised_since(
        self, world: World, tmp_path: Path
    ) -> None:
        old = world.submit(3_000, deadline=9000.0)
        world.run_until(lambda: world.state(old) is JobState.RUNNING)
        target = tmp_path / "backup.sqlite"
        with world.queue.transaction():
            assert back_up(world.path, target) > 0
        assert is_backup(target)
        assert target.stat().st_mode & 0o777 == 0o600
        shares = world.queue.events.all(job_id=old.id)
        new = world.submit(3_000, deadline=8000.0)
        looser = JobChange(deadline=world.clock.now + 20_000.0)
        world.run(3.0)
        world.scheduler.change(old.id, looser, "user1")
        before = told(world)
        lose(world)
        found = recover(world, backup=target)
        assert told(world) == before
        assert {one.job.id for one in found.jobs} == {old.id, new.id}
        # History until then is there, and goes on.
        assert world.queue.events.all(job_id=old.id)[: len(shares)] == shares
        assert "since the backup" in found.always[0]
        world.run_until(world.finished)
        assert world.state(old) in FINAL
        back_up(world.path, target)

    def test_nobody_else_reaches_a_copy_that_is_being_made(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A journal of theirs beside it would be taken for its own."""
        target, made, copied = tmp_path / "backup.sqlite", list[Path](), copies._copy

        def seen(source: Path, place: Path, application_id: int, *, changes: bool) -> None:
            copied(source, place, application_id, changes=changes)
            made.append(place)
            assert place.parent.parent == tmp_path
            assert place.parent.stat().st_mode & 0o777 == 0o700

        monkeypatch.setattr(copies, "_copy", seen)
        back_up(world.path, target)
        back_up(world.path, target)
        assert made[0].parent != made[1].parent
        assert not list(tmp_path.glob(".backup*"))

    def test_what_a_killed_backup_left_goes_with_a_later_one(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target, left = tmp_path / "backup.sqlite", list[Path]()

        def fails(_source: Path, place: Path, _application_id: int, **__: object) -> None:
            left.append(place.parent)
            raise OSError("no more room")

        with monkeypatch.context() as patched:
            patched.setattr(copies, "_copy", fails)
            with pytest.raises(QueueError):
                back_up(world.path, target)
        assert not left[0].exists()
        left[0].mkdir()  # as one that was killed leaves it
        (left[0] / "copy.sqlite").write_text("half")
        back_up(world.path, target)
        assert left[0].exists()  # which may go on
        os.utime(left[0], (0.0, 0.0))
        back_up(world.path, target)
        assert not left[0].exists()

    def test_a_backup_in_a_queues_place_is_refused(self, world: World, tmp_path: Path) -> None:
        target = tmp_path / "backup.sqlite"
        back_up(world.path, target)
        with pytest.raises(QueueIsBackupError, match="rebuild --backup"):
            Queue.open(target)

    @pytest.mark.parametrize(
        "what", ["queue", "directory", "file", "link", "own", "wal", "nowhere"]
    )
    def test_odd_targets_are_refused_and_left(
        self, world: World, tmp_path: Path, what: str
    ) -> None:
        target = tmp_path / "target"
        if what == "queue":
            target = world.path
        elif what == "directory":
            target.mkdir()
        elif what == "file":
            target.write_text("precious")
        elif what == "link":
            (tmp_path / "precious").write_text("precious")
            target.symlink_to(tmp_path / "precious")
        elif what == "own":
            target = tmp_path / "queue.sqlite-copy"
        elif what == "wal":  # SQLite makes it empty, and again and again
            target = tmp_path / "queue.sqlite-wal"
            target.write_bytes(b"")
        else:
            target = tmp_path / "no" / "target"
        with pytest.raises(QueueError, match=str(target)):
            back_up(world.path, target)
        if what in ("file", "link"):
            assert target.read_text() == "precious"
        assert not list(tmp_path.glob(".target*"))

    @pytest.mark.parametrize("what", ["file", "directory", "owner"])
    def test_a_backup_of_somebody_elses_is_not_begun_with(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        directory = tmp_path / "backups"
        directory.mkdir()
        target = directory / "queue.sqlite"
        back_up(world.path, target)
        if what == "owner":
            me = os.geteuid()
            if me == 0:
                os.chown(target, 12345, -1)
            else:
                monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        else:
            (target if what == "file" else directory).chmod(0o777)
        lose(world)
        words = "belongs to uid" if what == "owner" else "can be written by others"
        with pytest.raises(QueueError, match=words):
            rebuild(world.path, evidence(world, backup=target))
        assert not list(tmp_path.glob("queue.sqlite*"))

    def test_what_others_lay_beside_a_backup_is_not_read(
        self, world: World, tmp_path: Path
    ) -> None:
        """As they may in a directory of everybody's, which is sticky."""
        directory, theirs = tmp_path / "tmp", tmp_path / "theirs"
        directory.mkdir()
        directory.chmod(0o1777)
        target = directory / "queue.sqlite"
        back_up(world.path, target)
        shutil.copy(target, theirs)
        with closing(sqlite3.connect(theirs)) as evil:
            evil.execute("PRAGMA journal_mode = WAL")
            evil.execute(
                "INSERT INTO events (at, kind, actor, message, data)"
                " VALUES (1.0, 'daemon', 'evil', 'promised to me', '{}')"
            )
            evil.commit()
            for side in ("-wal", "-shm"):
                shutil.copy(f"{theirs}{side}", f"{target}{side}")
        with (
            new_queue(tmp_path / "new.sqlite", backup=target) as place,
            closing(sqlite3.connect(place)) as made,
        ):
            assert not made.execute("SELECT 1 FROM events WHERE actor = 'evil'").fetchall()

    def test_what_is_no_backup_is_not_begun_with(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "no").write_text("no")
        lose(world)
        for backup in (tmp_path / "no", tmp_path / "missing"):
            with pytest.raises(QueueError, match="no backup"):
                rebuild(world.path, evidence(world, backup=backup))
        assert not list(tmp_path.glob("queue.sqlite*"))


def test_lines_of_accounting() -> None:
    lines = (
        "8|1001|alice|NODE_FAIL|0:0|5|9|1|bert",
        "9|1001|alice|COMPLETED|0:0|5|9|1|a b",
        "10|x|a|COMPLETED|0:0|5|9|1|bert",
        "11|1|a|PENDING|0:0|x|Unknown|1|bert",
        "12|1|a|CANCELLED|0:0|5|9|1|bert",  # of a slurmctld that came back without its state
        "14|1|a|COMPLETED|0:0|Unknown|9|1|bert",  # a runaway job, mended by sacctmgr
        "15|1|a|FAILED|0:0|0|9|1|bert",
        "13|1|a|CANCELLED by 1|0:0|5|9|1|bert",
    )
    read = list(read_ended("\n".join(lines)))
    assert [(one.job_id, one.state, one.name) for one in read] == [
        (8, JobBaseState.NODE_FAIL, "bert"),
        (9, JobBaseState.COMPLETED, "a b"),
        (13, JobBaseState.CANCELLED, "bert"),
    ]
    assert all(isinstance(one, SlurmJob) and one.is_final for one in read)
