"""For how long jobs hold GPUs to be measured, by the daemon's own clock.

How much of it was training is the job's word (`script_numbers.count_training`), and so is what its
rate is taken from. A job that tells neither in a way that anything follows from would be measured
for ever, and be given GPUs for it before all who have no promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ef_slurm.daemon.observe.stalls import UNSEEN_SECONDS, StallLimits
from ef_slurm.formats.durations import format_duration
from ef_slurm.model import QueueJob


@dataclass(slots=True)
class _Held:
    """Seconds on GPUs since a rate was learned; `rates` of how many sizes; `at` the last look."""

    rates: int
    seconds: float
    at: float


class MeasuringTime:
    """Counts over all runs of a job. Forgotten with the daemon, as `Stalls` are.

    Args:
        limits: a rate is waited for as long as for a first iteration and the two after it.
    """

    def __init__(self, limits: StallLimits) -> None:
        self._limit = limits.first_iteration + 2 * limits.stalled
        self._held: dict[int, _Held] = {}

    def forget(self, job_id: int) -> None:
        """The job has ended, or is not to be measured any more."""
        self._held.pop(job_id, None)

    def review(self, job: QueueJob, now: float, *, runs: bool) -> str:
        """Why a job is not measured any longer; "" as long as it may be.

        Args:
            runs: whether Slurm has it on GPUs.
            now: UTC epoch seconds.
        """
        measuring = job.measuring
        if measuring is None or job.request.complete:
            self.forget(job.id)
            return ""
        held = self._held.setdefault(job.id, _Held(len(measuring.rates), 0.0, now))
        passed, held.at = now - held.at, now
        if len(measuring.rates) > held.rates:
            held.rates, held.seconds = len(measuring.rates), 0.0
        # What nobody could see is not held against it.
        elif runs and 0.0 <= passed <= UNSEEN_SECONDS:
            held.seconds += passed
        if not runs or math.isinf(self._limit) or held.seconds < self._limit:
            return ""
        return (
            f"it has held GPUs for {format_duration(held.seconds)} and nothing new is known of its "
            "speed: submit it with --throughput"
        )
