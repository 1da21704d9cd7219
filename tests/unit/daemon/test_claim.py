"""Of two daemons one acts: the other ends before it does anything, when it comes back."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ef_slurm.daemon import main
from ef_slurm.daemon.act.channels import Letter, WhileActing
from ef_slurm.daemon.acting_slurm import ActingSlurm
from ef_slurm.daemon.beginning import begin, refuse_without_orders
from ef_slurm.daemon.observe.claim import Acting, Claim, ClaimFile
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.record_files import RecordFiles
from ef_slurm.daemon.observe.state_dirs import FileStateDirs
from ef_slurm.daemon.scheduler import Scheduler
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.startup import StartRefusedError
from ef_slurm.formats.codec import encode
from ef_slurm.model import JobRecord, JobState
from ef_slurm.queue.errors import TakenOverError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import JobUpdate, SignalTarget, Submission
from tests.unit.daemon.make import SCRIPT, row, stop
from tests.unit.daemon.world import World


@pytest.fixture
def root(tmp_path: Path) -> Path:
    OrderFiles(tmp_path / "orders").make_root()
    return tmp_path / "orders"


@pytest.fixture
def file(root: Path) -> ClaimFile:
    return ClaimFile(root)


@pytest.fixture
def world(tmp_path: Path, root: Path) -> World:
    return World(tmp_path / "queue.sqlite", records=RecordFiles(root))


def start(world: World, file: ClaimFile, *, take_over: bool = False) -> Acting:
    assert world.records is not None
    return begin(world.queue, file, world.records, world.slurm, take_over=take_over)


def elsewhere(file: ClaimFile, **changes: object) -> Claim:
    """A daemon of another host acts."""
    claim = replace(file.take("theirs", Path("/there/queue"), pid=7), host="otherhost", **changes)  # type: ignore[arg-type]
    file.path.write_bytes(encode(claim))
    return claim


class TestBeginning:
    def test_on_the_same_host_one_follows_the_other(self, world: World, file: ClaimFile) -> None:
        first = start(world, file)
        assert first.claim.pid == os.getpid()
        second = start(world, file)
        second.check()
        with pytest.raises(TakenOverError, match=f"of {socket.gethostname()}"):
            first.check()
        second.give_up()
        found = file.read()
        assert found is not None
        assert found.stopped is not None

    def test_without_the_orders_it_promised_with_none_begins(self, world: World) -> None:
        """A file system that is not mounted yet is no reason to act unseen by other daemons."""
        away, why = Path("/away/orders"), OSError(2, "No such file or directory")
        refuse_without_orders(world.queue, away, why)  # nothing was ever promised
        world.submit(500, deadline=3000.0)
        world.step()
        assert world.queue.promises.has_any()
        with pytest.raises(StartRefusedError, match="order_root /away/orders cannot be had"):
            refuse_without_orders(world.queue, away, why)

    def test_beside_one_of_another_host_none_begins(self, world: World, file: ClaimFile) -> None:
        elsewhere(file)
        with pytest.raises(StartRefusedError, match="otherhost .*ef-schedd takeover"):
            start(world, file)
        start(world, file, take_over=True).check()

    def test_one_that_has_ended_is_followed(self, world: World, file: ClaimFile) -> None:
        elsewhere(file, stopped=5.0)
        start(world, file).check()

    def test_another_queue_of_this_host(
        self, world: World, file: ClaimFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.take("other", Path("/other/queue"), pid=os.getpid())
        with pytest.raises(StartRefusedError, match="order_root"):
            start(world, file)
        monkeypatch.setattr(os, "kill", _no_such_process)
        start(world, file)

    def test_a_new_queue_does_not_forget_the_jobs_of_a_lost_one(
        self, world: World, file: ClaimFile
    ) -> None:
        start(world, file)
        job = world.submit(3_000, deadline=9000.0)
        world.run_until(lambda: world.state(job) is JobState.RUNNING)
        world.queue.close()
        world.path.unlink()
        world.path.with_name("queue.sqlite-wal").unlink(missing_ok=True)
        world.queue = Queue.open(world.path)
        with pytest.raises(StartRefusedError, match=r"1 jobs .* ef-schedd rebuild"):
            start(world, file)
        assert world.records is not None
        assert set(world.records.read().records) == {job.id}
        # Once they are over, a site may begin anew.
        world.slurm.cancel(job.request.slurm_job_id)
        world.clock.now += 30.0
        world.bench.advance()
        start(world, file)

    def test_a_queue_of_the_time_before_another_host_took_over_is_refused(
        self, world: World, file: ClaimFile
    ) -> None:
        start(world, file)
        job = world.submit(3_000, deadline=9000.0)
        world.run_until(lambda: world.state(job) is JobState.RUNNING)
        elsewhere(file, stopped=5.0)
        with pytest.raises(StartRefusedError, match="rebuild --replace"):
            start(world, file)

    def test_what_lies_there_and_is_none_is_told(self, world: World, file: ClaimFile) -> None:
        for junk in (b"", b"{", b"[]", os.urandom(50), b"9" * 5000):
            file.path.write_bytes(junk)
            with pytest.raises(OSError, match=r"daemon\.json"):
                start(world, file)


def _no_such_process(_pid: int, _signal: int) -> None:
    raise ProcessLookupError


def test_of_many_at_once_each_term_is_one_daemons(file: ClaimFile) -> None:
    claims: list[Claim] = []
    refused: list[TakenOverError] = []

    def claim(number: int) -> None:
        mine = ClaimFile(file.path.parent)
        try:
            claims.append(mine.take(str(number), Path("/q"), pid=number))
        except TakenOverError as error:
            refused.append(error)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) + len(refused) == 12
    assert len({one.term for one in claims}) == len(claims)
    assert file.read() == max(claims, key=lambda one: one.term)


def test_one_that_was_killed_in_its_claim_holds_up_nobody(file: ClaimFile, root: Path) -> None:
    file.take("q", Path("/q"), pid=1)
    (root / ".daemon-2").touch()
    assert file.take("q", Path("/q"), pid=1).term == 2


class TestFenced:
    """What the other daemon may do when it comes back: nothing."""

    @pytest.fixture
    def lost(self, world: World, file: ClaimFile) -> Acting:
        acting = start(world, file)
        elsewhere(file)
        return acting

    def test_it_changes_nothing_in_slurm(self, world: World, lost: Acting) -> None:
        job = world.submit(3_000, deadline=9000.0).request.slurm_job_id
        slurm = ActingSlurm(world.slurm, lost.check)
        changes: tuple[Callable[[], object], ...] = (
            lambda: slurm.submit(Submission("#!/bin/sh\n")),
            lambda: slurm.hold(job),
            lambda: slurm.update(job, JobUpdate(comment="x")),
            lambda: slurm.release(job),
            lambda: slurm.resize(job, ["n1"]),
            lambda: slurm.requeue(job),
            lambda: slurm.signal(job, "USR2", SignalTarget.ALL),
            lambda: slurm.cancel(job),
        )
        before = world.slurm.observe().jobs
        for change in changes:
            with pytest.raises(TakenOverError):
                change()
        assert slurm.observe().jobs == before
        looks = {"observe", "job", "jobs", "configuration", "nodes", "partitions", "licenses"}
        public = {name for name in vars(Slurm) if not name.startswith("_")}
        assert len(public - looks - {"accounting", "ended", "step_nodes", "test"}) == len(changes)

    def test_it_writes_no_order_and_no_record(self, lost: Acting, root: Path) -> None:
        orders = FileStateDirs(OrderFiles(root), check=lost.check)
        with pytest.raises(TakenOverError):
            orders.order(row(), stop(1))
        with pytest.raises(TakenOverError):
            RecordFiles(root, check=lost.check).write([JobRecord(row(), SCRIPT)])
        assert [path.name for path in root.iterdir()] == ["daemon.json"]

    def test_its_loop_ends_before_it_does_anything(self, world: World, lost: Acting) -> None:
        ticks: list[float] = []

        class Ticking:
            def tick(self) -> float:
                ticks.append(1.0)
                return 0.1

            def refresh_soon(self) -> None:
                pass

        with pytest.raises(TakenOverError, match="this one ends"):
            main._loop(
                cast(Scheduler, Ticking()),
                world.queue,
                SchedulerCalls(),
                lambda: None,
                lost.check,
            )
        assert not ticks

    def test_it_tells_nobody_anything(self, lost: Acting, file: ClaimFile) -> None:
        told: list[Letter] = []

        class Told:
            def send(self, letter: Letter) -> None:
                told.append(letter)

        way = WhileActing(Told(), lost.check)
        letter = Letter((), "user1", "", (), {})
        with pytest.raises(TakenOverError):
            way.send(letter)
        assert not told
        file.path.unlink()  # nobody can say
        way.send(letter)
        assert told == [letter]

    def test_in_the_midst_of_a_tick_no_job_is_blamed(self, world: World, file: ClaimFile) -> None:
        acting = start(world, file)
        job = world.submit(3_000, deadline=9000.0)
        world.restart(cast(Slurm, ActingSlurm(world.slurm, acting.check)))
        elsewhere(file)
        with pytest.raises(TakenOverError):
            world.run(30.0)
        assert not world.row(job).note
        assert world.training(job).slurm.restarts == 0
        assert not world.training(job).running

    def test_what_it_gives_up_is_not_the_others(self, lost: Acting, file: ClaimFile) -> None:
        before = file.read()
        lost.give_up()
        assert file.read() == before


def test_while_nobody_can_say_nothing_is_done(world: World, file: ClaimFile) -> None:
    """The file system is gone, or another one lies in its place."""
    acting = start(world, file)
    job = world.submit(3_000, deadline=9000.0)
    world.restart(cast(Slurm, ActingSlurm(world.slurm, acting.check)))
    kept = file.path.read_bytes()
    file.path.unlink()
    with pytest.raises(SlurmUnavailableError, match="is gone"):
        acting.check()
    world.run(60.0)
    assert not world.training(job).running
    file.path.write_bytes(kept)
    world.run_until(lambda: world.state(job) is JobState.RUNNING, limit=120.0)


def test_a_queue_keeps_its_name(tmp_path: Path) -> None:
    with closing(Queue.open(tmp_path / "q")) as queue:
        name = queue.identity()
    with closing(Queue.open(tmp_path / "q")) as queue:
        assert queue.identity() == name
        queue.become_another()
        assert queue.identity() != name
