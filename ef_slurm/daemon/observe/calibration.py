"""Measurements taken while following jobs, kept in the audit log so that a restart knows them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ef_slurm.contract import Phase, Progress
from ef_slurm.daemon.observe.estimates import RATE_TOLERANCE, Estimates
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.model import (
    ACTOR,
    ChangeKind,
    Event,
    EventKind,
    Json,
    MeasuredRate,
    ModelError,
    ProfileKey,
    QueueJob,
    active_part,
    overhead_field,
)
from ef_slurm.queue.store import Queue

FIRST_WINDOW_SECONDS = 30.0
WINDOW_SECONDS = 120.0
"""Seconds of training over which a rate is taken: at first, and later."""

MAX_REMEMBERED = 2000
"""Measurements that are read back after a restart."""

_OVERHEADS = {
    **{kind.value: overhead_field(kind) for kind in ChangeKind},
    # Earlier versions called every requeue of a running job a reshape. Some of what they called a
    # shrink was one too: that errs on the safe side and gives way to what is measured from now on.
    "reshape": "reshape",
}
"""What an event says was measured → the field of `Overhead` that it belongs to."""


@dataclass(frozen=True, slots=True)
class _Pending:
    change: ChangeKind
    since: float


@dataclass(frozen=True, slots=True)
class _Window:
    """Where a measurement of the rate began."""

    generation: int
    iteration: int
    at: float
    seconds: float


class Calibration:
    """Turns shifts and reports into `Estimates`."""

    def __init__(self, estimates: Estimates, queue: Queue) -> None:
        self._estimates = estimates
        self._queue = queue
        self._pending: dict[int, _Pending] = {}
        self._windows: dict[int, _Window] = {}

    def recall(self) -> None:
        """Take in what was measured before this daemon started."""
        for event in self._queue.events.last(EventKind.MEASURED, MAX_REMEMBERED):
            what, value, gpus, decided = (
                event.data.get(key) for key in ("what", "value", "gpus", "decided")
            )
            if event.job_id is None or not isinstance(value, int | float):
                continue
            if what == "rate" and isinstance(gpus, int):
                self._estimates.rates.learn(event.job_id, gpus, value)
                continue
            # A change that was carried out otherwise than decided counts as both (`observe`).
            kinds = (one for one in (what, decided) if isinstance(one, str) and one in _OVERHEADS)
            for overhead in {_OVERHEADS[kind] for kind in kinds}:
                self._estimates.overheads.add(event.job_id, overhead, value)

    def expect(self, job_id: int, change: ChangeKind | None, since: float) -> None:
        """A job was given another block (None: it pauses): how long will the change take?"""
        if change is None:
            self._pending.pop(job_id, None)
        else:
            self._pending[job_id] = _Pending(change, since)

    def forget(self, job_id: int) -> None:
        """What is going on with the job says nothing about its cost."""
        self._pending.pop(job_id, None)
        self._windows.pop(job_id, None)

    def observe(self, job: QueueJob, status: JobStatus, now: float) -> bool:
        """Learn from a running job; whether a plan should hear of it."""
        progress = status.progress
        if job.running is None or progress is None or not status.holds(job.running.block):
            return False
        first = progress.first_iteration_at
        if first is None or progress.phase is not Phase.RUNNING:
            return False
        if status.launched_gpus not in (None, job.running.active_gpus):
            return False  # a launch on another part of its GPUs, about to end
        pending = self._pending.get(job.id)
        if pending is not None and pending.since == job.running.since:
            launch = status.launch
            # A stop on the way, or an older launch that still trains, would tell another story.
            if launch is not None and launch.started_at >= pending.since:
                del self._pending[job.id]
                change = _carried_out(pending, status)
                seconds = first - pending.since
                # A shrink that took a requeue tells what a requeue takes, and also what it costs to
                # decide on a shrink here: where Slurm allows none, every one of them ends so.
                for overhead in {overhead_field(change), overhead_field(pending.change)}:
                    self._estimates.overheads.add(job.id, overhead, seconds)
                words = f"{change.value} took {seconds:.1f} s until training"
                instead = {} if change is pending.change else {"decided": pending.change.value}
                self._log(job, now, words, change.value, seconds, **instead)
        window = self._rate(job.id, progress)
        if window is None:
            return False
        rate, seconds = window
        if not self._estimates.rates.learn(job.id, job.running.active_gpus, rate):
            return False
        self._remember(job, rate, seconds, now)
        expected = _curve_rate(job)
        off = expected is not None and abs(rate / expected - 1) > RATE_TOLERANCE
        versus = f" (its curve says {expected:.3g})" if expected is not None else ""
        self._log(job, now, f"{rate:.3g} iterations/s{versus}", "rate", rate)
        return off or job.measuring is not None  # it may be judged by that now

    def _remember(self, job: QueueJob, rate: float, seconds: float, now: float) -> None:
        """Put a rate into the profile library, for the next job of the same key."""
        request, running = job.request, job.running
        batch = request.global_batch_size
        if running is None or batch is None or not request.model_name:
            return
        block = active_part(running.block, running.active_gpus)
        # A rate that no training has is not remembered; it cannot be told from a lie.
        with suppress(ModelError):
            key = ProfileKey(request.model_name, batch, request.precision, block.gpu_type)
            measured = MeasuredRate(
                key=key,
                gpus=block.gpus,
                gpus_per_node=block.gpus_per_node,
                rate=rate,
                seconds=seconds,
                owner=request.owner,
                account=request.account,
                at=now,
                cluster=request.cluster,
                job_id=request.slurm_job_id,
            )
            self._queue.profiles.add(measured, durable=False)

    def _rate(self, job_id: int, progress: Progress) -> tuple[float, float] | None:
        """Iterations/s over a whole window, and its seconds.

        The last seconds alone are too unsteady to plan by.
        """
        now, done = progress.updated_at, progress.iteration
        window = self._windows.get(job_id)
        if window is None or window.generation != progress.generation:
            self._windows[job_id] = _Window(progress.generation, done, now, FIRST_WINDOW_SECONDS)
            return None
        if now < window.at + window.seconds or done <= window.iteration:
            return None
        self._windows[job_id] = _Window(progress.generation, done, now, WINDOW_SECONDS)
        return (done - window.iteration) / (now - window.at), now - window.at

    def _log(
        self, job: QueueJob, now: float, message: str, what: str, value: float, **more: Json
    ) -> None:
        gpus = job.share if job.running is None else job.running.active_gpus
        data: dict[str, Json] = {"what": what, "value": value, "gpus": gpus, **more}
        on = f"{message} on {gpus} GPU{'' if gpus == 1 else 's'}"
        self._queue.events.log(Event(now, EventKind.MEASURED, ACTOR, on, job.id, data))


def _carried_out(pending: _Pending, status: JobStatus) -> ChangeKind:
    """The kind that a change was in the end: a shrink may have needed a requeue after all."""
    started = status.slurm.start_time
    if pending.change is ChangeKind.SHRINK and started is not None and started >= pending.since:
        return ChangeKind.RESTART  # Slurm has started it since, so it did not shrink in place
    return pending.change


def _curve_rate(job: QueueJob) -> float | None:
    if job.running is None:
        return None
    block = job.running.block
    for kind, curve in job.request.curves:
        if kind == block.gpu_type:
            return dict(curve.points).get(job.running.active_gpus)
    return None
