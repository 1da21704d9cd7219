"""Jobs that grow and shrink while they train, in a whole small world."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ef_slurm.daemon.act.companion_ends import MOST_STRAYS
from ef_slurm.daemon.metrics import GpuUse
from ef_slurm.daemon.observe.gpu_use import gpus_by_use
from ef_slurm.model import CompanionState, EventKind, JobState, QueueJob
from ef_slurm.slurm.errors import NotPermittedError
from ef_slurm.slurm.types import HoldKind, JobBaseState, JobUpdate, SlurmJob
from tests.fakes.memory_cluster import MemoryJob, Timing
from tests.unit.daemon.live import LiveTraining, submit_live
from tests.unit.daemon.world import World

LONG = 400_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "queue.sqlite", nodes=4, gpus_per_node=4)


def nodes_of(world: World, job: QueueJob) -> tuple[str, ...]:
    running = world.row(job).running
    return () if running is None else running.block.nodes


def alone(world: World, seconds: float = 40.0) -> tuple[QueueJob, LiveTraining]:
    """A live job that has one node, since somebody has the others for a while."""
    world.cluster.occupy("user9", ("n2", "n3", "n4"), 4, seconds, world.clock.now)
    job, training = submit_live(world, LONG, deadline=40_000.0)
    world.run_until(lambda: world.state(job) is JobState.RUNNING)
    assert nodes_of(world, job) == ("n1",)
    return job, training


def grown(world: World) -> tuple[QueueJob, LiveTraining]:
    """One that has grown from one node to four."""
    job, training = alone(world)
    world.run_until(lambda: len(training.train) == 4, 200.0)
    world.run(10.0)
    return job, training


def companions(world: World, job: QueueJob) -> list[CompanionState]:
    return [one.state for one in world.queue.companions.of(job.id)]


def untouched(world: World, training: LiveTraining) -> None:
    """The launch has gone on: not requeued, not launched again, nothing read from a checkpoint."""
    assert (training.generation, training.slurm.restarts, training.checkpoint) == (1, 0, 0.0)
    assert not world.queue.intents.unfinished()


def messages(world: World, job: QueueJob) -> str:
    return "\n".join(event.message for event in world.queue.events.all(job_id=job.id))


def companion_of(training: LiveTraining, number: int = 0) -> MemoryJob:
    return list(training.companions.values())[number]


def test_a_job_grows_to_twice_its_size_and_again(world: World) -> None:
    job, training = grown(world)
    assert training.changes == [("n1", "n2"), ("n1", "n2", "n3", "n4")]
    assert companions(world, job) == [CompanionState.JOINED] * 2
    assert nodes_of(world, job) == ("n1", "n2", "n3", "n4")
    assert [one.nodes for one in training.companions.values()] == [("n2",), ("n3", "n4")]
    untouched(world, training)
    story = messages(world, job)
    assert "its companion 3 starts on n2" in story
    assert "trains on 8 GPUs, n2 among them; training stood still for 1.0 s" in story
    used = gpus_by_use(
        world.slurm.observe(),
        world.settings.scope,
        world.queue.jobs.all(),
        world.queue.companions.of(job.id),
    )
    assert used[GpuUse.STRANGERS] == used[GpuUse.CHANGES] == 0
    # Nobody is told that these are strangers.
    everybody = "\n".join(event.message for event in world.queue.events.all())
    assert "Slurm job 3 of" not in everybody


@pytest.mark.parametrize("words", ["QOSMaxSubmitJobPerUserLimit", "BadConstraints", "Resources"])
def test_what_no_companion_can_bring_comes_by_a_requeue(world: World, words: str) -> None:
    """Whatever its batch script says of that: of its size and nodes only Slurm's words count."""
    job, training = alone(world)
    training.submits, training.says_why = False, words
    world.run_until(lambda: "no companion" in messages(world, job), 100.0)
    for _ in range(2):  # and of those that a later daemon finds in the log
        assert world.scheduler._estimates.closures.of(job.id, world.clock.now) is None
        world.restart()
    world.run(120.0)
    assert (training.generation, training.slurm.restarts) == (2, 1)
    assert training.slurm.nodes == ("n1", "n2", "n3", "n4")
    told = f"its batch script could submit no companion ({words})"
    assert f"it does not grow while it trains: {told}" in messages(world, job)
    assert companions(world, job) == [CompanionState.ENDED]


