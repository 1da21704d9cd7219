"""What was seen of jobs that can change their size while they run. Forgotten with the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ef_slurm.daemon.observe.job_status import JobStatus


@dataclass(frozen=True, slots=True)
class _Seen:
    generation: int
    change: int
    at: float


class LiveLaunches:
    """By queue id: whether a launch was live, and since when its last change is known."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[int, _Seen] = {}

    def see(self, job_id: int, status: JobStatus) -> None:
        """Take note of what the job says."""
        progress = status.progress
        if progress is None or not progress.live:
            return
        known = self._seen.get(job_id)
        if known is None or (known.generation, known.change) != (
            progress.generation,
            progress.change,
        ):
            self._seen[job_id] = _Seen(progress.generation, progress.change, self._clock())

    def was_live(self, job_id: int) -> bool:
        """Whether a launch of this job could change its size while it ran."""
        return job_id in self._seen

    def changed_since(self, job_id: int) -> float | None:
        """When its last live change was first seen to be complete, or its launch to begin."""
        seen = self._seen.get(job_id)
        return None if seen is None else seen.at

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._seen.pop(job_id, None)
