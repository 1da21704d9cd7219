"""kill -9 at any moment between the daemon and the world: nothing lost, nothing done twice."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ef_slurm.contract import Order
from ef_slurm.model import FINAL, IfInfeasible, JobState, PromiseOutcome, QueueJob
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.world import World

MEMORY = Path("/dev/shm")
EXAMPLES = 100 if os.environ.get("EF_LONG") else 4
ACTS = ("hold", "update", "release", "resize", "requeue", "signal", "cancel", "observe", "job")


class Killed(BaseException):
    """The process is gone: no handler may stop it."""


class Killer:
    """Kills the daemon at the given calls, before or after their effect."""

    def __init__(self, kills: set[tuple[int, bool]]) -> None:
        self._kills = kills
        self.calls = 0
        self.killed = 0

    def around(self, call: Any, *arguments: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if (number, False) in self._kills:
            self.killed += 1
            raise Killed
        result = call(*arguments)
        if (number, True) in self._kills:
            self.killed += 1
            raise Killed
        return result


class MortalSlurm:
    """A Slurm during whose calls the daemon may die."""

    def __init__(self, slurm: MemorySlurm, killer: Killer) -> None:
        self._slurm = slurm
        self._killer = killer

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._slurm, name)
        if name not in ACTS:
            return method
        return lambda *arguments, **how: self._killer.around(partial(method, **how), *arguments)


def mortal(world: World, killer: Killer) -> None:
    plain = world.bench.order

    def order(job: QueueJob, order: Order) -> None:
        killer.around(plain, job, order)

    world.bench.order = order  # type: ignore[method-assign]
    slurm = MortalSlurm(MemorySlurm(world.cluster, world.clock), killer)
    world.slurm = slurm
    world.restart()


def survive(world: World, seconds: float) -> None:
    """Let time pass; whenever the daemon dies, the next one starts a second later."""
    end = world.clock.now + seconds
    while world.clock.now < end and not world.finished():
        try:
            world.step(end)
        except Killed:
            world.clock.now += 1.0
            world.bench.advance()
            world.restart()


kills = st.sets(st.tuples(st.integers(0, 400), st.booleans()), max_size=40)


@given(kills)
@example(set())
@example({(number, after) for number in range(0, 400, 7) for after in (False, True)})
@settings(
    deadline=None,
    max_examples=100 if os.environ.get("EF_LONG") else 4,
    suppress_health_check=list(HealthCheck),
)
def test_nothing_is_lost_and_nothing_is_done_twice(dead_at: set[tuple[int, bool]]) -> None:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        world = World(Path(directory) / "queue.sqlite")
        killer = Killer(dead_at)
        mortal(world, killer)
        jobs = [world.submit(20_000, deadline=4000.0)]
        world.at(world.clock.now + 40, lambda: jobs.append(world.submit(30_000, deadline=900.0)))
        world.at(world.clock.now + 55, lambda: jobs.append(world.submit(3_000, deadline=None)))
        world.at(
            world.clock.now + 70,
            lambda: jobs.append(
                world.submit(40_000, deadline=2500.0, if_infeasible=IfInfeasible.WAIT)
            ),
        )
        survive(world, 8000.0)
        assert not world.arrivals
        for job in jobs:
            row = world.row(job)
            assert row.state in FINAL
            assert row.state in (JobState.COMPLETED, JobState.REJECTED), row.note
            if row.state is JobState.COMPLETED:
                promise = world.queue.promises.of(job.id)
                assert promise is None or promise.outcome is PromiseOutcome.KEPT
        assert not world.queue.intents.unfinished()
        world.queue.close()
