"""One job at a time: all that is known of it now → what is new of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from ef_slurm.daemon.observe.calibration import NOTHING, Calibration
from ef_slurm.daemon.observe.ends import not_measurable, on_missing
from ef_slurm.daemon.observe.measuring_time import MeasuringTime
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.ownership import is_another_submission, ownership_error
from ef_slurm.daemon.observe.recycled import on_recycled
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.daemon.observe.stalls import StallLimits, Stalls
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.daemon.observe.transitions import derive_end, derive_transition
from ef_slurm.model import Fault, Intent, JobState, QueueJob
from ef_slurm.slurm.types import HoldKind


class Follower:
    """Slurm's word, the job's reports, and what was learned of both.

    Args:
        hold: how we hold jobs: as an operator (ADMIN) or as their owner (USER).
        calibration: what learns from jobs; None where nothing is to be learned.
        limits: how long a job may not train; None where nobody acts on that.
    """

    def __init__(
        self,
        observer: Observer,
        calibration: Calibration | None,
        limits: StallLimits | None,
        hold: HoldKind,
        clock: Callable[[], float],
    ) -> None:
        self._observer = observer
        self._calibration = calibration
        self._stalls = None if limits is None else Stalls(limits)
        self._measuring = None if limits is None else MeasuringTime(limits)
        self._hold = hold
        self._clock = clock

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        if self._stalls is not None:
            self._stalls.forget(job_id)
        if self._measuring is not None:
            self._measuring.forget(job_id)

    def look(self) -> None:
        """To be called once before each round of `follow`."""
        if self._stalls is not None:
            self._stalls.look(self._clock())

    def follow(
        self, job: QueueJob, intent: Intent | None, lost_nodes: Collection[str]
    ) -> Transition:
        """What is new of an active job.

        Args:
            intent: its unfinished intent.
            lost_nodes: nodes that Slurm cannot use now.
        """
        now = self._clock()
        status = self._observer.status(job)
        gone = status is None or is_another_submission(job, status.slurm)
        ended = self._observer.accounted_end(job) if gone else None
        if ended is not None:
            reports = self._observer.reports(job)
            transition = derive_end(job, ended, reports, now, ours=self._hold)
            if transition is not None:
                return transition
        if status is None:
            return on_missing(job, self._observer.reports(job), now)
        if is_another_submission(job, status.slurm):
            return on_recycled(job, self._observer.reports(job), now)
        problem = ownership_error(job, status.slurm)
        if problem is not None:
            settled = settle_given_up(job, Fault.CLUSTER, problem, now)
            return Transition(
                replace(job, running=None, note=problem), JobState.FAILED, problem, settled=settled
            )
        if job.slurm_submitted is None and status.slurm.restarts == 0:
            job = replace(job, slurm_submitted=status.slurm.submit_time)
        learned = NOTHING
        if self._calibration is not None:
            learned = self._calibration.observe(job, status, now)
        transition = derive_transition(
            job,
            status,
            intent,
            now,
            ours=self._hold,
            seen_at=self._observer.observation.at,
            lost_nodes=lost_nodes,
        )
        if learned.replan:
            transition = replace(transition, replan=True)
        if learned.note is not None:
            transition = replace(transition, job=replace(transition.job, note=learned.note))
        if self._stalls is not None:
            transition = self._stalls.review(job, status, transition, now)
        if self._measuring is not None:
            why = self._measuring.review(job, now, runs=status.slurm.is_running)
            if why and transition.to in (None, JobState.RUNNING):
                transition = not_measurable(transition.job, why, now)
        return transition
