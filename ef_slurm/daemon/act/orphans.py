"""Held Slurm jobs whose queue job has ended without them: nobody else will cancel them."""

from __future__ import annotations

from collections.abc import Callable

from ef_slurm.daemon.act.executor import Actor
from ef_slurm.daemon.act.steps import Cancel
from ef_slurm.daemon.observe.observer import Watch
from ef_slurm.model import JobState, PromiseOutcome
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError

PATIENCE = 10.0
"""Seconds that ef-sbatch has to cancel the Slurm job of a rejected or withdrawn job itself."""

HORIZON = 3600.0
"""Seconds after which an ended job is no longer looked at."""

ENDED = frozenset({JobState.REJECTED, JobState.CANCELLED})


class Orphans:
    """Cancels what rejected and withdrawn jobs left in Slurm."""

    def __init__(
        self, actor: Actor, watch: Watch, queue: Queue, clock: Callable[[], float]
    ) -> None:
        self._actor = actor
        self._watch = watch
        self._queue = queue
        self._clock = clock
        self._done: set[int] = set()

    def cancel(self) -> float | None:
        """Cancel those whose time has come; returns when the next one's comes, or None.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        now = self._clock()
        following: float | None = None
        for job in self._queue.jobs.all(ENDED, ended_since=now - HORIZON):
            if job.id in self._done or job.ended_at is None:
                continue
            due = job.ended_at + PATIENCE
            if now < due:
                following = due if following is None else min(due, following)
                continue
            # A cancelled row may have been moved by its owner's own command.
            why = "cancelled by its owner"
            self._queue.promises.settle(job.id, PromiseOutcome.RELEASED, at=now, why=why)
            facts = self._watch.facts(job)
            if facts is not None and not facts.slurm.is_final:
                # Ids are recycled: it must be the same owner's job.
                if facts.slurm.uid != job.request.uid:
                    continue
                try:
                    self._actor.act(job, facts, Cancel(), "its queue job has ended")
                except NoSuchJobError:
                    self._watch.forget(job.request.slurm_job_id)
            self._done.add(job.id)
        return following