def test_a_refused_size_is_not_asked_for_again_at_once(world: World) -> None:
    job, training = alone(world)
    training.refuses = frozenset({8, 16})
    world.run(120.0)
    assert training.train == ("n1",) or training.generation > 1
    assert "the launch refuses: fewer samples than ranks" in messages(world, job)
    held = [one for one in training.companions.values() if one.state is JobBaseState.RUNNING]
    assert not held
    assert len(training.companions) <= 2


@pytest.mark.parametrize("kind", [HoldKind.USER, HoldKind.ADMIN])
def test_a_hold_on_a_companion_is_respected(world: World, kind: HoldKind) -> None:
    job, training = alone(world)
    world.run_until(lambda: bool(training.companions), 100.0)
    companion = companion_of(training)
    if kind is HoldKind.ADMIN:
        companion.hold = kind
    else:
        world.run_until(lambda: companion.hold is HoldKind.NONE, 30.0)
        companion.hold, companion.state, companion.nodes = kind, JobBaseState.PENDING, ()
    world.run(60.0)
    assert companion.state is JobBaseState.CANCELLED
    assert len(training.companions) == 1
    assert training.train == ("n1",)
    assert nodes_of(world, job) == ("n1",)
    untouched(world, training)


def test_cancelling_a_companion_only_shrinks(world: World) -> None:
    job, training = grown(world)
    world.cluster.cancel(companion_of(training, 1), world.clock.now)
    world.run(30.0)
    assert training.train == ("n1", "n2")
    assert nodes_of(world, job) == ("n1", "n2")
    assert world.state(job) is JobState.RUNNING
    untouched(world, training)


def limits(training: LiveTraining) -> list[float]:
    return [one.time_limit for one in training.companions.values()]


def test_companions_may_run_as_long_as_their_job(world: World) -> None:
    _, training = grown(world)
    companion_of(training).time_limit = 600.0
    world.run(10.0)
    assert limits(training) == [math.inf, math.inf]
    training.slurm.time_limit = 7200.0
    for one in training.companions.values():
        one.time_limit = 3600.0
    world.run(10.0)
    first = training.slurm.started
    assert first is not None
    for one in training.companions.values():
        assert one.started is not None
        assert 0.0 <= one.started + one.time_limit - (first + 7200.0) <= 120.0
    untouched(world, training)


def test_a_limit_that_is_not_to_be_extended_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, training = grown(world)
    update, asked = world.slurm.update, list[int]()

    def refusing(job_id: int, what: JobUpdate) -> SlurmJob:
        if what.time_limit is None or job_id == training.slurm.job_id:
            return update(job_id, what)
        asked.append(job_id)
        raise NotPermittedError("Access/permission denied")

    monkeypatch.setattr(world.slurm, "update", refusing)
    companion = companion_of(training, 1)
    companion.time_limit = world.clock.now - (companion.started or 0.0) + 60.0
    world.run(40.0)
    assert asked == [companion.job_id]
    assert "ends before it: Access/permission denied" in world.row(job).note
    world.run(90.0)
    assert training.train == ("n1", "n2")
    untouched(world, training)


def test_cancelling_the_job_ends_its_companions(world: World) -> None:
    job, training = grown(world)
    world.cluster.cancel(training.slurm, world.clock.now)
    world.run(60.0)
    assert world.state(job) is JobState.CANCELLED
    assert companions(world, job) == [CompanionState.ENDED] * 2
    assert not any(one.holds_nodes for one in world.cluster.jobs.values())


