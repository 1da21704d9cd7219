"""What a page is made of: the queue as one visitor may see it, at one moment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ef_slurm.charts import library
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.visibility import Viewer, masked
from ef_slurm.daemon.serve.web.words import JobRow, job_row
from ef_slurm.formats.job_words import name_of, waits_for, why
from ef_slurm.model import Cluster, JobList, JobState, JobView
from ef_slurm.queue import queries
from ef_slurm.queue.store import Queue


@dataclass(frozen=True, slots=True)
class Look:
    """One visitor's look.

    Args:
        now: UTC epoch seconds.
    """

    context: ServerContext
    queue: Queue
    viewer: Viewer
    now: float

    @property
    def cluster(self) -> Cluster | None:
        """As the scheduler last saw it."""
        return self.context.scheduler.cluster

    @property
    def has_charts(self) -> bool:
        """Whether there is something to draw with."""
        return library.is_there()

    @property
    def sees_all(self) -> bool:
        """Whether nothing is kept from this visitor."""
        return self.viewer.sees_all

    def jobs(self, states: Collection[JobState] = ()) -> JobList:
        """Jobs in these states, or all active ones."""
        listed = queries.list_jobs(self.queue, self.now, states=states, visible=self.viewer.sees)
        return masked(self.queue, self.viewer, listed)

    def rows(self, jobs: JobList, wanted: Callable[[JobView], bool]) -> list[JobRow]:
        """Those that are wanted, for a table."""
        naming = name_of(jobs.others)
        return [
            job_row(
                job,
                self.now,
                why(job, naming) if job.share else waits_for(job, self.now, why(job, naming)),
            )
            for job in jobs.jobs
            if wanted(job)
        ]
