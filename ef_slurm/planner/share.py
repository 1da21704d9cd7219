"""The minimum satisfactory share (paper section 4.1): the least that still meets a deadline.

The paper takes, for n = 1, 2, 4, ..., in every time slot the largest power of two up to n that is
free, and stops at the first n that finishes in time. Three things differ here:

* Shares are blocks at their place on a `Timetable`, so a plan that exists can be carried out.
* Every start and every change of block is *paid for* inside the plan (`Overhead`).
* Every change interrupts somebody's training, so a plan without changes is taken first:
  one block from now to the end; then one block later; then a first block for now and another to
  finish on. Forward filling: whatever is free now is used now.

"Least" is least GPU time, so where a curve is super-linear the larger size counts as the smaller.

>>> from ef_slurm.model import Cluster, Job, ThroughputCurve
>>> from ef_slurm.planner.timeline.reservation_table import ReservationTable
>>> from ef_slurm.planner.timeline.limits import LimitBook
>>> from ef_slurm.planner.timeline.gpu_index import index_spaces
>>> from ef_slurm.planner.timeline.task import make_task
>>> spaces = index_spaces(Cluster.uniform(nodes=1, gpus_per_node=4))
>>> table = ReservationTable.of(spaces, LimitBook(()), now=0.0)
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.6, 4: 2.4})
>>> job = Job("a", 0.0, 120.0, (("gpu", curve),), deadline=100.0)
>>> least_share(make_task(job, spaces), table, now=0.0, deadline=100.0)
(Reservation(start=0.0, end=75.0, gpus=2, gpu_type='gpu', first_gpu=0),)
"""

from __future__ import annotations

import math

from ef_slurm.model import Reservation, Schedule
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.scaling import Size
from ef_slurm.planner.timeline.task import Task
from ef_slurm.planner.timeline.timetable import Timetable


def least_share(
    task: Task, table: ReservationTable, now: float, deadline: float
) -> Schedule | None:
    """The plan of least GPU time that finishes a job by `deadline` in what is free, or None.

    No node is woken where one that is up will do.
    """
    if task.wakes:
        awake = task.awake()
        plan = None if awake is None else least_share(awake, table, now, deadline)
        if plan is not None:
            return plan
    begin = task.earliest(now)
    latest_end = deadline + EDGE_SECONDS
    fast_enough = [trial for trial in task.trials if begin + trial[2] <= latest_end]
    # A plan of two reservations may use slower sizes too, but not only such.
    if not fast_enough:
        return None
    # What the tables know without a search rules most sizes out on a full cluster.
    timetables = table.timetables
    held = task.current is not None
    for size, level, run, change, _ in fast_enough if begin <= now else ():
        until = timetables[size.gpu_type].latest_until[level]
        latest = now + change + run
        if until <= now or (not held and (latest > latest_end or latest - EDGE_SECONDS > until)):
            continue
        reservation = from_now(task, table, now, size, deadline)
        if reservation is not None:
            return (reservation,)
    for size, level, run, _, start in fast_enough:
        not_before = timetables[size.gpu_type].earliest_since[level]
        if begin <= now and not_before + (start + run) > latest_end:
            continue
        later = from_later(task, table, now, size, deadline)
        if later is not None:
            return (later,)
    return in_two(task, table, now, deadline)


def soonest(task: Task, table: ReservationTable, now: float) -> Schedule | None:
    """The plan that finishes a job first in what is free; None when nothing ever is."""
    found: list[Schedule] = []
    awake = task.awake()
    if awake is not None:
        without = soonest(awake, table, now)
        found += [] if without is None else [without]
    for size in task.sizes:
        for reservation in (
            from_now(task, table, now, size, math.inf),
            from_later(task, table, now, size, math.inf),
        ):
            if reservation is not None:
                found.append((reservation,))
    best = min(found, key=lambda plan: plan[-1].end, default=None)
    # A second change has to be worth a second at least.
    two = in_two(task, table, now, best[-1].end - 1.0 if best else math.inf)
    return two or best