def test_a_companion_on_its_way_is_cancelled_with_its_job(world: World) -> None:
    job, training = alone(world)
    training.gather = 1000.0
    world.run_until(lambda: CompanionState.RUNNING in companions(world, job), 100.0)
    world.cluster.cancel(training.slurm, world.clock.now)
    world.run(90.0)
    assert companions(world, job) == [CompanionState.ENDED]
    assert not any(one.holds_nodes for one in world.cluster.jobs.values())


def test_a_clock_that_is_set_back_does_not_spare_a_companion(world: World) -> None:
    job, training = grown(world)
    training.companions.clear()  # nobody ends them but the daemon
    world.cluster.cancel(training.slurm, world.clock.now)
    world.run_until(lambda: CompanionState.LEAVING in companions(world, job), 60.0)
    world.clock.now -= 3600.0
    world.run(60.0)
    assert companions(world, job) == [CompanionState.ENDED] * 2


def test_a_node_of_a_companion_fails(world: World) -> None:
    job, training = grown(world)
    companion = companion_of(training, 1)
    for node in companion.nodes:
        world.cluster.drain(node, "broken")
    world.cluster.finish(companion.job_id, world.clock.now, exit_code=1)
    world.run(30.0)
    assert training.train == ("n1", "n2")
    assert nodes_of(world, job) == ("n1", "n2")
    untouched(world, training)


@pytest.mark.parametrize("lie", ["its own id", "another's job", "nobody's id", "not held"])
def test_what_a_job_says_of_its_companion_is_not_believed(world: World, lie: str) -> None:
    job, training = alone(world, 20.0)
    victim = world.cluster.add_job("user2", "theirs", now=world.clock.now, uid=7)
    training.names = {
        "its own id": training.slurm.job_id,
        "another's job": victim.job_id,
        "nobody's id": 999,
    }.get(lie)
    if lie == "not held":
        training.names = victim.job_id
        victim.uid, victim.hold = 0, HoldKind.NONE
        victim.state, victim.nodes = JobBaseState.RUNNING, ()
        victim.comment = "ef-slurm: companion of 2, launch 1, change 1"
    world.run(60.0)
    assert "is not its companion" in messages(world, job)
    assert training.slurm.state is JobBaseState.RUNNING
    assert victim.state in (JobBaseState.PENDING, JobBaseState.RUNNING, JobBaseState.CANCELLED)
    if lie != "not held":
        assert victim.state is JobBaseState.PENDING
    assert victim.required == ()
    assert training.train == ("n1",) or training.generation > 1


def test_a_companion_that_is_cancelled_before_anybody_sees_it_is_not_wanted(world: World) -> None:
    job, training = alone(world, 20.0)
    prepare = training._prepare

    def cancelled(now: float) -> None:
        prepare(now)
        for one in training.companions.values():
            one.state, one.ended = JobBaseState.CANCELLED, now

    training._prepare = cancelled  # type: ignore[method-assign]
    world.run(90.0)
    assert "is not its companion" in messages(world, job)
    assert len(training.companions) == 1
    assert (training.slurm.restarts, training.train) == (0, ("n1",))


def test_a_launch_that_fails_is_grown_again(world: World) -> None:
    _job, training = grown(world)
    now = world.clock.now
    training.checkpoint = training.count(training.done(now))
    training._launch(now, world.bench.boot_of)  # a rank has died
    world.run(90.0)
    assert training.generation == 2
    assert training.slurm.restarts == 0
    assert len(training.train) == 4
    assert training.changes[-2:] == [("n1", "n2"), ("n1", "n2", "n3", "n4")]


def test_a_stray_companion_is_cancelled(world: World) -> None:
    job, _training = alone(world)
    stray = world.cluster.add_job("user1", "train", now=world.clock.now)
    stray.comment = f"ef-slurm: companion of {job.request.slurm_job_id}, launch 9, change 1"
    other = world.cluster.add_job("user3", "train", now=world.clock.now)
    other.comment = "ef-slurm: companion of 12345, launch 1, change 1"
    plain = world.cluster.add_job("user3", "train", now=world.clock.now)
    world.run(30.0)
    assert stray.state is JobBaseState.CANCELLED
    assert other.state is JobBaseState.CANCELLED
    assert plain.state is JobBaseState.PENDING
    errors = world.queue.events.all(kinds=[EventKind.ERROR])
    assert not errors, errors


