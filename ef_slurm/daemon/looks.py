"""When Slurm is asked and the jobs' own files are read, and that Slurm does not answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Set

from ef_slurm.contract import LaunchState
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.observe.complaints import Complaints
from ef_slurm.daemon.observe.held_up import by_silence
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.settlements import due_at
from ef_slurm.daemon.settings import Settings
from ef_slurm.formats.durations import format_duration
from ef_slurm.model import ACTOR, Event, EventKind, JobState, QueueJob
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmError

_log = logging.getLogger(__name__)

EMPTY_LOOK_SECONDS = 60.0
"""Least seconds between looks at Slurm while nothing is queued."""

WATCH_SECONDS = 600.0
"""For how long Slurm is asked although no job is active: an ended one may be put back there."""

LAUNCHING = frozenset({JobState.STARTING, JobState.STOPPING})
ON_ITS_WAY = LAUNCHING | {JobState.NEW}
LEAVING = frozenset({LaunchState.FINISHED, LaunchState.FAILED, LaunchState.INTERRUPTED})


class Looks:
    """At Slurm and at the jobs' files: as many as are needed, and no more."""

    def __init__(
        self,
        settings: Settings,
        observer: Observer,
        queue: Queue,
        complaints: Complaints,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._queue = queue
        self._complaints = complaints
        self._metrics = metrics
        self._clock = clock
        self._all_read_at = -math.inf
        self._ended_at = clock()
        self._completing = False
        self._silent_since: float | None = None
        self.wanted = True
        """Whether Slurm is to be asked again as soon as `query_interval` allows."""

    def read_reports(
        self, jobs: tuple[QueueJob, ...], now: float, awaited: Set[int], next_change: float
    ) -> None:
        """Read what jobs may have written: those on their way always, all that run now and then.

        What the others wrote is read when Slurm says something new about them.

        Args:
            awaited: queue ids of jobs whose files say when to go on.
            next_change: when the plan in force wants to be made anew.
        """
        since = now - self._all_read_at
        # Where the plan counts on something now, it is looked at whether it has come.
        expected = self._all_read_at < next_change <= now
        if expected or not 0 <= since < self._settings.progress_interval:
            self._all_read_at = now
            self._observer.read_reports(job for job in jobs if self._observer.runs(job))
        else:
            self._observer.read_reports(
                job for job in jobs if job.state in LAUNCHING or job.id in awaited
            )
        self._observer.keep_reports(jobs)
        self._complaints.tell(jobs)

    def are_due(
        self, jobs: tuple[QueueJob, ...], now: float, *, transit: bool, replan: bool
    ) -> bool:
        """Whether Slurm is to be asked now.

        Args:
            transit: whether some job is on its way to its GPUs.
            replan: whether a plan is to be made.
        """
        refreshed_at = self._observer.refreshed_at
        if refreshed_at is None:
            return True
        since = now - refreshed_at
        if since < 0:
            return True  # the clock was set back
        if since < self._settings.query_interval:
            return False
        if self.wanted or replan:
            return True
        busy = self.is_on_its_way(transit=transit) or any(
            job.state in ON_ITS_WAY and not job.set_apart for job in jobs
        )
        if not jobs and not busy and now - self._ended_at > WATCH_SECONDS:
            # Curves are checked against the GPU types that were last seen.
            return since >= max(EMPTY_LOOK_SECONDS, self._settings.idle_interval)
        return since >= (self._settings.tick_interval if busy else self._settings.idle_interval)

    def is_on_its_way(self, *, transit: bool) -> bool:
        """Whether some job is, or GPUs of ours are about to be free."""
        return transit or self._completing or self._observer.expects_end

    def has_news(self, job: QueueJob, now: float) -> bool:
        """Whether Slurm is to be asked because of it."""
        fresh = job.state is JobState.NEW and not job.set_apart
        return fresh or self._leaves(job) or self._is_overdue(job, now)

    def _leaves(self, job: QueueJob) -> bool:
        """Whether the job says that its run ends, and Slurm has not said so yet."""
        status = None if self._observer.refreshed_at is None else self._observer.status(job)
        launch = None if status is None else status.launch
        if status is None or launch is None:
            return False
        return launch.state in LEAVING and status.slurm.is_running

    def _is_overdue(self, job: QueueJob, now: float) -> bool:
        """Whether its deadline is over, and Slurm was not asked since whether the job is, too."""
        due, refreshed_at = due_at(job), self._observer.refreshed_at
        return due is not None and due <= now and (refreshed_at is None or refreshed_at < due)

    def look(self, now: float) -> bool:
        """Ask Slurm; returns whether it has answered."""
        try:
            self._observer.refresh()
        except SlurmError as error:
            self.slurm_is_silent(error, now)
            return False
        self._metrics.looked()
        self.wanted = False
        self._completing = any(
            "COMPLETING" in job.flags and job.requested.partition in self._settings.scope.partitions
            for job in self._observer.observation.jobs.values()
        )
        if self._silent_since is not None:
            silent = self._clock() - self._silent_since
            self._tell(f"Slurm answers again after {format_duration(silent)}")
            for event in by_silence(self._queue, self._observer.status, silent, self._clock()):
                self._queue.events.log(event)
            self._silent_since = None
        return True

    def job_ended(self, at: float) -> None:
        """A job has just ended, which may be put back in Slurm."""
        self._ended_at = at

    def slurm_is_silent(self, error: SlurmError, since: float) -> None:
        """It did not answer: nothing is known of what came after the last look.

        Args:
            since: when it was asked, UTC epoch seconds.
        """
        self.wanted = True
        self._observer.expect_another()
        if self._silent_since is None:
            self._silent_since = since
            self._tell(f"Slurm does not answer, nothing is changed until it does: {error.message}")

    def _tell(self, message: str) -> None:
        _log.warning("%s", message, extra=about(None, EventKind.DAEMON))
        self._queue.events.log(Event(self._clock(), EventKind.DAEMON, ACTOR, message))
