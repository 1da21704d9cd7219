"""Allocation (paper section 4.2, Algorithm 2): left-over GPUs go where one more saves most.

After admission everybody has a plan that keeps its promise. What is then free goes, one size up at
a time, to the job with the highest *marginal return*: the work gained per GPU added, counted in
what one GPU does alone. A job grows by getting a new complete plan, so growth never endangers a
promise, its own or another's.

Every change of a running job costs it training time, so it must pay: the job must finish earlier by
`Policy.growth_gain` times the overhead on top of the overhead itself, and by the fraction
`Policy.min_speedup` of what remains; and not sooner than `Policy.min_reshape_interval` after the
last one. What it costs depends on the block: to whole nodes behind those that the job keeps it may
be less than to others. A job that starts or moves at this moment anyway pays for that change only,
whatever size it takes.

A job that stands on more GPUs than where its curve peaks, because the curve was learned to fall
since it grew, steps back to its peak and leaves the rest to others.

Four GPUs, two jobs that need one each to be in time. `a` gains 1.0 from its second GPU, `b` only
0.2; after that `a` gains 0.7 per GPU from two more, but only one is left: `b` takes it.

>>> from ef_slurm.model import Cluster, Job, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> steep = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 3.4})
>>> flat = ThroughputCurve.of({1: 1.0, 2: 1.2})
>>> jobs = [Job("a", 0.0, 100.0, (("gpu", steep),), deadline=100.0),
...         Job("b", 0.0, 100.0, (("gpu", flat),), deadline=100.0)]
>>> answer = plan(0.0, jobs, Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
>>> [decision.gpus for decision in answer.decisions]
[2, 2]
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from ef_slurm.model import Policy, Reservation, Schedule
from ef_slurm.planner.share import from_now
from ef_slurm.planner.timeline.replay import replayed
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.scaling import Size
from ef_slurm.planner.timeline.task import Order, Task

WORTH_SECONDS = 30.0
"""What a change has to be worth although it costs less, where another kind of it would cost that.