def test_strays_hold_up_no_tick_however_many_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = world.clock.now
    strays = [world.cluster.add_job("user3", "flood", now=now) for _ in range(3 * MOST_STRAYS)]
    for one in strays:
        one.comment = "ef-slurm: companion of 12345, launch 1, change 1"
    cancelled: list[int] = []
    plain = world.slurm.cancel

    def cancel(job_id: int) -> None:
        cancelled.append(job_id)
        plain(job_id)

    monkeypatch.setattr(world.slurm, "cancel", cancel)
    world.scheduler.tick()
    assert len(cancelled) == MOST_STRAYS
    assert not world.queue.events.all(kinds=[EventKind.STATE])
    world.run(60.0)
    assert {one.state for one in strays} == {JobBaseState.CANCELLED}


def test_of_many_that_may_be_the_one_that_is_wanted_the_job_is_read_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, training = alone(world)
    training.deaf = True
    world.run_until(lambda: CompanionState.WANTED in companions(world, job), 100.0)
    for _ in range(3 * MOST_STRAYS):
        one = world.cluster.add_job("user1", "train", now=world.clock.now)
        one.comment = f"ef-slurm: companion of {job.request.slurm_job_id}, launch 1, change 1"
    world.scheduler._observer.refresh()
    read: list[int] = []
    jobs = world.queue.jobs
    plain = jobs.of_slurm

    def of_slurm(slurm_job_id: int, cluster: str | None = None) -> QueueJob | None:
        read.append(slurm_job_id)
        return plain(slurm_job_id, cluster)

    monkeypatch.setattr(jobs, "of_slurm", of_slurm)
    assert not world.scheduler._acting._companion_ends.cancel({job.id})
    assert read == [job.request.slurm_job_id]


def test_slurm_forgets_a_companion(world: World) -> None:
    job, training = grown(world)
    forgotten = companion_of(training, 1)
    del world.cluster.jobs[forgotten.job_id]
    world.run(30.0)
    assert world.state(job) is JobState.RUNNING
    assert world.queue.companions.of(job.id)[1].state is CompanionState.ENDED


def lingers(training: LiveTraining, number: int) -> MemoryJob:
    """A companion with a comment of its owner's, whose ranks never leave by themselves."""
    companion = companion_of(training, number)
    companion.comment = "mine now"
    training.leaving[companion.job_id] = math.inf
    return companion


def test_another_comment_keeps_no_nodes(world: World) -> None:
    """Slurm lets owners change it at any time; what was believed once is theirs to end for good."""
    job, training = grown(world)
    companion = lingers(training, 1)
    training._launch(world.clock.now, world.bench.boot_of)  # a rank has died: the launch is over
    world.run(60.0)
    assert companion.state is JobBaseState.CANCELLED
    assert companions(world, job)[1] is CompanionState.ENDED


def test_a_recycled_id_is_no_companion(world: World) -> None:
    job, training = grown(world)
    companion = lingers(training, 1)
    companion.uid, companion.user = 7, "user2"  # Slurm lost its state, and counts from 1 again
    world.cluster.cancel(training.slurm, world.clock.now)
    world.run(60.0)
    assert world.state(job) is JobState.CANCELLED
    assert companions(world, job) == [CompanionState.ENDED] * 2
    assert companion.state is JobBaseState.RUNNING


def test_a_companion_has_its_time_once_its_nodes_are_up(tmp_path: Path) -> None:
    """They take longer to boot than ranks may to come."""
    timing = Timing(start=0.3, stop=0.3, min_job_age=1e12, wake=400.0)
    world = World(tmp_path / "queue.sqlite", timing=timing)
    _, training = alone(world)
    for name in ("n2", "n3", "n4"):
        world.cluster.power_down(name)
    world.run_until(lambda: len(training.train) == 4, 1000.0)
    untouched(world, training)
    assert len(training.companions) == 2
