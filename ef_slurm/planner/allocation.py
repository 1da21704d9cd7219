"""Allocation (paper section 4.2, Algorithm 2): left-over GPUs go where one more saves most.

After admission everybody has a plan that keeps its promise. What is then free goes, one size up at
a time, to the job with the highest *marginal return*: the work gained per GPU added, counted in
what one GPU does alone. A job grows by getting a new complete plan, so growth never endangers a
promise, its own or another's.

Every change of a running job is a restart, so it must pay: the job must finish earlier by
`Policy.growth_gain` times the overhead on top of the overhead itself, and by the fraction
`Policy.min_speedup` of what remains; and not sooner than `Policy.min_reshape_interval` after the
last one. A job that starts or moves at this moment anyway takes the larger size without a further
restart.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from ef_slurm.model import Policy
from ef_slurm.planner.capacity import EDGE
from ef_slurm.planner.ledger import Ledger
from ef_slurm.planner.share import from_now
from ef_slurm.planner.task import Stretches, Task

_Entry = tuple[float, tuple[float, float, str], int, str]


def allocate(tasks: Iterable[Task], ledger: Ledger, now: float, policy: Policy) -> None:
    """Improve the plans in `ledger` with what is free, best return first."""
    if not _anything_free(ledger, now):
        return
    by_id = {task.id: task for task in tasks}
    heap = [entry for task in by_id.values() for entry in _steps(task, ledger, now)]
    heapq.heapify(heap)
    while heap:
        _, _, gpus, key = heapq.heappop(heap)
        task = by_id[key]
        better = _better(task, ledger, now, gpus, policy)
        if better is None:
            continue
        ledger.remove(task)
        ledger.put(task, better, better[-1].end)
        for entry in _steps(task, ledger, now):
            heapq.heappush(heap, entry)


def _anything_free(ledger: Ledger, now: float) -> bool:
    return any(table.longest_now(1)[0] > now for table in ledger.tables.values())


def _steps(task: Task, ledger: Ledger, now: float) -> list[_Entry]:
    """The next sizes up of a job, as heap entries: the highest marginal return first."""
    here = ledger.now_on(task, now)
    entries: list[_Entry] = []
    for gpu_type, curve in task.envelopes.items():
        if here is not None and here.gpu_type != gpu_type:
            continue
        gpus = here.gpus if here is not None else 0
        step = curve.above(gpus)
        if step is not None:
            entries.append((-curve.marginal_return(gpus, step[0]), task.order, step[0], task.id))
    return entries


def _better(
    task: Task, ledger: Ledger, now: float, gpus: int, policy: Policy
) -> Stretches | None:
    """A complete plan that begins now on `gpus` GPUs or, if that alone does not pay, more."""
    here = ledger.now_on(task, now)
    finish = ledger.finishes[task.id]
    for size in sorted(task.sizes, key=lambda size: size.gpus):
        if size.gpus < gpus or (here is not None and size.gpu_type != here.gpu_type):
            continue
        paid = 0.0
        if here is not None and task.held is not None and here.same_block(task.held):
            if now - task.job.last_reshape < policy.min_reshape_interval:
                return None
            paid = task.overhead(task.held, size.gpus, size.gpu_type, None)
        end = now + task.overhead(task.held, size.gpus, size.gpu_type, None)
        end += task.job.iterations / size.rate
        saved = finish - end
        if saved <= EDGE or saved < policy.growth_gain * paid:
            continue
        if here is not None and saved < policy.min_speedup * (finish - now):
            continue
        old, old_finish = ledger.remove(task)
        stretch = from_now(task, ledger, now, size, task.deadline)
        ledger.put(task, old, old_finish)
        return None if stretch is None else (stretch,)
    return None
