"""Promises at risk: what happens when capacity is lost or a job is slower than its curve.

A plan that no longer holds is made anew beside the others. If that fails, all promises are judged
anew, one by one like newcomers, in the order that the site's policy states: nobody is given up who
could be kept beside those that come before it. Whoever then cannot be in time is planned to finish
as soon as possible, is named at risk, and never makes another one late.

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

from ef_slurm.model import Policy, RiskOrder, is_in_time
from ef_slurm.planner.admission import together
from ef_slurm.planner.share import least_share, soonest
from ef_slurm.planner.timeline.reservation_table import Ledger
from ef_slurm.planner.timeline.task import Stretches, Task, replayed
from ef_slurm.planner.timeline.timetable import EDGE


def carry_on(
    tasks: Iterable[Task], ledger: Ledger, now: float, plans: Mapping[str, Stretches]
) -> list[Task]:
    """Enter the plans in hand as they stand at `now`; return the tasks whose plan does not hold.

    Plans are entered in order of their next start, so whoever is already there keeps its place. A
    start that is a little late, because a completion was, moves with it as long as it is in time.
    """
    fallen: list[Task] = []
    todo = []
    for task in tasks:
        plan, finish = replayed(task, plans[task.id], now)
        task.behind = bool(plan) and not is_in_time(finish, task.deadline)
        todo.append((plan[0].start if plan else math.inf, task.order, task, plan, finish))
    todo.sort(key=lambda item: (item[0], not _stands(item[2], item[3]), item[1]))
    for _, _, task, plan, finish in todo:
        end = plans[task.id][-1].end if plans[task.id] else math.inf
        if end < math.inf and not is_in_time(end, task.deadline):
            # Named at risk before: nobody may push it back further.
            task.deadline = task.wish = max(finish, end)
        plan, finish = _wait_for_block(task, plan, finish, ledger, now)
        if plan and is_in_time(finish, task.deadline) and ledger.is_free(task, plan):
            ledger.put(task, plan, finish)
        else:
            fallen.append(task)
    return fallen


def _stands(task: Task, plan: Stretches) -> bool:
    return bool(plan) and task.stays(plan[0])


def _wait_for_block(
    task: Task, plan: Stretches, finish: float, ledger: Ledger, now: float
) -> tuple[Stretches, float]:
    """The same plan, its start moved to when the one before has really left the block."""
    if not plan or plan[0].start > now or _stands(task, plan):
        return plan, finish
    table = ledger.tables[plan[0].gpu_type]
    if table.free_until(plan[0].first, plan[0].gpus) > now:
        return plan, finish
    start = max(table.free_since(plan[0].first, plan[0].gpus), now + EDGE)
    if start >= min(plan[0].end, task.deadline):
        return plan, finish
    return replayed(task, (plan[0]._replace(start=start), *plan[1:]), now)


def recover(
    fallen: list[Task],
    tasks: list[Task],
    in_hand: Mapping[str, Stretches],
    ledger: Ledger,
    now: float,
    policy: Policy,
) -> Ledger:
    """A ledger with a plan for every task, as many promises kept as the risk order allows."""
    if beside(fallen, ledger, now, policy.risk_order):
        return ledger
    orders = [policy.risk_order]
    if policy.risk_order is RiskOrder.MOST_PROMISES:
        orders = list(RiskOrder)
        orders.sort(key=lambda order: order is not RiskOrder.MOST_PROMISES)
    results = [_promise_anew(tasks, in_hand, ledger, now, order) for order in orders]
    ledger, late = min(results, key=lambda result: len(result[1]))
    for task in late:
        as_late(task, ledger, now)
    return ledger


def beside(fallen: Iterable[Task], ledger: Ledger, now: float, order: RiskOrder) -> bool:
    """Whether all who fell are in time again beside the plans that hold; enters those that are."""
    kept = True
    for task in in_risk_order(fallen, order):
        plan = least_share(task, ledger, now, task.deadline)
        if plan is None:
            kept = False
        else:
            ledger.put(task, plan, plan[-1].end)
    return kept


def _promise_anew(
    tasks: list[Task],
    in_hand: Mapping[str, Stretches],
    ledger: Ledger,
    now: float,
    order: RiskOrder,
) -> tuple[Ledger, list[Task]]:
    """All promises judged one by one in the stated order: (ledger, those that cannot be kept).

    Nobody is given up who could be kept beside all those that come before it.
    """
    ledger = ledger.blank()
    kept: list[Task] = []
    late: list[Task] = []
    for task in in_risk_order(tasks, order):
        plan, finish = replayed(task, in_hand[task.id], now)
        if not (plan and is_in_time(finish, task.deadline) and ledger.is_free(task, plan)):
            plan = least_share(task, ledger, now, task.deadline) or ()
            finish = plan[-1].end if plan else math.inf
        if plan:
            ledger.put(task, plan, finish)
        else:
            fresh = _all_of([*kept, task], in_hand, ledger, now, order)
            fresh = fresh or together(task, kept, ledger, now)
            if fresh is None:
                late.append(task)
                continue
            ledger = fresh
        kept.append(task)
    return ledger, late


def _all_of(
    tasks: list[Task],
    in_hand: Mapping[str, Stretches],
    ledger: Ledger,
    now: float,
    order: RiskOrder,
) -> Ledger | None:
    """The plans in hand of these tasks alone, and new ones for those that do not hold."""
    ledger = ledger.blank()
    fallen = carry_on(tasks, ledger, now, in_hand)
    return ledger if beside(fallen, ledger, now, order) else None


def in_risk_order(tasks: Iterable[Task], order: RiskOrder) -> list[Task]:
    """Tasks, those whose promises are kept first at the front."""
    if order is RiskOrder.EARLIEST_SUBMITTED:
        return sorted(tasks, key=lambda task: (task.job.submitted, task.order))
    if order is RiskOrder.MOST_PROMISES:
        return sorted(tasks, key=lambda task: (_gpu_time(task), task.order))
    return sorted(tasks, key=lambda task: task.order)


def _gpu_time(task: Task) -> float:
    if not task.sizes:
        return math.inf
    return task.job.iterations * task.sizes[0].gpus / task.sizes[0].rate


def as_late(task: Task, ledger: Ledger, now: float) -> None:
    """Plan a job that cannot be in time for its soonest finish, which then is its deadline."""
    plan = soonest(task, ledger, now) or ()
    task.deadline = task.wish = plan[-1].end if plan else math.inf
    ledger.put(task, plan, task.deadline)