def from_now(
    task: Task, table: ReservationTable, now: float, size: Size, deadline: float
) -> Reservation | None:
    """One block from now to the end, the present one or one around or inside it if possible."""
    gpus, rate, gpu_type = size
    run = task.job.iterations / rate
    deadline = min(deadline, now + task.longest)
    timetable = table.timetables[gpu_type]
    if now + run > deadline + EDGE_SECONDS or timetable.full_now(gpus) or task.earliest(now) > now:
        return None
    current = task.current
    present: tuple[int, int] | None = None
    if current is not None and current.gpu_type == gpu_type:
        place = _near(task, timetable, now, size, current, deadline)
        if place is not None:
            first, end = place
            if table.limits.allow(task, now, end, gpus, gpu_type):
                return Reservation(now, end, gpus, gpu_type, first)
        if current.gpus == gpus:
            # Staying may end later than moving, where the present start is not paid for yet: the
            # bound below holds for other places only, and this one has just been refused.
            present = _present_place(current, timetable)
    # The block is searched for with the latest end that it may have; its own may be sooner.
    latest = now + task.overhead(current, gpus, gpu_type) + run
    if latest > deadline + EDGE_SECONDS or not table.limits.allow(
        task, now, latest, gpus, gpu_type
    ):
        return None
    found = timetable.find_now(gpus, latest, present, task.barred.get(gpu_type))
    if found is None:
        return None
    return Reservation(now, task.trains(now, gpus, gpu_type, found) + run, gpus, gpu_type, found)


