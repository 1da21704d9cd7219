"""Moving others to free a block (paper section 4.3: migration when a buddy block is not free).

Free GPUs may be scattered so that no aligned block of the wanted size is free although there are
GPUs enough. `buddy.place` then names the running jobs whose move costs least in all. A move is a
change that the moved job pays for, so only a job may be moved whose plan is in time even after it,
and the result counts only if every plan, with the moves paid, fits on the timetable.

Two nodes of 2 GPUs, each half taken. `c` needs two GPUs at once, so `a` moves to the other node:

>>> from ef_slurm.model import Block, Cluster, Job, Policy, Running, Standing, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> def running(name, node):
...     return Job(name, 0.0, 50.0, (("gpu", ThroughputCurve.of({1: 1.0})),), deadline=99.0,
...                standing=Standing.ADMITTED,
...                running=Running(Block("gpu", (node,), 1), since=0.0, trains_from=0.0))
>>> wide = Job("c", 0.0, 40.0, (("gpu", ThroughputCurve.of({2: 1.0})),), deadline=45.0)
>>> jobs = [running("a", "n1"), running("b", "n2"), wide]
>>> answer = plan(0.0, jobs, Cluster.uniform(nodes=2, gpus_per_node=2), Policy())
>>> [(d.job_id, d.block.nodes, d.reason.code.value) for d in answer.decisions]
[('a', ('n2',), 'migrated'), ('b', ('n2',), 'kept'), ('c', ('n1',), 'started')]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ef_slurm.model import Reservation, Schedule
from ef_slurm.planner.placement.buddy import Placement, place
from ef_slurm.planner.placement.occupancy import Request, Tenant
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.scaling import Size
from ef_slurm.planner.timeline.task import Task

_NEWCOMER = ""
"""Stands for whoever asks: no job has an empty id."""


class Moves:
    """Whether others could move for a newcomer, for all who ask beside the same plans.

    Where everybody is, what a move would cost them and where a block of a size could be made are
    the same for all who ask.

    Args:
        others: the jobs with a promise.
        table: their plans.
        now: the present, seconds.
    """

    def __init__(self, others: Sequence[Task], table: ReservationTable, now: float) -> None:
        self._table = table
        self._now = now
        self._standing: dict[str, dict[str, tuple[Task, Reservation]]] = {}
        for task in others:
            one = table.now_on(task, now)
            if one is not None:
                self._standing.setdefault(one.gpu_type, {})[task.id] = task, one
        self._free = {
            kind: space.width - sum(one.gpus for _, one in self._standing.get(kind, {}).values())
            for kind, space in table.spaces.items()
        }
        self._tenants: dict[str, list[Tenant]] = {}
        self._placements: dict[tuple[str, int], Placement] = {}

    def admit(self, newcomer: Task, *, only_ask: bool = False) -> bool:
        """Start the newcomer now on the least size that is in time, moving others for it.

        Enters all plans into the table and says True, or leaves it as it was; with `only_ask` it
        leaves it as it was in any case.
        """
        now = self._now
        if newcomer.earliest(now) > now:
            return False
        for size in newcomer.sizes:
            # Placement is the expensive part: a count rules most sizes out on a full cluster.
            if self._free[size.gpu_type] < size.gpus:
                continue
            # It may run already: without a promise, or while it was measured.
            end = now + newcomer.overhead(newcomer.current, size.gpus, size.gpu_type)
            end += newcomer.job.iterations / size.rate
            if end > _latest_end(newcomer, now):
                continue
            if not self._table.limits.allow(newcomer, now, end, size.gpus, size.gpu_type):
                continue
            plans = self._plans(newcomer, size, end)
            if plans is not None and _replace_plans(plans, self._table, only_ask):
                return True
        return False

    def _plans(self, newcomer: Task, size: Size, end: float) -> list[tuple[Task, Schedule]] | None:
        """Plans of whoever moves and of the newcomer; None for none.

        Args:
            end: until when it needs a block of that size, wherever it is.
        """
        now, space = self._now, self._table.spaces[size.gpu_type]
        placement = self._placement(size, end)
        if placement.unplaced:
            return None
        plans: list[tuple[Task, Schedule]] = []
        for job_id in placement.migrated:
            task, old = self._standing[size.gpu_type][job_id]
            first = space.first_gpu(placement.blocks[job_id])
            if first is None or first % old.gpus:
                return None
            moved = Reservation(now, math.inf, old.gpus, old.gpu_type, first)
            finish = now + task.overhead_at(task.current, moved)
            finish += task.job.iterations / task.rate(moved)
            plans.append((task, (moved.over(now, finish),)))
        first = space.first_gpu(placement.blocks[_NEWCOMER])
        if first is None or first % size.gpus:
            return None
        finish = newcomer.trains(now, size.gpus, size.gpu_type, first)
        finish += newcomer.job.iterations / size.rate
        if finish > _latest_end(newcomer, now):  # it stays, and its start is not paid for yet
            return None
        plans.append((newcomer, (Reservation(now, finish, size.gpus, size.gpu_type, first),)))
        return plans

    def _placement(self, size: Size, end: float) -> Placement:
        """Where a block of a size could be made by moves, for somebody who leaves it at `end`."""
        kind, now = size.gpu_type, self._now
        known = self._placements.get((kind, size.gpus))
        if known is not None:
            return known
        space = self._table.spaces[kind]
        if kind not in self._tenants:
            self._tenants[kind] = [
                Tenant(
                    task.id,
                    space.block(one.first_gpu, one.gpus),
                    _move_cost(task, self._table, now),
                )
                for task, one in self._standing.get(kind, {}).values()
            ]
        request = Request(_NEWCOMER, size.gpus, until=end)
        placement = place(space.group, now, self._tenants[kind], [request])
        if not any(node.outages for node in space.group.nodes):
            # Only an outage to come makes a difference between those who leave sooner or later.
            self._placements[kind, size.gpus] = placement
        return placement


def _latest_end(task: Task, now: float) -> float:
    """Until when a plan that begins now may last."""
    return min(task.deadline, now + task.longest) + EDGE_SECONDS


def _move_cost(task: Task, table: ReservationTable, now: float) -> float:
    """Seconds that a move costs a job; infinite for one that it would make late."""
    plan = table.plans[task.id]
    reservation = plan[0]
    # Who changes now or later anyway has a plan that a move would upset.
    if len(plan) > 1 or not task.stays(reservation):
        return math.inf
    cost = task.overhead(task.current, reservation.gpus, reservation.gpu_type)
    rate = task.rate(reservation)
    if rate <= 0 or now + cost + task.job.iterations / rate > task.deadline:
        return math.inf
    return cost


def _replace_plans(
    plans: list[tuple[Task, Schedule]], table: ReservationTable, only_ask: bool
) -> bool:
    """Enter plans instead of those that these tasks have: all of them, or none."""
    before = [(task, *table.remove(task)) for task, _ in plans if task.id in table.plans]
    entered: list[Task] = []
    for task, plan in plans:
        if not table.is_free(task, plan):
            break
        table.put(task, plan, plan[-1].end)
        entered.append(task)
    fits = len(entered) == len(plans)
    if fits and not only_ask:
        return True
    for task in entered:
        table.remove(task)
    for task, schedule, finish in before:
        table.put(task, schedule, finish)
    return fits
