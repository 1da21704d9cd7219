"""Held Slurm jobs whose queue job has ended without them: nobody else will cancel them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ef_slurm.daemon.act.executor import Executor, Refusal
from ef_slurm.daemon.act.steps import CancelOrphan
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.ownership import is_another_submission, ownership_error
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import ACTIVE, Fault, IntentAction, JobState, QueueJob
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import NoSuchJobError

CANCEL_DELAY_SECONDS = 10.0
"""Seconds that ef-sbatch has to cancel the Slurm job of a rejected or withdrawn job itself."""

ORPHAN_WINDOW_SECONDS = 86400.0
"""Seconds after which an ended job is no longer looked at: the daemon before may have been away."""

REFUSED_SECONDS = 20.0
"""Seconds after which what Slurm refused to cancel is asked for again."""

CLOCK_STEP_SECONDS = 60.0
"""By how much the clock may be set back without an ended job being overlooked."""

ENDED = frozenset({JobState.REJECTED, JobState.CANCELLED})


class Orphans:
    """Cancels what rejected and withdrawn jobs left in Slurm."""

    def __init__(
        self,
        executor: Executor,
        observer: Observer,
        queue: Queue,
        clock: Callable[[], float],
        fence: Fence,
    ) -> None:
        self._fence = fence
        self._executor = executor
        self._observer = observer
        self._queue = queue
        self._clock = clock
        self._since = -math.inf
        self._looked_at: float | None = None
        self._settled: set[int] = set()
        self._refused: dict[int, float] = {}
        """Job → when Slurm refused to cancel what it has left."""

    def cancel(self) -> float | None:
        """Cancel those whose time has come; returns when the next one's comes, or None.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        now = self._clock()
        following: float | None = None
        # By the clock as it was at the last look: it may have been set forward since.
        looked_at = now if self._looked_at is None else self._looked_at
        since = max(self._since, looked_at - ORPHAN_WINDOW_SECONDS)
        ended = self._queue.jobs.ended(ENDED, since=since)
        ids = {job.id for job in ended}
        self._settled &= ids
        self._refused = {job_id: at for job_id, at in self._refused.items() if job_id in ids}
        unfinished = self._unfinished() if ended else frozenset()
        for job in ended:
            if job.ended_at is None:
                continue
            begun, wait = job.ended_at, CANCEL_DELAY_SECONDS
            if job.id in self._refused:
                begun, wait = self._refused[job.id], REFUSED_SECONDS
            if lately(begun, wait, now):
                due = begun + wait
                following = due if following is None else min(due, following)
                continue
            with self._fence.around(job, "cancelled in Slurm"):
                if job.id not in self._settled:
                    # A cancelled row may have been moved by its owner's own command.
                    why = "cancelled by its owner"
                    settlement = settle_given_up(job, Fault.OWNER, why, job.ended_at)
                    self._queue.promises.settle(job.id, settlement, at=now)
                    self._settled.add(job.id)
                if self._cancel(job, unfinished=job.id in unfinished):
                    self._refused.pop(job.id, None)
                else:
                    self._refused[job.id] = now
        # Whoever ended before that has been seen to; not looked at again with every tick. Who ended
        # while Slurm was silent, or refused, is looked at until its end is seen.
        self._since, self._looked_at = now - CANCEL_DELAY_SECONDS - CLOCK_STEP_SECONDS, now
        unfinished = self._unfinished() if ended else frozenset()
        for job in ended:
            if job.ended_at is not None and (job.id in unfinished or job.id in self._refused):
                self._since = min(self._since, job.ended_at)
        return following

    def _unfinished(self) -> frozenset[int]:
        """Jobs with something on its way to their Slurm job; not what was submitted beside it."""
        intents = self._queue.intents.unfinished()
        return frozenset(one.job_id for one in intents if one.action is not IntentAction.SUBMIT)

    def _cancel(self, job: QueueJob, *, unfinished: bool) -> bool:
        """Once is not enough: slurmctld may come back with a state from before.

        Returns:
            Whether nothing is to be done any more, as far as is known; False where Slurm refused.
        """
        known = self._observer.status(job)
        if known is None or known.slurm.is_final:
            if unfinished and known is not None:  # Slurm did it, and could not say so
                self._executor.settle(job, known)
            elif unfinished:
                self._executor.drop(job, "Slurm does not know the job any more")
            return True
        row = self._queue.jobs.of_slurm(job.request.slurm_job_id, job.request.cluster)
        if row is not None and row.state in ACTIVE:  # ids are recycled: it is another row's now
            if unfinished:
                self._executor.drop(job, "Slurm has given its id to another job")
            return True
        # It must be the same owner's job, as Slurm knows it now.
        slurm = self._observer.fetch(job.request.slurm_job_id)
        if slurm is None or slurm.is_final or ownership_error(job, slurm) is not None:
            return True
        if is_another_submission(job, slurm):
            return True
        status = replace(known, slurm=slurm)
        try:
            after = self._executor.execute(job, status, CancelOrphan(), "its queue job has ended")
        except NoSuchJobError:
            self._observer.drop(job.request.slurm_job_id)
            return True
        return not isinstance(after, Refusal)