A change is never quite free: others wait for Slurm meanwhile, and what was to be done while the job
trains may end in a requeue. So jobs whose changes are cheap are not changed more often than others.
"""

_Entry = tuple[float, Order, int, str, str]
"""(minus the marginal return, order, GPUs, GPU type, job id): a min-heap pops the best first."""


def allocate(tasks: Iterable[Task], table: ReservationTable, now: float, policy: Policy) -> None:
    """Improve the plans in `table` with what is free, best return first."""
    by_id = {task.id: task for task in tasks if task.earliest(now) <= now}
    for task in by_id.values():
        here = table.now_on(task, now)
        if here is not None and task.is_beyond_peak(here):
            _step_back(task, here, table, now, policy)
    # On a full cluster nobody can grow: the common case under load.
    if not _anything_free(table, now):
        return
    heap = [entry for task in by_id.values() for entry in _steps(task, table, now)]
    heapq.heapify(heap)
    while heap:
        _, _, gpus, gpu_type, key = heapq.heappop(heap)
        task = by_id[key]
        better = _better(task, table, now, gpus, gpu_type, policy)
        if better is None:
            continue  # what is free only gets less, so it need not be asked again
        table.remove(task)
        table.put(task, *better)
        for entry in _steps(task, table, now):
            heapq.heappush(heap, entry)


def _step_back(
    task: Task, here: Reservation, table: ReservationTable, now: float, policy: Policy
) -> None:
    """Go back to the peak where a smaller size trains as fast as the present one."""
    sizes = task.envelopes[here.gpu_type].sizes
    peak = max((gpus for gpus, _ in sizes if gpus <= here.gpus), default=here.gpus)
    if peak == here.gpus or task.rate_at(peak, here.gpu_type) <= 0.0:
        return
    size = Size(peak, task.rate_at(peak, here.gpu_type), here.gpu_type)
    old, finish = table.remove(task)
    found = from_now(task, table, now, size, task.deadline)
    if found is not None:
        paid = task.overhead_at(task.current, found)
        # Late by what the change costs, it still leaves GPUs to others, who gain from them.
        if found.end <= finish or paid <= policy.min_speedup * (found.end - now):
            table.put(task, (found,), found.end)
            return
    table.put(task, old, finish)


def _anything_free(table: ReservationTable, now: float) -> bool:
    return any(timetable.longest_now(1)[0] > now for timetable in table.timetables.values())


def _steps(task: Task, table: ReservationTable, now: float) -> list[_Entry]:
    """The next sizes up of a job, as heap entries: the highest marginal return first."""
    here = table.now_on(task, now)
    entries: list[_Entry] = []
    for gpu_type, curve in task.envelopes.items():
        if here is not None and here.gpu_type != gpu_type:
            continue  # to change the type is no step up: returns of two types do not compare
        gpus = here.gpus if here is not None else 0
        step = curve.step(gpus)
        if step is not None:
            entries.append((-step[1], task.order, step[0], gpu_type, task.id))
    return entries


def _better(
    task: Task, table: ReservationTable, now: float, gpus: int, gpu_type: str, policy: Policy
) -> tuple[Schedule, float] | None:
    """A complete plan that begins now on `gpus` GPUs or, if that does not pay, on more of them."""
    here = table.now_on(task, now)
    old, finish = table.plans[task.id], table.finishes[task.id]
    timetable, iterations = table.timetables[gpu_type], task.job.iterations
    if here is not None and finish < math.inf:
        # On a busy cluster nobody who runs finds a larger block that is free for long enough.
        until = timetable.most_until(gpus, old)
        if until < now + iterations / task.corners[-1][0] - EDGE_SECONDS:
            return None
    # Only a job that would stay where it is pays for growing; any other pays for its change anyway.
    settled = here is not None and task.stays(here)
    if settled and now - task.job.last_reshape < policy.min_reshape_interval:
        return None
    expected_finish = _expected_finish(task, old, finish, now)
    for larger, expected_rate in task.envelopes[gpu_type].sizes:
        # Whether it pays is asked of the expected rates; the plan itself counts on promised ones.
        size = Size(larger, task.rate_at(larger, gpu_type), gpu_type)
        if larger < gpus or size.rate <= 0.0:
            continue
        # Its block is not known yet, and so neither is the kind of change that it would be.
        hoped, run = task.hoped_overhead(larger, gpu_type), iterations / expected_rate
        saved, remaining = expected_finish - (now + hoped + run), expected_finish - now
        reserve = _reserve_of(task, larger, gpu_type) if settled else 0.0
        if not _pays(saved - reserve, hoped + reserve if settled else 0.0, remaining, policy):
            continue
        until = timetable.most_until(larger, old)
        if until <= now or _too_short(task, now, size, old, finish, until, policy):
            return None
        # Its own GPUs are free to it while it looks for more.
        table.remove(task)
        reservation = from_now(task, table, now, size, task.deadline)
        found: tuple[Schedule, float] | None = None
        paid = 0.0 if reservation is None else task.overhead_at(task.current, reservation)
        if reservation is not None and paid > hoped:
            saved = expected_finish - (now + paid + run)
            reserve = _reserve(task, task.current, reservation) if settled else 0.0
            if not _pays(saved - reserve, paid + reserve if settled else 0.0, remaining, policy):
                reservation = None
        if reservation is not None:
            found = (reservation,), reservation.end
        elif finish < math.inf:
            found = _temporary_growth(task, table, now, size, old, finish, policy)
        else:
            found = _run_until_reclaimed(task, table, now, size, old, policy)
        table.put(task, old, finish)
        return found
    return None


def _too_short(
    task: Task,
    now: float,
    size: Size,
    old: Schedule,
    finish: float,
    until: float,
    policy: Policy,
) -> bool:
    """Whether a block that is free until `until` at the most is of no use; a first, cheap look."""
    iterations = task.job.iterations
    if finish == math.inf or until >= now + iterations / size.rate - EDGE_SECONDS:
        return False
    # It will not do to the end. Whoever is to start later may use it until then.
    until = min(until, old[0].start)
    if until <= now + EDGE_SECONDS:
        return True
    if len(old) > 1:
        return False
    usual, larger = task.rate(old[0]), size.rate
    least_finish = old[0].start + (iterations - (until - now) * larger) / usual
    saved = finish - least_finish
    if task.job.growth_curves:
        known = task.envelopes[size.gpu_type]
        usual, larger = _expected_rate(task, old[0]), known.rate(size.gpus)
        saved = (until - now) * (larger / usual - 1.0) if usual > 0 else 0.0
    return not _pays(saved + EDGE_SECONDS, 0.0, finish - now, policy)


def _expected_finish(task: Task, plan: Schedule, finish: float, now: float) -> float:
    """When a plan that counts on the promised rates is expected to finish the job."""
    if not task.job.growth_curves or not plan or finish == math.inf:
        return finish
    expected, promised = _expected_rate(task, plan[-1]), task.rate(plan[-1])
    return now + (finish - now) * min(1.0, promised / expected) if expected > 0 else finish


def _expected_rate(task: Task, reservation: Reservation) -> float:
    """Iterations/s that are hoped for; 0 for a size that is of no use."""
    known = task.envelopes.get(reservation.gpu_type)
    return known.rate(reservation.gpus) if known is not None else 0.0


def _reserve(task: Task, old: Reservation | None, new: Reservation) -> float:
    """What a change has to gain beyond its own cost, because there are dearer kinds of it."""
    kind = task.change(old, new.gpus, new.gpu_type, new.first_gpu)
    if old is None or kind is None:
        return 0.0
    cost = task.cost_of(kind, old, new.gpus)
    return max(0.0, min(WORTH_SECONDS, max(task.costs(old, new.gpus, new.gpu_type))) - cost)


def _reserve_of(task: Task, gpus: int, gpu_type: str) -> float:
    """The same of the cheapest change to so many GPUs."""
    costs = task.costs(task.current, gpus, gpu_type)
    if len(costs) == 1:
        return 0.0
    return max(0.0, min(WORTH_SECONDS, max(costs)) - min(costs))


def _pays(saved: float, paid: float, remaining: float, policy: Policy) -> bool:
    """Whether finishing `saved` seconds earlier is worth a change that costs `paid`."""
    if saved <= EDGE_SECONDS or saved < policy.growth_gain * paid:
        return False
    return remaining == math.inf or saved >= policy.min_speedup * remaining


def _temporary_growth(
    task: Task,
    table: ReservationTable,
    now: float,
    size: Size,
    old: Schedule,
    finish: float,
    policy: Policy,
) -> tuple[Schedule, float] | None:
    """Growth until somebody's plan needs the GPUs, then back to the plan in hand, both paid for."""
    gpus, _, gpu_type = size
    until, first = table.timetables[gpu_type].longest_now(gpus, task.barred.get(gpu_type))
    if not old or until <= now or old[0].end <= until + EDGE_SECONDS:
        return None
    until = max(min(until, old[0].start), now)
    opening = Reservation(now, until, gpus, gpu_type, first)
    back = old[0].over(max(old[0].start, until), old[0].end)
    if until <= now + EDGE_SECONDS or opening.same_block(back):
        return None
    plan, end = replayed(task, (opening, back, *old[1:]), now)
    paid = task.overhead_at(task.current, opening) + task.overhead_at(opening, back)
    saved = finish - end
    if task.job.growth_curves:
        usual, larger = _expected_rate(task, back), _expected_rate(task, opening)
        saved = (until - now - paid) * (larger / usual) - (until - now) if usual > 0 else 0.0
    # What is expected decides whether it is tried, what is promised whether it may be.
    in_time = end <= max(finish, task.deadline) and end <= now + task.longest
    if not (in_time and _pays(saved, paid, finish - now, policy) and table.is_free(task, plan)):
        return None
    return plan, end


