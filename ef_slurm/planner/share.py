"""The minimum satisfactory share (paper section 4.1): the least that still meets a deadline.

The paper takes, for n = 1, 2, 4, ..., in every time slot the largest power of two up to n that is
free, and stops at the first n that finishes in time. Three things differ here:

* Shares are blocks at their place on a `Timetable`, so a plan that exists can be carried out.
* Every start and every change of block is *paid for* inside the plan (`Overhead`).
* Every change is a real restart on somebody's cluster, so a plan without changes is taken first:
  one block from now to the end; then one block later; then a first block for now and another to
  finish on. Forward filling: whatever is free now is used now.

"Least" is least GPU time, so where a curve is super-linear the larger size counts as the smaller.

>>> from ef_slurm.model import Cluster, Job, ThroughputCurve
>>> from ef_slurm.planner.timeline.reservation_table import Ledger
>>> from ef_slurm.planner.timeline.limits import LimitBook
>>> from ef_slurm.planner.timeline.gpu_index import lines_of
>>> from ef_slurm.planner.timeline.task import make_task
>>> lines = lines_of(Cluster.uniform(nodes=1, gpus_per_node=4))
>>> ledger = Ledger.of(lines, LimitBook(()), now=0.0)
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.6, 4: 2.4})
>>> job = Job("a", 0.0, 120.0, (("gpu", curve),), deadline=100.0)
>>> least_share(make_task(job, lines), ledger, now=0.0, deadline=100.0)
(Stretch(start=0.0, end=75.0, first=0, gpus=2, gpu_type='gpu'),)
"""

from __future__ import annotations

import math

from ef_slurm.planner.timeline.reservation_table import Ledger
from ef_slurm.planner.timeline.task import Size, Stretch, Stretches, Task
from ef_slurm.planner.timeline.timetable import EDGE, Timetable


def least_share(task: Task, ledger: Ledger, now: float, deadline: float) -> Stretches | None:
    """The plan of least GPU time that finishes a job by `deadline` in what is free, or None."""
    fast_enough = [
        size for size in task.sizes if now + task.job.iterations / size.rate <= deadline + EDGE
    ]
    if not fast_enough:
        return None
    for size in fast_enough:
        stretch = from_now(task, ledger, now, size, deadline)
        if stretch is not None:
            return (stretch,)
    for size in fast_enough:
        later = from_later(task, ledger, now, size, deadline)
        if later is not None:
            return (later,)
    return in_two(task, ledger, now, deadline)


def soonest(task: Task, ledger: Ledger, now: float) -> Stretches | None:
    """The plan that finishes a job first in what is free; None when nothing ever is."""
    found: list[Stretches] = []
    for size in task.sizes:
        for stretch in (
            from_now(task, ledger, now, size, math.inf),
            from_later(task, ledger, now, size, math.inf),
        ):
            if stretch is not None:
                found.append((stretch,))
    best = min(found, key=lambda plan: plan[-1].end, default=None)
    two = in_two(task, ledger, now, best[-1].end - 1.0 if best else math.inf)
    return two or best


def from_now(task: Task, ledger: Ledger, now: float, size: Size, deadline: float) -> Stretch | None:
    """One block from now to the end, the present one or one around or inside it if possible."""
    gpus, rate, gpu_type = size
    run = task.job.iterations / rate
    table = ledger.tables[gpu_type]
    if now + run > deadline + EDGE or table.full_now(gpus):
        return None
    held = task.held
    present: tuple[int, int] | None = None
    if held is not None and held.gpu_type == gpu_type:
        place = _near(task, table, now, size, held, deadline)
        if place is not None:
            first, end = place
            if ledger.limits.allow(task, now, end, gpus):
                return Stretch(now, end, first, gpus, gpu_type)
        if held.gpus == gpus:
            # Staying may end later than moving, where the present start is not yet paid for: the
            # bound below holds for other places only, and this one has just been refused.
            present = _present(held, table)
    end = now + task.overhead(held, gpus, gpu_type, None) + run
    if end > deadline + EDGE or not ledger.limits.allow(task, now, end, gpus):
        return None
    found = table.find_now(gpus, end, present)
    if found is None:
        return None
    end = task.trains(now, gpus, gpu_type, found) + run
    return Stretch(now, end, found, gpus, gpu_type) if end <= deadline + EDGE else None


