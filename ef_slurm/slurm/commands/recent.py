"""What the last look at Slurm said of jobs, for as long as that counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ef_slurm.slurm.types import SlurmJob

RECENT_SECONDS = 10.0
"""For how long a job that was seen held is taken to be held still, and one that ran, to run.

Only somebody who lets a held job go in that time (an operator, or the owner of a personal daemon)
makes it untrue. What was updated is read back before it is released, in any case.
"""


class RecentJobs:
    """Jobs as they were last seen, less those on which something was done since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: dict[int, SlurmJob] = {}
        self._at = clock()

    def look(self, jobs: Mapping[int, SlurmJob], began: float) -> None:
        """All jobs were seen.

        Args:
            began: when Slurm was asked, monotonic seconds.
        """
        self._jobs, self._at = dict(jobs), began

    def forget(self, job_id: int) -> None:
        """Something is done to the job: nobody knows how it is now."""
        self._jobs.pop(job_id, None)

    def get(self, job_id: int) -> SlurmJob | None:
        """A job as it was seen not long ago; None where it must be read."""
        if not 0.0 <= self._clock() - self._at <= RECENT_SECONDS:
            return None
        return self._jobs.get(job_id)
