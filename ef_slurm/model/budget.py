"""What many jobs may use together at a time, and what each of them uses of it.

A limit of Slurm's counts GPUs, CPUs, memory, nodes, jobs or licences of some set of jobs (those of
a user, an account, a QOS). All of them are one thing to a plan: an amount that those who run must
not pass together.

>>> Charge("licence matlab", per_job=2.0).of(gpus=8, nodes=2)
2.0
>>> Charge("GrpTRES=node=4 of account a", per_node=1.0).of(gpus=8, nodes=2)
2.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ef_slurm.model.errors import ModelError


@dataclass(frozen=True, slots=True)
class Charge:
    """What a job uses of a budget while it runs.

    Args:
        budget: the budget's name.
        per_gpu: for each GPU, `per_node` for each node, `per_job` however large it is.
        gpu_type: only GPUs of this type count; None for all.
    """

    budget: str
    per_gpu: float = 0.0
    per_node: float = 0.0
    per_job: float = 0.0
    gpu_type: str | None = None

    def of(self, gpus: int, nodes: int) -> float:
        """The amount that so many GPUs on so many nodes use."""
        return self.per_gpu * gpus + self.per_node * nodes + self.per_job


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that all jobs with a charge on it may use at a time.

    Args:
        name: in the words of whoever set it, with its value.
        taken: (until, amount): what jobs that are in no plan use of it, epoch seconds.
    """

    name: str
    most: float
    taken: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if math.isnan(self.most) or self.most < 0:
            raise ModelError(f"budget {self.name}", self.most, "0 or more")
