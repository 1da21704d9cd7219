"""What a scheduling policy is to the loop.

The loop asks a policy at every event (an arrival, a completion, a moment that the policy itself
asked for) and gets the share of every job from then on. A policy keeps what it needs between two
rounds itself; it reads the jobs and never changes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ef_slurm.model import IfInfeasible, Outcome, Overhead, Policy
from ef_slurm.simulator.cluster import GpuGroup
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


@dataclass(frozen=True, slots=True)
class ClusterSetup:
    """What a policy schedules, and under which rules.

    Args:
        groups: of the cluster.
        overhead: seconds of lost training at every start and change of share or block.
        if_infeasible: what elasticflow does with a deadline that it cannot promise.
        policy: the planner's own settings.
    """

    groups: tuple[GpuGroup, ...]
    overhead: Overhead = field(default_factory=Overhead)
    if_infeasible: IfInfeasible = IfInfeasible.WAIT
    policy: Policy = field(default_factory=lambda: Policy(offers=False))

    @property
    def gpus(self) -> int:
        """GPUs of the cluster."""
        return sum(group.gpus for group in self.groups)

    @property
    def nodes(self) -> int:
        """Nodes of the cluster."""
        return sum(group.nodes for group in self.groups)

    @property
    def gpus_per_node(self) -> int:
        """GPUs of a node of the cluster, the largest one."""
        return max(group.gpus_per_node for group in self.groups)


@dataclass(frozen=True, slots=True)
class Round:
    """A policy's answer.

    Args:
        grants: job id → share of every job that has GPUs from now on (and perhaps of others, to
            keep a schedule); a job that is not there has none.
        verdicts: job id → the answer, for jobs that were judged in this round.
        at_risk: promised jobs whose plan does not keep the promise.
        next_change: when the policy wants to be asked again at the latest, on the trace's clock.
    """

    grants: Mapping[str, Grant]
    verdicts: Mapping[str, Outcome] = field(default_factory=dict)
    next_change: float = math.inf
    at_risk: frozenset[str] = frozenset()


class SchedulingPolicy(Protocol):
    """A policy of the loop.

    Attributes:
        name: as `--policy` spells it.
        judges: whether jobs are admitted by verdict (and promised their deadline). If not, all are.
        work_conserving: whether no job waits while the idle GPUs would do for it.
        fixed_size: whether jobs run at the size that their users requested, and at no other.
    """

    name: str
    judges: bool
    work_conserving: bool
    fixed_size: bool

    def see_down(self, down: Mapping[str, float]) -> None:
        """Take note of nodes that have failed; called whenever one fails or comes back.

        Args:
            down: node → since when it is down, on the trace's clock. Nobody knows until when.
        """
        ...

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """The shares from `now` on.

        Args:
            now: seconds on the trace's clock; never goes backwards.
            jobs: the unfinished ones in order of arrival, to be read only.
        """
        ...


class CountsGpus:
    """What policies have in common that give numbers of GPUs and no blocks.

    Args:
        setup: the cluster and its rules.
    """

    def __init__(self, setup: ClusterSetup) -> None:
        self._setup = setup
        self._gpus = setup.gpus
        """GPUs of the nodes that are up."""

    def see_down(self, down: Mapping[str, float]) -> None:
        """See `SchedulingPolicy`."""
        self._gpus = self._setup.gpus - len(down) * self._setup.gpus_per_node
