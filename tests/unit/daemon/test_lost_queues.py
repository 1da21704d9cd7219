"""kill -9 at any write or command, and the queue lost with it: no promise that was told is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ef_slurm.daemon.rebuild import Evidence, rebuild
from ef_slurm.model import FINAL, JobRecord, JobState, PromiseOutcome
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import HoldKind
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.test_crashes import MEMORY, Killed, Killer, mortal
from tests.unit.daemon.test_recording import Shelf
from tests.unit.daemon.world import World

EXAMPLES = 60 if os.environ.get("EF_LONG") else 3


class MortalShelf(Shelf):
    """Records, during whose writing the daemon may die: before, between two of them, or after."""

    def __init__(self, killer: Killer) -> None:
        super().__init__()
        self._killer = killer

    def write(self, records: Sequence[JobRecord]) -> Mapping[int, str]:
        for one in records:
            self._killer.around(super().write, [one])
        return {}


def lose_and_rebuild(world: World, shelf: Shelf) -> None:
    """The daemon has died, and the disk with it; the jobs go on."""
    promised = world.queue.promises.open()
    rows = {job_id: world.queue.promises.of(job_id) for job_id in promised}
    for job_id, row in rows.items():
        # Whatever anybody could have read in the queue lies beside it.
        record = shelf.records[job_id].promise
        assert record is not None
        assert row is not None
        assert (record.given_at, record.deadline) == (row.given_at, row.deadline)
    world.queue.close()
    for path in world.path.parent.glob("queue.sqlite*"):
        path.unlink()
    evidence = Evidence(
        records=shelf.read(),
        observation=MemorySlurm(world.cluster, world.clock).observe(),
        ended={},
        state_dirs=world.bench,
        ours=HoldKind.ADMIN,
        partitions=frozenset({"ef"}),
        now=world.clock.now,
    )
    rebuild(world.path, evidence)
    world.queue = Queue.open(world.path)


@given(st.lists(st.integers(3, 80), max_size=12, unique=True), st.booleans())
@example([20, 22, 25, 30, 41, 42, 43, 60, 75, 76, 77, 90], False)
@example([60, 43, 24, 46, 79, 11, 48, 77, 70, 36, 26, 72], True)  # held as an operator's
@example([5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 19, 21, 23], True)
@settings(
    deadline=None,
    max_examples=EXAMPLES,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_whenever_it_dies_and_loses_its_disk_every_promise_is_kept(
    dead_at: list[int], after: bool
) -> None:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        killer = Killer({(number, after) for number in dead_at})
        shelf = MortalShelf(killer)
        world = World(Path(directory) / "queue.sqlite", records=shelf)
        jobs = [world.submit(6_000, deadline=9000.0) for _ in range(3)]
        # All are recorded before anything happens: what nobody was told may be lost.
        while len(shelf.records) < 3:
            try:
                world.step()
            except Killed:
                world.restart()
        mortal(world, killer)
        end = world.clock.now + 20_000.0
        while world.clock.now < end and not world.finished():
            try:
                world.step(end)
            except Killed:
                world.clock.now += 1.0
                world.bench.advance()
                lose_and_rebuild(world, shelf)
                world.restart()
        assert killer.killed or min(dead_at, default=99) > 30
        for job in jobs:
            row, promise = world.row(job), world.queue.promises.of(job.id)
            assert row.state in FINAL
            assert promise is not None
            assert (row.state, promise.outcome) == (JobState.COMPLETED, PromiseOutcome.KEPT), (
                row.note
            )
        world.queue.close()
