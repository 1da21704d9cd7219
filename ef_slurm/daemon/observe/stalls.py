"""Jobs that Slurm runs and that do not train: told, and after a stated time taken off their GPUs.

Time is the daemon's own: since when *it* has seen no new iteration. A daemon that was started again
counts anew. Reports say which limit counts:

* no report at all, or none of an iteration yet: importing, reading data (`first_iteration`);
* training: a new iteration is awaited (`stalled`; more where long pauses are usual with this job);
* an evaluation that the training tells of (`evaluation`).

Whatever a job says, it is not believed for longer than all of them together.

A command that never reports anything may train all the same. After `first_iteration` it loses its
promise, because nobody can tell; it gives its GPUs back when its curve says that it should have
ended.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

from ef_slurm.contract import Phase
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.times import format_host_instant
from ef_slurm.model import (
    EventKind,
    Fault,
    JobKind,
    JobState,
    PromiseState,
    QueueJob,
    Reason,
    ReasonCode,
)

TOLD_SHARE = 1 / 6
"""The part of its limit after which a job is told about."""

USUAL_PAUSES = 3.0
"""Times its longest pause so far for which a job may be silent without being told about."""
MOST_PATIENCE = 4.0
"""Times `stalled` that long pauses may make of it at most."""

UNSEEN_SECONDS = 120.0
"""Seconds without a look after which the time since the last one is taken to have been no time."""

SILENT_FACTOR = 1.5
"""Times what its curve says it takes, for a command that reports nothing."""


@dataclass(frozen=True, slots=True)
class StallLimits:
    """Seconds without a new iteration after which a job gives its GPUs back; `inf` for never.

    Args:
        first_iteration: from the start of a launch to its first iteration.
        stalled: from one iteration to the next.
        evaluation: of an evaluation that the training tells of.
    """

    first_iteration: float = 3600.0
    stalled: float = 1800.0
    evaluation: float = 7200.0


class _Await(enum.Enum):
    """What a job that runs is waited for."""

    REPORT = "its command has reported nothing"
    FIRST_ITERATION = "no first iteration"
    ITERATION = "no iteration"
    EVALUATION = "no end of an evaluation"
    END = "no end, although it has ended its training"


_HAS_TRAINED = frozenset({_Await.ITERATION, _Await.EVALUATION, _Await.END})
"""What is awaited of a job that has trained in this run."""


@dataclass(slots=True)
class _Watched:
    """One run of a job.

    Args:
        run: Slurm's count of restarts, and the launch's generation.
        awaited: for what, `since` when (the daemon's clock).
        iteration: the most that this launch has reported; `advanced` when that was new.
        soonest: when it would have ended, had it trained by its curve from some moment of this run
            on; infinite while nobody knows.
        pause: the longest time between two iterations so far.
        told: whether its owner was told; `voided` whether it has lost its promise.
    """

    run: tuple[int, int]
    awaited: _Await
    since: float
    iteration: int
    advanced: float
    soonest: float = math.inf
    pause: float = 0.0
    told: bool = False
    voided: bool = False


class Stalls:
    """Who has not trained for how long."""

    def __init__(self, limits: StallLimits) -> None:
        self._limits = limits
        self._watched: dict[int, _Watched] = {}
        self._looked_at: float | None = None

    def look(self, now: float) -> None:
        """To be called once before each round of `review`.

        What nobody could see is not held against a job: the clock was set, the daemon stood still,
        or Slurm did not answer.
        """
        before, self._looked_at = self._looked_at, now
        if before is None or 0.0 <= now - before <= UNSEEN_SECONDS:
            return
        for watched in self._watched.values():
            watched.since += now - before
            watched.advanced += now - before

    def forget(self, job_id: int) -> None:
        """It does not run any more."""
        self._watched.pop(job_id, None)

    def review(
        self, job: QueueJob, status: JobStatus, transition: Transition, now: float
    ) -> Transition:
        """The transition, with what is to be done about a job that does not train.

        Args:
            job: the row before the transition.
            now: the present, UTC epoch seconds.
        """
        transition = self._laid_to_the_job(job, transition)
        runs = job.state in (JobState.STARTING, JobState.RUNNING) and status.slurm.is_running
        if not runs or job.running is None or transition.to not in (None, JobState.RUNNING):
            self.forget(job.id)
            return transition
        before = self._watched.get(job.id)
        silent_for = now - before.since if before is not None and before.told else None
        watched = self._see(status, job.id, now)
        _foresee(job, status, watched)
        if silent_for is not None and not watched.told:
            words = f"goes on after {format_duration(silent_for)}"
            return _noted(transition, words, note="")
        limit, told_after = self._patience(watched)
        idle = now - watched.since
        if watched.awaited is _Await.REPORT:
            if idle >= limit and not watched.voided:
                watched.voided = watched.told = True
                return _void(transition, _words(job, watched, now), now)
            limit += SILENT_FACTOR * _expected(job)
        elif now - watched.advanced >= self._everything:
            limit = 0.0
        if idle >= limit:
            self.forget(job.id)
            return _give_back(transition, _words(job, watched, now), now)
        if idle >= told_after and not watched.told:
            watched.told = True
            words = _words(job, watched, now)
            if limit < math.inf:
                words += f": at {format_host_instant(watched.since + limit)} it gives its GPUs back"
            return _noted(transition, words)
        return transition

    def _laid_to_the_job(self, job: QueueJob, transition: Transition) -> Transition:
        """A job that was late because it stood still, or trained slowly, was so by its own doing.

        The last plan need not have seen that yet. It is so where it would have been in time, had it
        trained by its own curve on the GPUs that it had, from some moment of its run on.
        """
        watched, settled = self._watched.get(job.id), transition.settled
        deadline, grace = job.request.deadline, job.request.grace
        if watched is None or settled is None or deadline is None:
            return transition
        if settled.fault is not Fault.EF_SLURM or watched.soonest >= deadline + grace:
            return transition
        return replace(transition, settled=replace(settled, fault=Fault.JOB))

    @property
    def _everything(self) -> float:
        limits = self._limits
        return limits.first_iteration + limits.stalled + limits.evaluation

    def _see(self, status: JobStatus, job_id: int, now: float) -> _Watched:
        """Bring what is known of a run up to date."""
        launch, progress = status.launch, status.progress
        run = (status.slurm.restarts, 0 if launch is None else launch.generation)
        awaited = _awaited(status)
        iteration = 0 if progress is None else progress.iteration
        watched = self._watched.get(job_id)
        if watched is None or watched.run[0] != run[0]:
            watched = _Watched(run, awaited, now, iteration, now)
            self._watched[job_id] = watched
        elif watched.run != run:
            watched.run, watched.iteration, watched.soonest = run, iteration, math.inf
        if iteration > watched.iteration:
            if watched.awaited is _Await.ITERATION:
                watched.pause = max(watched.pause, now - watched.since)
            watched.iteration, watched.advanced = iteration, now
            watched.awaited, watched.since, watched.told = awaited, now, False
        elif awaited is not watched.awaited:
            watched.awaited, watched.since, watched.told = awaited, now, False
        return watched

    def _patience(self, watched: _Watched) -> tuple[float, float]:
        """Seconds until a job gives its GPUs back, and until it is told about."""
        limits = self._limits
        match watched.awaited:
            case _Await.ITERATION:
                usual = USUAL_PAUSES * watched.pause
                limit = min(max(limits.stalled, usual), MOST_PATIENCE * limits.stalled)
                return limit, min(limit, max(TOLD_SHARE * limits.stalled, usual))
            case _Await.EVALUATION:
                return limits.evaluation, TOLD_SHARE * limits.evaluation
        return limits.first_iteration, TOLD_SHARE * limits.first_iteration


def _awaited(status: JobStatus) -> _Await:
    """What the job is waited for, by its own word."""
    progress = status.progress
    if progress is None:
        return _Await.REPORT
    match progress.phase:
        case Phase.EVALUATING:
            return _Await.EVALUATION
        case Phase.STOPPING | Phase.STOPPED | Phase.FINISHED | Phase.FAILED:
            return _Await.END
    if progress.phase is Phase.STARTING or progress.first_iteration_at is None:
        return _Await.FIRST_ITERATION
    return _Await.ITERATION


def _foresee(job: QueueJob, status: JobStatus, watched: _Watched) -> None:
    """When it would end, if it trained by its curve from now on, or had since its run began."""
    running, iterations, progress = job.running, job.request.iterations, status.progress
    rate = _rate(job)
    if running is None or iterations is None or not rate or progress is None:
        return
    if watched.awaited not in _HAS_TRAINED or progress.first_iteration_at is None:
        return
    began = max(progress.first_iteration_at, running.trains_from)
    latest = max(watched.advanced, running.trains_from)
    for at, iteration in ((began, job.checkpoint_iteration), (latest, watched.iteration)):
        watched.soonest = min(watched.soonest, at + (iterations - iteration) / rate)


def _words(job: QueueJob, watched: _Watched, now: float) -> str:
    nodes = () if job.running is None else job.running.block.nodes
    idle = format_duration(now - watched.since)
    return f"{watched.awaited.value} for {idle} on {compress(nodes)}"


def _expected(job: QueueJob) -> float:
    """Seconds that all of its training takes by its curve; 0 if nobody knows."""
    rate = _rate(job)
    return 0.0 if job.request.iterations is None or not rate else job.request.iterations / rate


def _rate(job: QueueJob) -> float:
    """Iterations/s on the GPUs that it holds, by its curve; 0 if nobody knows."""
    running = job.running
    if running is None:
        return 0.0
    for kind, curve in job.request.curves:
        if kind == running.block.gpu_type:
            return dict(curve.points).get(running.active_gpus, 0.0)
    return 0.0


def _noted(transition: Transition, words: str, note: str | None = None) -> Transition:
    entry = AuditEntry(EventKind.ERROR, words)
    return replace(
        transition,
        job=replace(transition.job, note=words if note is None else note),
        entries=(*transition.entries, entry),
    )


def _void(transition: Transition, words: str, now: float) -> Transition:
    """It runs on what promises leave over from here on."""
    why = f"{words}: nobody can tell whether it trains"
    if _has_claim(transition.job):
        why += ", so it has no promise any more"
    return replace(_noted(_without_claim(transition, why, now), why), replan=True)


def _give_back(transition: Transition, words: str, now: float) -> Transition:
    """It is taken off its GPUs, and held until its owner releases it, as best effort then."""
    why = f"{words}: it has stopped training and gives its GPUs back"
    noted = _noted(_without_claim(transition, why, now), why)
    stalled = Reason(ReasonCode.STALLED)
    job = replace(noted.job, running=None, reason=stalled, plan=(), finish=None)
    return replace(noted, job=job, replan=True)


def _has_claim(job: QueueJob) -> bool:
    return job.kind is not JobKind.BEST_EFFORT and job.measuring is None


def _without_claim(transition: Transition, why: str, now: float) -> Transition:
    """Its promise, if it has one, is void, and it runs as best effort."""
    job = transition.job
    if not _has_claim(job):
        return transition
    settled = transition.settled or settle_given_up(job, Fault.JOB, why, now)
    job = replace(job, best_effort=True, promise=PromiseState.NONE)
    return replace(transition, job=job, settled=settled)
