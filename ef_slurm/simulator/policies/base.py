"""What a scheduling policy is to the loop.

The loop asks a policy at every event (an arrival, a completion, a moment that the policy itself
asked for) and gets the share of every job from then on. A policy keeps what it needs between two
rounds itself; it reads the runs and never changes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ef_slurm.model import IfInfeasible, Outcome, Overhead, Policy
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


@dataclass(frozen=True, slots=True)
class ClusterSetup:
    """The world that a policy schedules: the cluster, the costs it is told of, the site's will."""

    nodes: int
    gpus_per_node: int
    overhead: Overhead = field(default_factory=Overhead)
    if_infeasible: IfInfeasible = IfInfeasible.WAIT
    policy: Policy = field(default_factory=lambda: Policy(offers=False))

    @property
    def gpus(self) -> int:
        """GPUs of the cluster."""
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class Round:
    """A policy's answer.

    `grants` holds every job that has GPUs from now on (and may hold others, to keep a schedule); a
    job that it does not hold, has none. `verdicts` are the answers to jobs that were judged.
    `next_change` is when the policy wants to be asked again at the latest.
    """

    grants: Mapping[str, Grant]
    verdicts: Mapping[str, Outcome] = field(default_factory=dict)
    next_change: float = math.inf


class SchedulingPolicy(Protocol):
    """A policy of the loop."""

    name: str
    """As `--policy` spells it."""
    judges: bool
    """Whether jobs are admitted by verdict (and promised their deadline). If not, all are."""
    work_conserving: bool
    """Whether no job waits while the idle GPUs would do for it."""
    fixed_size: bool
    """Whether jobs run at the size that their users requested, and at no other."""

    def decide(self, now: float, runs: Sequence[SimulatedJob]) -> Round:
        """The shares from `now` on of the unfinished jobs `runs`, given in order of arrival."""
        ...
