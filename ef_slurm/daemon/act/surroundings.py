"""The conditions of a job's next step: of other jobs' GPUs, and of what was done and refused.

What is remembered here saves a step or a wait; a daemon that starts anew learns it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ef_slurm.daemon.act.conditions import Conditions
from ef_slurm.daemon.act.early_shrink import spare_seconds
from ef_slurm.daemon.act.free_gpus import FreeGpus
from ef_slurm.daemon.act.growth import is_too_slow
from ef_slurm.daemon.act.live_steps import next_part
from ef_slurm.daemon.act.since import Since
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.job_status import JobStatus, layout_of
from ef_slurm.daemon.observe.live_launches import LiveLaunches
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.plan.job_places import lacks_place
from ef_slurm.daemon.plan.measured_rows import in_one_round
from ef_slurm.daemon.plan.planner_input import overhead_of
from ef_slurm.model import Block, Companion, Intent, IntentAction, JobState, QueueJob
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.pending import holder, may_be_forgotten, our_part
from ef_slurm.slurm.types import HoldKind


class Surroundings:
    """Of all jobs.

    Args:
        hold: how we hold jobs: as an operator (ADMIN) or as their owner (USER).
    """

    def __init__(
        self,
        observer: Observer,
        queue: Queue,
        estimates: Estimates,
        hold: HoldKind,
        clock: Callable[[], float],
        companions: CompanionBook,
        launches: LiveLaunches,
    ) -> None:
        self._observer = observer
        self._queue = queue
        self._estimates = estimates
        self._hold = hold
        self._clock = clock
        self._companions = companions
        self._launches = launches
        self._born = clock()
        self._updated: dict[int, tuple[Block, int, str]] = {}
        self._companions_updated: set[int] = set()
        # By job the last launch of which that was found: one runs at a time.
        self._requeue_only: dict[int, int] = {}
        self._not_extended: set[int] = set()
        self._companions_not_extended: frozenset[int] = frozenset()
        self._leaving = Since()
        self._released = Since()

    def updated(self, job: QueueJob, block: Block, status: JobStatus) -> None:
        """Slurm has read the shape of its block back to us."""
        self._updated[job.id] = (block, status.slurm.restarts, status.booted)

    def companion_updated(self, companion: Companion) -> None:
        """The same of a companion."""
        present = {one.id for one in self._companions.present}
        self._companions_updated = {companion.id} | (self._companions_updated & present)

    def stays_whole(self, job: QueueJob, status: JobStatus) -> None:
        """The present launch cannot give up nodes without a requeue."""
        self._requeue_only[job.id] = _generation(status)

    def not_extended(self, job: QueueJob) -> None:
        """Slurm does not let its time limit be extended."""
        self._not_extended.add(job.id)

    def companion_not_extended(self, companion: Companion) -> None:
        """The same of a companion."""
        present = {one.id for one in self._companions.present}
        self._companions_not_extended = self._companions_not_extended & present | {companion.id}

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._updated.pop(job_id, None)
        self._leaving.forget(job_id)
        self._released.forget(job_id)
        self._not_extended.discard(job_id)
        self._requeue_only.pop(job_id, None)

    def conditions(
        self,
        job: QueueJob,
        state: JobState,
        intent: Intent | None,
        status: JobStatus,
        target: Block | None,
        free_gpus: FreeGpus,
        jobs: Sequence[QueueJob],
    ) -> Conditions:
        """What holds for a job now.

        Args:
            state: that it has in the queue.
            intent: its unfinished one.
            target: the block that it is to have.
            jobs: all that are reconciled.
        """
        slurm = status.slurm
        part = our_part(state, intent, slurm.restarts, status.booted)
        told = (target, slurm.restarts, status.booted)
        more = None if target is None else next_part(status, target)
        coming = status.coming
        live_open = self._live_open(job, status, target, more)
        part_free = more is not None and free_gpus.fits(more)
        grows = part_free and coming is None and status.is_live
        return Conditions(
            free=target is not None and free_gpus.fits(target),
            updated=target is not None and self._updated.get(job.id) == told,
            released=self._released_at(intent, status),
            in_place=self._requeue_only.get(job.id) != _generation(status),
            active=None if job.running is None else job.running.active,
            iterations=job.ordered_iterations,
            time_limit=None if job.id in self._not_extended else job.time_limit,
            leaving_since=self._leaving_since(job, status, target, live_open=live_open),
            hold=self._hold,
            holder=holder(
                slurm.hold, part, self._hold, forgotten=self._forgotten(job, intent, status)
            ),
            wake_seconds=0.0 if target is None else self._observer.wake_seconds(target),
            live_open=live_open,
            part_free=part_free,
            lacks_place=lacks_place(job, jobs, self._observer) if grows else "",
            companion_updated=coming is not None
            and coming.companion.id in self._companions_updated,
            was_live=self._launches.was_live(job.id),
            changed_since=self._launches.changed_since(job.id),
            not_extended=self._companions_not_extended,
            spare_seconds=spare_seconds(job, slurm.nodes, target, jobs),
            to_measure=in_one_round(job),
        )

    def _forgotten(self, job: QueueJob, intent: Intent | None, status: JobStatus) -> bool:
        if not status.forgotten:
            return False
        last = intent or self._queue.intents.last_of(job.id)
        return may_be_forgotten(last, status.slurm.restarts, status.booted)

    def _live_open(
        self, job: QueueJob, status: JobStatus, target: Block | None, more: Block | None
    ) -> bool:
        """Whether it may grow while it trains; what has begun goes on."""
        now = self._clock()
        if not self._estimates.closures.live_open(job.id, now):
            return False
        if target is None or more is None or status.coming is not None or not status.is_live:
            return True
        held = sum(count for _, count in status.gpus)
        overhead = overhead_of(job, status, self._estimates, now)
        return not is_too_slow(job, overhead, held, target.gpus)

    def _leaving_since(
        self, job: QueueJob, status: JobStatus, target: Block | None, *, live_open: bool
    ) -> float | None:
        """Since when the present run is wanted elsewhere, or off GPUs that it has; None if not."""
        stays = target is not None and status.holds(target)
        if stays or not status.slurm.is_running:
            self._leaving.forget(job.id)
            return None
        # How long it took to grow says nothing of how long it takes to leave, or, where it does not
        # grow while it trains, to stop.
        now = self._clock()
        gives_up = target is None or not status.layout <= layout_of(target)
        stops = gives_up or not live_open
        return self._leaving.of(job.id, (status.slurm.restarts, gives_up, stops), now)

    def _released_at(self, intent: Intent | None, status: JobStatus) -> float | None:
        """When we released the job for its present run; not before this daemon could watch it."""
        if intent is None or intent.action is not IntentAction.RELEASE:
            return None
        if intent.arguments.get("restarts") != status.slurm.restarts:
            return None
        began = max(intent.opened_at, self._born)
        return self._released.of(intent.job_id, intent.id, self._clock(), began)


def _generation(status: JobStatus) -> int:
    return 0 if status.launch is None else status.launch.generation
