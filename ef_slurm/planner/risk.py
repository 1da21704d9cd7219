"""Promises at risk: what happens when capacity is lost or a job is slower than its curve.

A plan that no longer holds is made anew beside the others. If that fails, all promises are judged
anew, one by one like newcomers, in the order that the site's policy states: nobody is given up who
could be kept beside those that come before it. Whoever then cannot be in time is planned to finish
as soon as possible, is named at risk, and never makes another one late. It is not written off:
every later plan asks anew whether it can be saved (`rescue`).

The order is for GPUs that went away, which is nobody's doing. Whoever was held or put back, or
trains more slowly than was planned, while its GPUs are all there, comes after those who were not:
what is done to one job does not cost another one its promise, unless the site wants most kept.

One GPU of two fails, and the job that ran on both gets named with its new finish:

>>> from ef_slurm.model import Block, Cluster, Job, Node, NodeGroup, Outage, Running, Standing
>>> from ef_slurm.model import ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> curve = ThroughputCurve.of({1: 1.0, 2: 2.0})
>>> job = Job("a", 0.0, 100.0, (("gpu", curve),), deadline=60.0, standing=Standing.ADMITTED,
...           running=Running(Block("gpu", ("n1",), 2), since=0.0, trains_from=0.0))
>>> failed = Cluster((NodeGroup("gpu", 2, (Node("n1", (Outage(0.0, gpus=1),)),)),))
>>> decision = plan(10.0, [job], failed, Policy()).decision("a")
>>> decision.promise, decision.finish
(<PromiseState.AT_RISK: 'at-risk'>, 110.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import itemgetter

from ef_slurm.model import Policy, RiskOrder, Schedule, is_in_time
from ef_slurm.planner.admission import lacks_gpu_time
from ef_slurm.planner.joint import replan_jointly
from ef_slurm.planner.share import least_share, soonest
from ef_slurm.planner.timeline.replay import replayed
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task

JOINT_TRIES = 4
"""Jobs at risk for which one plan makes all plans anew: a plan has only so much time."""


def revalidate(
    tasks: Iterable[Task], table: ReservationTable, now: float, committed: Mapping[str, Schedule]
) -> list[Task]:
    """Enter the plans in hand as they stand at `now`.

    Plans are entered in order of their next start, so whoever is already there keeps its place. A
    start that is late, because an end before it is, moves with it as long as the job is in time.

    Args:
        tasks: jobs with a promise.
        table: has none of them; changed.
        now: the present, seconds.
        committed: the plans in hand, by job id.

    Returns:
        The tasks whose plan does not hold any more.
    """
    infeasible: list[Task] = []
    todo = []
    for task in tasks:
        plan, finish = replayed(task, committed[task.id], now)
        task.behind = bool(plan) and not is_in_time(finish, task.deadline)
        task.set_back = _is_set_back(task, committed[task.id], finish, table, now)
        start = plan[0].start if plan else math.inf
        moves = not (plan and task.stays(plan[0]))
        todo.append((start, moves, task.order, task, plan, finish))
    # At one moment those that stay come first: they really are there, others only want to be.
    todo.sort(key=itemgetter(0, 1, 2))
    for _, moves, _, task, plan, finish in todo:
        promised_end = committed[task.id][-1].end if committed[task.id] else math.inf
        if promised_end < math.inf and not is_in_time(promised_end, task.deadline):
            # Named at risk before: nobody may push it back further. `rescue` asks for better.
            task.deadline = task.soft_deadline = max(finish, promised_end)
        if not _holds(task, plan, finish, table):
            plan, finish = _wait_for_blocks(task, plan, finish, table, now, stays=not moves)
            if not _holds(task, plan, finish, table):
                infeasible.append(task)
                continue
        table.put(task, plan, finish)
    return infeasible


def _holds(task: Task, plan: Schedule, finish: float, table: ReservationTable) -> bool:
    return bool(plan) and is_in_time(finish, task.deadline) and table.is_free(task, plan)


def _is_set_back(
    task: Task, committed: Schedule, finish: float, table: ReservationTable, now: float
) -> bool:
    """Whether a job needs more than it was given, by what befell it alone.

    For a job that holds its GPUs, less than a start costs is none: starts take longer than they
    were planned to. One that holds none though its time has come was put back.

    Args:
        committed: its plan in hand; whoever has none was held, and has lost it by that.
        finish: when it would finish by that plan.
        table: holds no plans of those that are here.
        now: the present, seconds.
    """
    if not committed:
        return True
    if committed[0].start > now and task.current is None:
        return False  # it has not come to it yet
    slack = 0.0 if task.current is None else task.start_overhead(committed[-1].gpus)
    if finish <= committed[-1].end + slack:
        return False
    left = [one.over(max(one.start, now), one.end) for one in committed if one.end > now]
    return table.is_free(task, left)


def _wait_for_blocks(
    task: Task,
    plan: Schedule,
    finish: float,
    table: ReservationTable,
    now: float,
    *,
    stays: bool,
) -> tuple[Schedule, float]:
    """The same plan, its starts moved to when those before leave the blocks.

    A job trains for a rounding, or for minutes, longer than planned: whoever comes next on its
    GPUs comes that much later.

    Args:
        stays: whether the job is on its first block already.
    """
    for index in range(len(plan)):
        if index >= len(plan):
            break  # by now it finishes before that
        if index == 0 and stays:
            continue
        one = plan[index]
        timetable = table.timetables[one.gpu_type]
        if timetable.is_free(one):
            continue
        start = max(timetable.free_since(one.first_gpu, one.gpus), now + EDGE_SECONDS)
        if not one.start < start < min(one.end, task.deadline):
            break  # that is no wait: it is planned anew
        later = (*plan[:index], one.over(start, one.end), *plan[index + 1 :])
        plan, finish = replayed(task, later, now)
    return plan, finish


def recover(
    infeasible: list[Task],
    tasks: list[Task],
    committed: Mapping[str, Schedule],
    table: ReservationTable,
    now: float,
    policy: Policy,
) -> ReservationTable:
    """Plan those whose plan does not hold, as many promises kept as the risk order allows.

    Args:
        infeasible: the answer of `revalidate`.
        tasks: all jobs with a promise.
        committed: their plans in hand, by job id.
        table: the plans that hold.
        now: the present, seconds.
        policy: the site's choices.

    Returns:
        A table with a plan for every task; those that cannot be in time finish as soon as possible.
    """
    if replan_individually(infeasible, table, now, policy.risk_order):
        return table
    orders = [policy.risk_order]
    if policy.risk_order is RiskOrder.MOST_PROMISES:
        # Cheapest first usually keeps most, not always: the others are tried as well.
        orders = list(RiskOrder)
        orders.sort(key=lambda order: order is not RiskOrder.MOST_PROMISES)
    results = [_promise_anew(tasks, committed, table, now, order) for order in orders]
    table, late = min(results, key=_harm)
    for task in late:
        replan_late(task, table, now)
    return table


def _harm(result: tuple[ReservationTable, list[Task]]) -> tuple[int, int]:
    """How many promises are not kept, and how many of those to jobs that were not set back."""
    _, late = result
    return len(late), sum(not task.set_back for task in late)


def replan_individually(
    infeasible: Iterable[Task], table: ReservationTable, now: float, order: RiskOrder
) -> bool:
    """Whether all of them are in time again beside the plans that hold; enters those that are."""
    kept = True
    for task in in_risk_order(infeasible, order):
        plan = least_share(task, table, now, task.deadline)
        if plan is None:
            kept = False
        else:
            table.put(task, plan, plan[-1].end)
    return kept


def _promise_anew(
    tasks: list[Task],
    committed: Mapping[str, Schedule],
    table: ReservationTable,
    now: float,
    order: RiskOrder,
) -> tuple[ReservationTable, list[Task]]:
    """All promises judged one by one in the stated order: (table, those that cannot be kept).

    Nobody is given up who could be kept beside all those that come before it.
    """
    table = table.blank()
    kept: list[Task] = []
    late: list[Task] = []
    for task in in_risk_order(tasks, order):
        # Cheapest first: its plan in hand, another one beside the others, then everybody anew.
        plan, finish = replayed(task, committed[task.id], now)
        if not (plan and is_in_time(finish, task.deadline) and table.is_free(task, plan)):
            plan = least_share(task, table, now, task.deadline) or ()
            finish = plan[-1].end if plan else math.inf
        if plan:
            table.put(task, plan, finish)
        else:
            fresh = _hold_all([*kept, task], committed, table, now, order)
            fresh = fresh or replan_jointly(task, kept, table, now)
            if fresh is None:
                late.append(task)
                continue
            table = fresh
        kept.append(task)
    return table, late


def _hold_all(
    tasks: list[Task],
    committed: Mapping[str, Schedule],
    table: ReservationTable,
    now: float,
    order: RiskOrder,
) -> ReservationTable | None:
    """The plans in hand of these tasks alone, and new ones for those that do not hold."""
    table = table.blank()
    infeasible = revalidate(tasks, table, now, committed)
    return table if replan_individually(infeasible, table, now, order) else None


def in_risk_order(tasks: Iterable[Task], order: RiskOrder) -> list[Task]:
    """Tasks, those whose promises are kept first at the front."""
    if order is RiskOrder.EARLIEST_SUBMITTED:
        return sorted(tasks, key=lambda task: (task.set_back, task.job.submitted, task.order))
    if order is RiskOrder.MOST_PROMISES:
        return sorted(tasks, key=lambda task: (_gpu_time(task), task.order))
    return sorted(tasks, key=lambda task: (task.set_back, task.order))


def _gpu_time(task: Task) -> float:
    if not task.sizes:
        return math.inf
    return task.job.iterations * task.sizes[0].gpus / task.sizes[0].rate


def replan_late(task: Task, table: ReservationTable, now: float) -> None:
    """Plan a job that cannot be in time for its soonest finish, which then is its deadline."""
    # Where its time limit is too short for it by now, it gets as far as that lets it.
    plan = soonest(task, table, now) or soonest(replace(task, longest=math.inf), table, now) or ()
    # From here on later plans treat this finish as a promise, so that it is not put off again.
    task.deadline = task.soft_deadline = plan[-1].end if plan else math.inf
    table.put(task, plan, task.deadline)


def rescue(
    tasks: list[Task], table: ReservationTable, now: float, policy: Policy
) -> ReservationTable:
    """Keep promises that were named at risk, as far as there is room for them by now.

    Capacity has come back, somebody has left, or the job trains faster than it did. Nobody's own
    promise, and no finish that was told to another job at risk, is given up for that.

    Args:
        tasks: all jobs with a promise.
        table: a plan for each of them.
        now: the present, seconds.
        policy: the site's choices.

    Returns:
        `table`, changed, or a new one.
    """
    late = [task for task in tasks if _is_late(task, table)]
    hopeful = []
    for task in in_risk_order(late, policy.risk_order):
        told = task.deadline, task.soft_deadline
        task.restore_deadline()
        if now <= task.latest_start + EDGE_SECONDS:
            if _saved_beside(task, table, now):
                continue
            hopeful.append(task)
        task.deadline, task.soft_deadline = told
    # One after another they all get their turn, whoever stands in front.
    first = int(now) % len(hopeful) if len(hopeful) > JOINT_TRIES else 0
    for task in (hopeful[first:] + hopeful[:first])[:JOINT_TRIES]:
        told = task.deadline, task.soft_deadline
        task.restore_deadline()
        fresh = _saved_jointly(task, tasks, table, now)
        if fresh is None:
            task.deadline, task.soft_deadline = told
        else:
            table = fresh
    return table


def _is_late(task: Task, table: ReservationTable) -> bool:
    job = task.job
    return job.deadline is not None and not is_in_time(
        table.finishes[task.id], job.deadline, job.grace
    )


def _saved_beside(task: Task, table: ReservationTable, now: float) -> bool:
    """Whether the job is in time beside all others; it has that plan then."""
    late_plan, finish = table.remove(task)
    plan = least_share(task, table, now, task.deadline)
    if plan is None:
        table.put(task, late_plan, finish)
        return False
    table.put(task, plan, plan[-1].end)
    return True


def _saved_jointly(
    task: Task, tasks: list[Task], table: ReservationTable, now: float
) -> ReservationTable | None:
    """A table in which the job is in time and all others are as good as before; None for none."""
    others = sorted((other for other in tasks if other is not task), key=lambda other: other.order)
    late_plan, finish = table.remove(task)
    fresh = None
    if not lacks_gpu_time(task, others, table, now):
        fresh = replan_jointly(task, others, table, now)
    table.put(task, late_plan, finish)
    return fresh
