"""Gandiva's time slicing (Xiao et al., OSDI 2018), as in the published comparison.

Jobs of one requested size form a class and share the class's part of the cluster in turns of 60 s.
The cluster is divided among the classes in proportion to their demand (jobs × size); what a class
cannot use in one turn for want of whole slots is credited to its next. Fixed sizes; deadlines play
no part. Packing several jobs on one GPU and grow-shrink are left out, as in that comparison.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from ef_slurm.simulator.policies.base import Round, Setting
from ef_slurm.simulator.policies.fixed import arrival_order, requested
from ef_slurm.simulator.state import Grant, Run

SLICE_SECONDS = 60.0


class Gandiva:
    """See the module."""

    name = "gandiva"
    judges = False
    work_conserving = False
    fixed_size = True

    def __init__(self, setting: Setting) -> None:
        self._gpus = setting.gpus
        self._credit: dict[int, float] = defaultdict(float)
        self._last_turn: dict[str, float] = {}
        self._slice_end = -math.inf

    def decide(self, now: float, runs: Sequence[Run]) -> Round:
        """See `SchedulingPolicy`."""
        classes: dict[int, list[Run]] = defaultdict(list)
        for run in sorted(runs, key=arrival_order):
            if requested(run) <= self._gpus:
                classes[requested(run)].append(run)
        demand = {size: size * len(members) for size, members in classes.items()}
        if sum(demand.values()) <= self._gpus:
            self._credit.clear()
            return Round({r.job.id: Grant(size) for size, rs in classes.items() for r in rs})
        fresh = now >= self._slice_end
        if fresh:
            self._slice_end = now + SLICE_SECONDS
            self._add_credit(demand)
        grants = self._turns(now, classes, keep=not fresh)
        return Round(grants, next_change=self._slice_end)

    def _add_credit(self, demand: dict[int, int]) -> None:
        """Credits every class with its part of the cluster for one slice."""
        total = sum(demand.values())
        for size in [size for size in self._credit if size not in demand]:
            del self._credit[size]
        for size, wanted in demand.items():
            part = min(self._gpus * wanted / total, float(wanted))
            self._credit[size] = min(self._credit[size] + part, float(max(self._gpus, size)))

    def _turns(
        self, now: float, classes: dict[int, list[Run]], *, keep: bool
    ) -> dict[str, Grant]:
        """Whose turn it is: inside a slice the jobs that have it keep it."""
        free = self._gpus
        grants: dict[str, Grant] = {}
        by_need = sorted(classes, key=lambda size: (-self._credit[size] / size, -size))
        if keep:
            for size in by_need:
                for run in classes[size]:
                    if run.gpus:
                        grants[run.job.id] = Grant(size)
                        free -= size
        spend = not keep
        for rich_only in (True, False):
            for size in by_need:
                waiting = [run for run in classes[size] if run.job.id not in grants]
                waiting.sort(key=lambda run: self._last_turn.get(run.job.id, -math.inf))
                for run in waiting:
                    if size > free or (spend and rich_only and self._credit[size] < size):
                        break
                    grants[run.job.id] = Grant(size)
                    self._last_turn[run.job.id] = now
                    free -= size
                    if spend:
                        self._credit[size] -= size
        return grants
