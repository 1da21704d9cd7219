"""The companions that have not ended, as the queue has them, at hand for every look at a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ef_slurm.daemon.observe.job_status import Member
from ef_slurm.daemon.observe.ownership import ownership_error
from ef_slurm.model import Block, Companion, CompanionState, QueueJob
from ef_slurm.queue.errors import UnreadableRowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import SlurmJob


def of_owner(slurm: SlurmJob | None, job: QueueJob) -> SlurmJob | None:
    """The Slurm job, unless it is another user's: ids are recycled."""
    return None if slurm is None or ownership_error(job, slurm) is not None else slurm


class CompanionBook:
    """Reads the queue's companions once per tick, and writes through."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._present: dict[int, Companion] = {}
        self._by_job: dict[int, list[int]] = {}
        self.load()

    def load(self) -> None:
        """Read them anew."""
        self._present = {one.id: one for one in self._queue.companions.present()}
        self._sort()

    @property
    def present(self) -> tuple[Companion, ...]:
        """All of them, oldest first."""
        return tuple(self._present.values())

    @property
    def slurm_ids(self) -> frozenset[int]:
        """Slurm's ids of those that are known there."""
        ids = (one.slurm_job_id for one in self._present.values())
        return frozenset(slurm_id for slurm_id in ids if slurm_id is not None)

    def has_any(self, job_id: int) -> bool:
        """Whether a job has any."""
        return job_id in self._by_job

    def of(self, job_id: int) -> tuple[Companion, ...]:
        """Those of a job, oldest first."""
        return tuple(self._present[one] for one in self._by_job.get(job_id, ()))

    def members(self, job: QueueJob, jobs: Mapping[int, SlurmJob]) -> tuple[Member, ...]:
        """The same, with what Slurm says of each."""
        return tuple(
            Member(one, of_owner(jobs.get(one.slurm_job_id or 0), job)) for one in self.of(job.id)
        )

    def is_still(self, companion: Companion, slurm: SlurmJob, job: QueueJob) -> bool:
        """Whether a Slurm job is the companion that once was believed to be one.

        Its comment does not count: its owner may change that, and would keep the nodes with it.
        """
        mine = slurm.job_id == companion.slurm_job_id and of_owner(slurm, job) is not None
        return mine and not self._is_in_queue(slurm.job_id)

    def _is_in_queue(self, slurm_id: int) -> bool:
        try:
            return self._queue.jobs.of_slurm(slurm_id) is not None
        except UnreadableRowError:
            return True

    def want(
        self, job_id: int, generation: int, change: int, block: Block, *, at: float
    ) -> Companion:
        """Write down that one is wanted (`queue.companions.Companions.want`)."""
        wanted = self._queue.companions.want(job_id, generation, change, block, at=at)
        self._present[wanted.id] = wanted
        self._sort()
        return wanted

    def move(
        self,
        companion: Companion,
        to: CompanionState,
        *,
        at: float,
        slurm_job_id: int | None = None,
        why: str = "",
    ) -> Companion:
        """Move one on (`queue.companions.Companions.move`)."""
        moved = self._queue.companions.move(
            companion, to, at=at, slurm_job_id=slurm_job_id, why=why
        )
        if moved.state is CompanionState.ENDED:
            self._present.pop(moved.id, None)
            self._sort()
        else:
            self._present[moved.id] = moved
        return moved

    def _sort(self) -> None:
        by_job: dict[int, list[int]] = defaultdict(list)
        for one in self._present.values():
            by_job[one.job_id].append(one.id)
        self._by_job = dict(by_job)