def _near(
    task: Task, timetable: Timetable, now: float, size: Size, current: Reservation, deadline: float
) -> tuple[int, float] | None:
    """(first GPU, end) on the present block, inside it, or on the larger block around it.

    A job that keeps its size may also use other GPUs of its node: that is no change to it.
    """
    gpus, rate, gpu_type = size
    run = task.job.iterations / rate
    here = current.first_gpu
    places = [*range(here // gpus * gpus, here + current.gpus, gpus)]
    if gpus == current.gpus:
        present = range(*_present_place(current, timetable), gpus)
        places += [first for first in present if first != here]
    for first in places:
        end = task.trains(now, gpus, gpu_type, first) + run
        if (
            end <= deadline + EDGE_SECONDS
            and first + gpus <= timetable.width
            and task.may_use(gpu_type, first, gpus)
            and timetable.free_until(first, gpus) >= end - EDGE_SECONDS
        ):
            return first, end
    return None


def _present_place(current: Reservation, timetable: Timetable) -> tuple[int, int]:
    """The GPUs on which a job of this size would not notice a move: first, and one past the last.

    Its block, or all of its node where the block is smaller.
    """
    size = max(current.gpus, timetable.per_node)
    first = current.first_gpu // size * size
    return first, first + size


def from_later(
    task: Task, table: ReservationTable, now: float, size: Size, deadline: float
) -> Reservation | None:
    """One block from some later moment to the end, the job paused until then."""
    gpus, rate, gpu_type = size
    timetable = table.timetables[gpu_type]
    seconds = task.overhead(None, gpus, gpu_type) + task.job.iterations / rate
    begin = task.earliest(now)
    if begin > now:
        gap = _at_begin(task, table, begin, seconds, size, deadline)
        if gap is not None:
            return gap
    if timetable.not_before(gpus) + seconds > deadline + EDGE_SECONDS:
        return None
    if seconds > task.longest + EDGE_SECONDS:
        return None
    after = begin
    while after + seconds <= deadline + EDGE_SECONDS:
        found = timetable.find_later(gpus, seconds, after, task.barred.get(gpu_type))
        if found is None:
            return None
        start, first = found
        # To begin now is `from_now`'s business: a job that holds GPUs pays for another change.
        begins_now = start <= now and task.current is not None
        if start + seconds > deadline + EDGE_SECONDS or begins_now:
            return None
        again = table.limits.blocked_until(task, start, start + seconds, gpus, gpu_type)
        if again is None:
            return Reservation(start, start + seconds, gpus, gpu_type, first)
        if again <= after or again == math.inf:
            return None
        after = again
    return None


def _at_begin(
    task: Task,
    table: ReservationTable,
    begin: float,
    seconds: float,
    size: Size,
    deadline: float,
) -> Reservation | None:
    """One block from the moment at which the job may begin, a gap between others' plans too."""
    gpus, _, gpu_type = size
    end = begin + seconds
    if end > min(deadline, begin + task.longest) + EDGE_SECONDS:
        return None
    if not table.limits.allow(task, begin, end, gpus, gpu_type):
        return None
    found = table.timetables[gpu_type].find_at(gpus, begin, end, task.barred.get(gpu_type))
    return None if found is None else Reservation(begin, end, gpus, gpu_type, found)


def in_two(task: Task, table: ReservationTable, now: float, deadline: float) -> Schedule | None:
    """A first block for now and a second one to finish on; both changes paid for.

    The second begins when a block of its size is free for good, the first lasts until then or
    until somebody else's plan needs it. Of all pairs the one of least GPU time.
    """
    best: Schedule | None = None
    best_cost = math.inf
    if task.earliest(now) > now:
        return None
    deadline = min(deadline, now + task.longest)
    firsts = [first for size in task.sizes for first in _openings(task, table, now, size)]
    if not firsts:
        return None
    for gpus, rate, gpu_type in task.sizes:
        timetable = table.timetables[gpu_type]
        start_cost = task.overhead(None, gpus, gpu_type)
        # Cheap before exact: a bound that is known, then one search, then pairs.
        if timetable.not_before(gpus) + start_cost > deadline:
            continue
        found = timetable.find_later(gpus, 0.0, now, task.barred.get(gpu_type))
        if found is None or found[0] <= now or found[0] + start_cost > deadline:
            continue
        start, place = found
        second = Reservation(start, math.inf, gpus, gpu_type, place)
        for opening, trains, opening_rate in firsts:
            until = min(start, opening.end)
            done = max(0.0, until - trains) * opening_rate
            left = task.job.iterations - done
            if done <= 0.0 or left <= 0.0:
                continue
            # After a gap the job is started again; without one it changes its block.
            paid = task.overhead_at(opening, second) if opening.end >= start else start_cost
            end = start + paid + left / rate
            cost = (until - now) * opening.gpus + (end - start) * gpus
            if end > deadline + EDGE_SECONDS or cost >= best_cost:
                continue
            plan = (opening.over(now, until), second.over(start, end))
            if table.is_free(task, plan):
                best, best_cost = plan, cost
    return best


def _openings(
    task: Task, table: ReservationTable, now: float, size: Size
) -> list[tuple[Reservation, float, float]]:
    """(reservation, when it trains, its rate) on the block that is free longest from now on.

    Where it is a job pays nothing: that comes first even if it is free for less long. Where it
    keeps its nodes it may pay less than elsewhere: that is another way to begin.
    """
    gpus, rate, gpu_type = size
    timetable = table.timetables[gpu_type]
    if timetable.full_now(gpus):
        return []
    current = task.current
    places = [timetable.longest_now(gpus, task.barred.get(gpu_type))]
    if current is not None and current.gpu_type == gpu_type and current.gpus == gpus:
        here = current.first_gpu
        if task.may_use(gpu_type, here, gpus):
            places.insert(0, (timetable.free_until(here, gpus), here))
    found = []
    for until, first in places:
        trains = task.trains(now, gpus, gpu_type, first)
        if until > trains + EDGE_SECONDS:
            found.append((Reservation(now, until, gpus, gpu_type, first), trains, rate))
            break
    behind = task.place_behind(gpus, gpu_type)
    if behind is not None and behind != places[0][1]:
        trains = task.trains(now, gpus, gpu_type, behind)
        until = timetable.free_until(behind, gpus)
        sooner = not found or trains < found[0][1]
        if sooner and until > trains + EDGE_SECONDS:
            found.append((Reservation(now, until, gpus, gpu_type, behind), trains, rate))
    return found
