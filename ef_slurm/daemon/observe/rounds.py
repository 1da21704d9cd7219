"""What launches have measured of themselves, as far as it is believed."""

from __future__ import annotations

from ef_slurm.contract import Action, Point, read_points, read_sizes
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.remember import remember
from ef_slurm.formats.sentences import gpus
from ef_slurm.model import ACTOR, FASTEST, Event, EventKind, Json, QueueJob, active_part
from ef_slurm.queue.store import Queue

LEAST_SECONDS = 0.5
"""Seconds of training below which nothing is told by them."""
CLOCK_PLAY_SECONDS = 1.0
"""Seconds by which all of a round may seem to have taken longer than the daemon's clock says."""


def believed(status: JobStatus, now: float) -> tuple[Point, ...]:
    """The points of a round that is over; none where they cannot be true.

    A job may say what it likes of its speed, as it may with every report. But it measures the sizes
    that it was ordered to, does no more iterations for it than it has done in all, and takes no
    longer for it than has passed.
    """
    order, progress = status.reports.order, status.progress
    if order is None or progress is None or order.generation != progress.generation:
        return ()
    if order.action is not Action.RESIZE or not order.sizes or not progress.points:
        return ()
    if max(progress.change, progress.refused_change) != order.change:
        return ()
    points = read_points(progress.points)
    plausible = (
        {one.gpus for one in points} <= set(read_sizes(order.sizes))
        and all(one.seconds >= LEAST_SECONDS for one in points)
        and all(one.iterations <= FASTEST * one.seconds for one in points)
        and sum(one.iterations for one in points) <= progress.iteration
        and sum(one.seconds for one in points) <= now - order.issued_at + CLOCK_PLAY_SECONDS
    )
    return points if plausible else ()


class Rounds:
    """Turns them into `Estimates`.

    What was seen for a second or two counts until the same size has been watched for longer.
    """

    def __init__(self, estimates: Estimates, queue: Queue) -> None:
        self._estimates = estimates
        self._queue = queue

    def learn(self, job: QueueJob, status: JobStatus, now: float) -> bool:
        """Whether a job's report told something new."""
        running = job.running
        if running is None or not status.holds(running.block):
            return False
        block, new = running.block, False
        for point in believed(status, now):
            if point.gpus > block.gpus or point.gpus & (point.gpus - 1):
                continue
            part = active_part(block, point.gpus)
            rate = point.iterations / point.seconds
            rates = self._estimates.rates
            if not rates.learn(job.id, part.gpu_type, part.gpus, rate, brief=True):
                continue
            new = True
            words = f"{rate:.3g} iterations/s for {point.seconds:.1f} s on {gpus(part.gpus)}"
            data: dict[str, Json] = {
                "what": "rate",
                "value": rate,
                "gpus": part.gpus,
                "gpu_type": part.gpu_type,
                "brief": True,
            }
            self._queue.events.log(Event(now, EventKind.MEASURED, ACTOR, words, job.id, data))
            assert status.progress is not None
            software = status.progress.software
            remember(self._queue, job.request, part, rate, point.seconds, software, now)
        return new
