"""slurmctld comes back with an older state."""

from __future__ import annotations

import copy
from dataclasses import fields

from ef_slurm.slurm.types import JobBaseState
from tests.fakes.memory_cluster import MemoryCluster, MemoryJob

SAVED_EVERY_SECONDS = 5.0
KEPT_SECONDS = 35.0


class Past:
    """What slurmctld has saved of its jobs, now and then."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._saved: list[tuple[float, dict[int, MemoryJob], int]] = []

    def remember(self, now: float) -> None:
        """Save the present state, where that is due."""
        saved = self._saved
        if saved and now - saved[-1][0] < SAVED_EVERY_SECONDS:
            return
        jobs = {number: copy.copy(job) for number, job in self._cluster.jobs.items()}
        kept = [one for one in saved if now - one[0] <= KEPT_SECONDS]
        self._saved = [*kept, (now, jobs, self._cluster.last_id)]

    def come_back(self, since: float, now: float) -> list[MemoryJob]:
        """As it was saved at `since` or soon after.

        What runs otherwise than it remembers is ended, and put back where it may be.

        Returns:
            The jobs that it does not know any more.
        """
        cluster = self._cluster
        found = next((one for one in self._saved if one[0] >= since), None)
        if found is None:
            return []
        at, past, cluster.last_id = found  # the ids of what it forgets are used again
        self._saved = [one for one in self._saved if one[0] <= at]
        gone = [cluster.jobs.pop(number) for number in list(cluster.jobs) if number not in past]
        for job in gone:
            job.state, job.completing_until, job.ended = JobBaseState.CANCELLED, None, now
        for number, old in past.items():
            job_now = cluster.jobs.get(number)
            if job_now is None:
                continue  # purged long ago
            runs = job_now.state is JobBaseState.RUNNING
            same = (job_now.restarts, job_now.started) == (old.restarts, old.started)
            for each in fields(MemoryJob):
                if each.name not in ("signals", "settings"):
                    setattr(job_now, each.name, getattr(old, each.name))
            if old.state is JobBaseState.RUNNING and not (runs and same):
                # Its node says that there is no such job, or another run of it.
                cluster.end_on_dead_node(job_now, now)
        cluster.restart()
        cluster.settle(now)
        return gone
