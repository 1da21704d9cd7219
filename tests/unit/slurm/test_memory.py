"""The cluster in memory: what it copies from real Slurm, and that it never gives a GPU twice."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ef_slurm.slurm.errors import (
    NoSuchJobError,
    RefusedError,
    SlurmTimeoutError,
    SlurmUnavailableError,
)
from ef_slurm.slurm.interface import earliest_release
from ef_slurm.slurm.types import JobBaseState, JobUpdate, Shape, Submission
from tests.fakes.memory_cluster import MemoryCluster, Timing
from tests.fakes.memory_slurm import MemorySlurm

SCRIPT = Submission("#!/bin/sh\n")


class World:
    """A cluster of two nodes with four GPUs each, and its clock."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.now = 1000.5
        self.cluster = MemoryCluster({"n1": 4, "n2": 4}, timing=timing)
        self.slurm = MemorySlurm(self.cluster, lambda: self.now)

    def start(self, *nodes: str, gpus: int = 2) -> int:
        job_id = self.slurm.submit(SCRIPT).job_id
        self.slurm.update(job_id, JobUpdate(shape=Shape(nodes, gpus), start_now=True))
        self.slurm.release(job_id)
        return job_id

    def state(self, job_id: int) -> JobBaseState:
        return self.slurm.job(job_id).state


@pytest.fixture
def world() -> World:
    return World()


def test_a_requeued_job_waits_unless_it_is_told_to_start_now(world: World) -> None:
    job_id = world.start("n1")
    world.slurm.requeue(job_id)
    world.now = earliest_release(world.now)
    world.slurm.release(job_id)
    assert world.slurm.job(job_id).reason == "BeginTime"
    world.slurm.update(job_id, JobUpdate(start_now=True))
    world.slurm.release(job_id)
    assert world.state(job_id) is JobBaseState.RUNNING


def test_released_too_early_it_fails(world: World) -> None:
    job_id = world.start("n1")
    world.slurm.requeue(job_id)
    world.slurm.update(job_id, JobUpdate(start_now=True))
    world.slurm.release(job_id)
    assert world.state(job_id) is JobBaseState.FAILED


def test_stopping_takes_its_time() -> None:
    world = World(Timing(stop=5.0))
    job_id = world.start("n1", gpus=4)
    world.slurm.requeue(job_id)
    assert not world.slurm.job(job_id).is_pending
    assert world.cluster.free_gpus()["n1"] == 0
    world.now += 5.0
    assert world.slurm.job(job_id).is_pending
    assert world.cluster.free_gpus()["n1"] == 4


def test_a_dead_node(world: World) -> None:
    job_id = world.start("n1", "n2")
    world.cluster.kill_node("n2", world.now)
    assert world.slurm.job(job_id).restarts == 1
    world.slurm.update(job_id, JobUpdate(start_now=True))
    world.now += 2.0
    job = world.slurm.job(job_id)
    assert (job.state, job.reason) == (JobBaseState.PENDING, "ReqNodeNotAvail")
    assert [node.usable for node in world.slurm.observe().nodes] == [True, False]
    world.cluster.restore("n2")
    assert world.state(job_id) is JobBaseState.RUNNING


def test_others_jobs_end_at_their_limit(world: World) -> None:
    other = world.cluster.occupy("user2", ("n1",), 4, 60.0, world.now)
    mine = world.start("n1")
    assert world.slurm.job(mine).reason == "Resources"
    world.now += 60.0
    assert world.state(other.job_id) is JobBaseState.TIMEOUT
    assert world.state(mine) is JobBaseState.RUNNING


def test_ended_jobs_are_forgotten(world: World) -> None:
    job_id = world.start("n1")
    world.cluster.finish(job_id, world.now, 3)
    assert world.slurm.job(job_id).exit_code == 3
    with pytest.raises(ValueError, match="not running"):
        world.cluster.finish(job_id, world.now)
    world.now += 301.0
    with pytest.raises(NoSuchJobError):
        world.slurm.job(job_id)


def test_an_unreachable_cluster_and_a_lost_answer(world: World) -> None:
    job_id = world.slurm.submit(SCRIPT).job_id
    world.cluster.answers_lost = 1
    with pytest.raises(SlurmTimeoutError):
        world.slurm.release(job_id)
    assert world.state(job_id) is JobBaseState.RUNNING  # it was done all the same
    world.cluster.reachable = False
    for ask in (world.slurm.observe, world.slurm.configuration, world.slurm.partitions):
        with pytest.raises(SlurmUnavailableError):
            ask()


class Anything(RuleBasedStateMachine):
    """Any sequence of actions: GPUs are given once, and running jobs have what they asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Timing(start=0.5, stop=1.5, begin_delay=3.0, min_job_age=20.0))

    def jobs(self) -> list[int]:
        return sorted(self.world.cluster.jobs)

    def try_to(self, act: Callable[[int], object], which: int) -> None:
        jobs = self.jobs()
        try:
            act(jobs[which % len(jobs)])
        except (RefusedError, NoSuchJobError):
            return

    @rule(seconds=st.floats(0.1, 5.0))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(lambda self: len(self.jobs()) < 6)
    @rule(nodes=st.sampled_from([("n1",), ("n2",), ("n1", "n2")]), gpus=st.sampled_from([1, 2, 4]))
    def submit(self, nodes: tuple[str, ...], gpus: int) -> None:
        self.world.start(*nodes, gpus=gpus)

    @precondition(lambda self: self.jobs())
    @rule(which=st.integers(0, 5), what=st.sampled_from(["hold", "release", "requeue", "cancel"]))
    def act(self, which: int, what: str) -> None:
        self.try_to(getattr(self.world.slurm, what), which)

    @precondition(lambda self: self.jobs())
    @rule(which=st.integers(0, 5), gpus=st.sampled_from([1, 2, 4]))
    def reshape(self, which: int, gpus: int) -> None:
        update = JobUpdate(shape=Shape(("n1",), gpus), start_now=True)
        self.try_to(lambda job_id: self.world.slurm.update(job_id, update), which)

    @precondition(lambda self: self.jobs())
    @rule(which=st.integers(0, 5))
    def shrink(self, which: int) -> None:
        self.try_to(lambda job_id: self.world.slurm.resize(job_id, ("n1",)), which)

    @rule(node=st.sampled_from(["n1", "n2"]))
    def lose(self, node: str) -> None:
        self.world.cluster.kill_node(node, self.world.now)

    @rule(node=st.sampled_from(["n1", "n2"]))
    def find(self, node: str) -> None:
        self.world.cluster.restore(node)

    @invariant()
    def no_gpu_is_given_twice(self) -> None:
        seen = self.world.slurm.observe()
        held = dict.fromkeys(("n1", "n2"), 0)
        for job in seen.jobs.values():
            if job.holds_nodes:
                for node, gpus in job.gpus:
                    held[node] += gpus
            if job.is_running:
                assert set(job.nodes) == set(job.requested.nodes)
                assert {gpus for _, gpus in job.gpus} == {job.requested.gpus_per_node}
        assert max(held.values()) <= 4
        assert min(self.world.cluster.free_gpus().values()) >= 0


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
