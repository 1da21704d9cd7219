"""How many steps one job may cause.

Most steps follow from what the job says of itself: a launch that reports another number each time
that it is looked at would be given an order each time. A step is a row of the queue, a file on the
shared file system and a command of Slurm's, for which the tick and everybody in it wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.daemon.act.steps import (
    CancelCompanion,
    CancelOrphan,
    GiveBack,
    Hold,
    Requeue,
    Resize,
    Step,
)

STEPS_AT_ONCE = 40
"""Steps that a job may cause at a time. Two doublings while it trains take ten."""
SECONDS_PER_STEP = 10.0
"""Seconds after which it may cause one more."""

_FREE = (Hold, Requeue, Resize, GiveBack, CancelCompanion, CancelOrphan)
"""Steps that take GPUs from a job, or keep it from some: others wait for these. It can be seen in
Slurm that they are done, whatever the job says."""


@dataclass(slots=True)
class _Account:
    """What is left at a moment; `told` whether that was too little once, since all was there."""

    left: float
    at: float
    told: bool = False


class StepBudget:
    """A bucket of steps for each job. Forgotten with the daemon."""

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}

    def take(self, job_id: int, step: Step, now: float) -> float:
        """Count a step that is about to be done.

        Args:
            job_id: the queue's.
            now: UTC epoch seconds.

        Returns:
            0.0; or, where it is not to be done yet, in how many seconds it may be.
        """
        if isinstance(step, _FREE):
            return 0.0
        account = self._accounts.setdefault(job_id, _Account(STEPS_AT_ONCE, now))
        passed = max(0.0, now - account.at)  # a clock may be set back
        account.left = min(float(STEPS_AT_ONCE), account.left + passed / SECONDS_PER_STEP)
        account.at = now
        if account.left == STEPS_AT_ONCE:
            account.told = False
        if account.left < 1.0:
            return (1.0 - account.left) * SECONDS_PER_STEP
        account.left -= 1.0
        return 0.0

    def is_news(self, job_id: int) -> bool:
        """Whether a job that has to wait is to be told so: once, until all of it is there again."""
        account = self._accounts.get(job_id)
        if account is None or account.told:
            return False
        account.told = True
        return True

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._accounts.pop(job_id, None)