def _near(
    task: Task, table: Timetable, now: float, size: Size, held: Stretch, deadline: float
) -> tuple[int, float] | None:
    """(first GPU, end) on the present block, inside it, or on the larger block around it.

    A job that keeps its size may also use other GPUs of its node: that is no change to it.
    """
    gpus, rate, gpu_type = size
    run = task.job.iterations / rate
    places = [*range(held.first // gpus * gpus, held.first + held.gpus, gpus)]
    if gpus == held.gpus:
        places += [first for first in range(*_present(held, table), gpus) if first != held.first]
    for first in places:
        end = task.trains(now, gpus, gpu_type, first) + run
        if (
            end <= deadline + EDGE
            and first + gpus <= table.width
            and table.free_until(first, gpus) >= end - EDGE
        ):
            return first, end
    return None


def _present(held: Stretch, table: Timetable) -> tuple[int, int]:
    """The GPUs from .. to .. (not included) on which a job of this size would not notice a move."""
    size = max(held.gpus, table.per_node)
    first = held.first // size * size
    return first, first + size


def from_later(
    task: Task, ledger: Ledger, now: float, size: Size, deadline: float
) -> Stretch | None:
    """One block from some later moment to the end, the job paused until then."""
    gpus, rate, gpu_type = size
    seconds = task.overhead(None, gpus, gpu_type, None) + task.job.iterations / rate
    if ledger.tables[gpu_type].not_before(gpus) + seconds > deadline + EDGE:
        return None
    after = now
    while after + seconds <= deadline + EDGE:
        found = ledger.tables[gpu_type].find_later(gpus, seconds, after)
        if found is None:
            return None
        start, first = found
        if start + seconds > deadline + EDGE or (start <= now and task.held is not None):
            return None
        again = ledger.limits.blocked_until(task, start, start + seconds, gpus)
        if again is None:
            return Stretch(start, start + seconds, first, gpus, gpu_type)
        if again <= after:
            return None
        after = again
    return None


def in_two(task: Task, ledger: Ledger, now: float, deadline: float) -> Stretches | None:
    """A first block for now and a second one to finish on; both changes paid for.

    The second begins when a block of its size is free for good, the first lasts until then or
    until somebody else's plan needs it.
    """
    best: Stretches | None = None
    best_cost = math.inf
    openings = [_opening(task, ledger, now, size) for size in task.sizes]
    firsts = [opening for opening in openings if opening is not None]
    if not firsts:
        return None
    for size in task.sizes:
        gpus, rate, gpu_type = size
        move = task.overhead(None, gpus, gpu_type, None)
        if ledger.tables[gpu_type].not_before(gpus) + move > deadline:
            continue
        found = ledger.tables[gpu_type].find_later(gpus, 0.0, now)
        if found is None or found[0] <= now or found[0] + move > deadline:
            continue
        start, place = found
        for stretch, trains, first_rate in firsts:
            until = min(start, stretch.end)
            done = max(0.0, until - trains) * first_rate
            left = task.job.iterations - done
            if done <= 0.0 or left <= 0.0:
                continue
            paid = task.overhead(stretch, gpus, gpu_type, place) if stretch.end >= start else move
            end = start + paid + left / rate
            cost = (until - now) * stretch.gpus + (end - start) * gpus
            if end > deadline + EDGE or cost >= best_cost:
                continue
            table = ledger.tables[gpu_type]
            plan = (
                stretch._replace(end=until),
                Stretch(start, end, place, gpus, gpu_type),
            )
            if table.is_free(start, end, place, gpus) and ledger.is_free(task, plan):
                best, best_cost = plan, cost
    return best


def _opening(
    task: Task, ledger: Ledger, now: float, size: Size
) -> tuple[Stretch, float, float] | None:
    """(stretch, when it trains, its rate) on the block of a size that is free longest from now."""
    gpus, rate, gpu_type = size
    table = ledger.tables[gpu_type]
    if table.full_now(gpus):
        return None
    held = task.held
    places = [table.longest_now(gpus)]
    if held is not None and held.gpu_type == gpu_type and held.gpus == gpus:
        places.insert(0, (table.free_until(held.first, gpus), held.first))
    for until, first in places:
        trains = task.trains(now, gpus, gpu_type, first)
        if until > trains + EDGE:
            return Stretch(now, until, first, gpus, gpu_type), trains, rate
    return None
