"""Jobs that were submitted together, one for each number of an array."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArrayMember:
    """Which job of an array one is. Each is a Slurm job of its own.

    Args:
        job_id: what the array is called: the Slurm job of its first member; 0 before that is known.
        task: its number.
        size: how many members there are, numbered from `low` to `high`, `step` apart where that
            is the same for all; else 1.
        most: how many may run at once; 0 for all.
        together: whether they are promised all or none.
        several: the numbers of those that it stands for, where it is shown for more than itself.
    """

    job_id: int
    task: int
    size: int
    low: int
    high: int
    step: int = 1
    most: int = 0
    together: bool = False
    several: str = ""

    @property
    def name(self) -> str:
        """What people call it: `100_3`, or `100_[0-3]`."""
        return f"{self.job_id}_" + (f"[{self.several}]" if self.several else str(self.task))
