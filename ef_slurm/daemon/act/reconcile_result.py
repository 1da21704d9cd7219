"""What one round over the jobs came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ef_slurm.model import QueueJob


@dataclass(slots=True)
class ReconcileResult:
    """What one round over the jobs came to.

    Args:
        transit: whether some job is on its way.
        reports: queue ids of the jobs whose own files will say when to go on.
        wake: when to look again although nothing may be seen to change.
        replan: whether some job could not be brought where the plan wants it.
        dead: jobs that ended in Slurm, are to go on, and are not taken back.
        unfinished: whether it gave way: jobs are left that come next, and at once.
    """

    transit: bool = False
    reports: set[int] = field(default_factory=set)
    wake: float | None = None
    replan: bool = False
    dead: list[QueueJob] = field(default_factory=list)
    unfinished: bool = False

    def until(self, at: float) -> None:
        """Look again at `at`."""
        self.wake = at if self.wake is None else min(self.wake, at)

    def of_those_before(self) -> ReconcileResult:
        """What it still says, once the round goes on, of jobs that are not reached again."""
        return ReconcileResult(self.transit, set(self.reports), self.wake)