def _run_until_reclaimed(
    task: Task, table: ReservationTable, now: float, size: Size, old: Schedule, policy: Policy
) -> tuple[Schedule, float] | None:
    """For a job that no plan finishes: a block that a promise needs later, until then."""
    gpus, rate, gpu_type = size
    found: Schedule | None = None
    best, before = -math.inf, 0.0
    if old:
        before = (old[0].end - max(now, task.trains_from)) * task.rate(old[0])
    for until, first in _places_now(task, table, now, size):
        paid = task.trains(now, gpus, gpu_type, first) - now
        # No finish to compare: what counts is the work done until the GPUs are taken back.
        work = (until - now - paid) * rate
        plan = (Reservation(now, until, gpus, gpu_type, first),)
        reserve = _reserve(task, task.current, plan[0])
        worth = policy.growth_gain * (paid + reserve) * (task.rate(old[0]) if old else rate)
        gained = work - before - reserve * rate
        enough = gained > EDGE_SECONDS * rate and gained >= worth
        enough &= gained >= before * policy.min_speedup
        if enough and work > best and table.is_free(task, plan):
            found, best = plan, work
    return None if found is None else (found, math.inf)


def _places_now(
    task: Task, table: ReservationTable, now: float, size: Size
) -> list[tuple[float, int]]:
    """(free until, first GPU) of the blocks for now: that which is free longest, and a cheaper one.

    To go where it keeps its nodes may cost a job less than to go elsewhere.
    """
    gpus, _, gpu_type = size
    timetable = table.timetables[gpu_type]
    places = [timetable.longest_now(gpus, task.barred.get(gpu_type))]
    behind = task.place_behind(gpus, gpu_type)
    if behind is not None and behind != places[0][1]:
        trains = task.trains(now, gpus, gpu_type, behind)
        if trains < task.trains(now, gpus, gpu_type, places[0][1]):
            places.append((timetable.free_until(behind, gpus), behind))
    return places
