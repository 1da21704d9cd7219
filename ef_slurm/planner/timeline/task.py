"""A job the way the planner thinks of it: sizes it can use, what it holds, what is planned for it.

What begins a reservation on another block than the job held just before costs the job's overhead
(`model.change_kind`), spent at the beginning of that reservation, and before it the time that its
nodes need to wake.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from ef_slurm.model import (
    Bar,
    ChangeKind,
    IfInfeasible,
    Job,
    JobKind,
    ModelError,
    Reservation,
    Schedule,
    classify_change,
)
from ef_slurm.planner.timeline.barred import BarredBlocks
from ef_slurm.planner.timeline.curve import Envelope
from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace
from ef_slurm.planner.timeline.scaling import Size, scaling

Order = tuple[float, float, str]
"""What tasks are sorted by: (deadline, submission, id)."""


class SizeTrial(NamedTuple):
    """What a size would take, wherever the block is.

    Args:
        size: the size.
        level: its logarithm.
        run: seconds of training.
        change: the most seconds that the change from what the job holds now can cost.
        start: the most seconds that a start can cost.
    """

    size: Size
    level: int
    run: float
    change: float
    start: float


@dataclass(eq=False, slots=True)
class Task:
    """One job within one plan.

    Args:
        id: the job's id.
        job: as the caller gave it.
        deadline: by when it must be finished, grace included; infinite for best effort.
        soft_deadline: by when it should be finished, grace not included.
        envelopes: the sizes that it may grow to, with the rates expected there, by GPU type.
        sizes: the same, those that cost least GPU time first, weighted by what the type is worth.
        corners: the least GPUs for every average rate (`curve.cheapest_mix`).
        current: what it holds now, as a reservation without an end; None for nothing.
        trains_from: when the overhead of what it holds is paid.
        spaces: the cluster's GPUs by type.
        barred: what of them it may not use, by type; types of which it may use all are left out.
        promised: whether it has, or asks for, a deadline to keep. It stays true for a job at risk,
            whose `deadline` is then its planned finish.
        behind: whether its plan in hand is too late by its own slow progress.
        set_back: whether it was held, put back, or trains slowly, and so needs more time than its
            plan in hand has, on GPUs that are all there.
        wakes: whether it may have to wake nodes. Where it may not, they are barred.
        longest: the most seconds from its first start to its finish, for one that has a promise to
            keep and does not run yet; infinite else.
    """

    id: str
    job: Job
    deadline: float
    soft_deadline: float
    envelopes: Mapping[str, Envelope]
    sizes: tuple[Size, ...]
    corners: tuple[tuple[float, float], ...]
    current: Reservation | None
    trains_from: float
    spaces: Mapping[str, GpuIndexSpace]
    barred: Mapping[str, BarredBlocks]
    promised: bool
    behind: bool = False
    set_back: bool = False
    wakes: bool = True
    longest: float = math.inf
    _trials: tuple[SizeTrial, ...] | None = field(default=None, init=False, repr=False)

    @property
    def order(self) -> Order:
        """Deadline order; equal deadlines by arrival, then by id."""
        return (self.deadline, self.job.submitted, self.id)

    @property
    def trials(self) -> tuple[SizeTrial, ...]:
        """Its sizes and what each of them would take; every plan asks for them."""
        if self._trials is None:
            left, held = self.job.iterations, self.current
            found = []
            for size in self.sizes:
                gpus, rate, gpu_type = size
                start = self.overhead(None, gpus, gpu_type)
                change = start if held is None else self.overhead(held, gpus, gpu_type)
                found.append(SizeTrial(size, gpus.bit_length() - 1, left / rate, change, start))
            self._trials = tuple(found)
        return self._trials

    @property
    def latest_start(self) -> float:
        """When it must start at the latest, at full speed with the cluster to itself."""
        fastest = self.corners[-1][0]
        return self.deadline - self.job.iterations / fastest if fastest > 0 else -math.inf

    def earliest(self, now: float) -> float:
        """When it may hold GPUs at the earliest: now, or when its job may begin."""
        return now if self.current is not None else max(now, self.job.begin)

    def give_up_deadline(self) -> None:
        """Run as best effort from here on."""
        self.deadline = self.soft_deadline = self.longest = math.inf
        self.promised = False

    def restore_deadline(self) -> None:
        """Have the job's own deadline again."""
        self.soft_deadline, self.deadline = _deadlines(self.job)
        self.promised = self.deadline < math.inf
        self.longest = _longest(self.job, promised=self.promised)

    def move_deadline(self, deadline: float) -> None:
        """Be due at `deadline`, grace included."""
        grace = self.deadline - self.soft_deadline
        self.soft_deadline, self.deadline = deadline - grace, deadline

    def after(self, plan: Schedule, now: float) -> Task:
        """The task as it will be once `plan` is carried out at `now`."""
        here = plan[0] if plan and plan[0].start <= now else None
        if here is self.current or (here and self.current and here.same_block(self.current)):
            return self
        if here is None:
            return replace(self, current=None, trains_from=-math.inf)
        trains = self.trains(now, here.gpus, here.gpu_type, here.first_gpu)
        return replace(self, current=here, trains_from=trains)

    def rate(self, reservation: Reservation) -> float:
        """Iterations/s on a reservation; 0 for a size that the curve does not have."""
        return self.rate_at(reservation.gpus, reservation.gpu_type)

    def rate_at(self, gpus: int, gpu_type: str) -> float:
        """Iterations/s that a promise counts on; 0 for a size that the curve does not have.

        The curve's own value, not the envelope's: a job may stand on a size that no plan would
        choose today.
        """
        for kind, curve in self.job.curves:
            if kind == gpu_type:
                for point in curve.points:
                    if point[0] == gpus:
                        return point[1]
        return 0.0

    def is_beyond_peak(self, reservation: Reservation) -> bool:
        """Whether some smaller size is expected to train as fast as this one."""
        known = self.envelopes.get(reservation.gpu_type)
        return known is not None and reservation.gpus not in known.steps

    def change(
        self, old: Reservation | None, gpus: int, gpu_type: str, first_gpu: int
    ) -> ChangeKind | None:
        """What going from `old` (None: no GPUs) to a block is; None when the job notices nothing.

        The same answer as `model.change_kind` gives for the blocks, by their indices.
        """
        if old is None:
            return ChangeKind.START
        if old.first_gpu == first_gpu and old.gpus == gpus and old.gpu_type == gpu_type:
            return None  # the common case, asked for every job in every plan
        per_node = self.spaces[gpu_type].per_node
        return classify_change(
            old.gpus,
            gpus,
            same_type=old.gpu_type == gpu_type,
            # Aligned blocks that begin on one node lie inside one another.
            same_nodes=old.first_gpu // per_node == first_gpu // per_node
            and min(old.gpus, per_node) == min(gpus, per_node),
        )

    def may_use(self, gpu_type: str, first_gpu: int, gpus: int) -> bool:
        """Whether the job may run on an aligned block."""
        barred = self.barred.get(gpu_type)
        return barred is None or not barred.touches(first_gpu, gpus)

    def stays(self, reservation: Reservation | None) -> bool:
        """Whether a job on this reservation at this moment notices no change."""
        if reservation is None or self.current is None:
            return reservation is None and self.current is None
        one = reservation
        return self.change(self.current, one.gpus, one.gpu_type, one.first_gpu) is None

    def awake(self) -> Task | None:
        """The task that wakes no node; None where none is asleep."""
        if not self.wakes:
            return None
        asleep = {kind: self.spaces[kind].asleep for kind in self.envelopes}
        barred = dict(self.barred)
        for kind, names in asleep.items():
            # What it holds itself is on its way.
            if self.current is not None and self.current.gpu_type == kind:
                block = self.spaces[kind].block(self.current.first_gpu, self.current.gpus)
                names -= frozenset(block.nodes)
            holes = BarredBlocks.of(self.spaces[kind], (*self.job.bars, Bar(names)))
            if names and holes is not None:
                barred[kind] = holes
        return replace(self, barred=barred, wakes=False)

    def overhead(self, old: Reservation | None, gpus: int, gpu_type: str) -> float:
        """The most seconds that a change from `old` to a block can cost, wherever the block is.

        Staying is no change: it may cost more, where the present start is not paid for yet.
        """
        wake = self.spaces[gpu_type].most_wake_seconds if self.wakes else 0.0
        if old is None:
            return wake + self.job.overhead.of(ChangeKind.START, gpus)
        return wake + max(self.costs(old, gpus, gpu_type))

    def start_overhead(self, gpus: int) -> float:
        """Seconds that a start costs where no node has to be woken."""
        return self.job.overhead.of(ChangeKind.START, gpus)

    def least_overhead(self, gpus: int, gpu_type: str, now: float) -> float:
        """The least seconds until it trains on so many GPUs, where no node has to be woken."""
        held = self.current
        if held is None:
            return self.start_overhead(gpus)
        if (held.gpus, held.gpu_type) == (gpus, gpu_type):
            return max(0.0, self.trains_from - now)
        return min(self.costs(held, gpus, gpu_type))

    def hoped_overhead(self, gpus: int, gpu_type: str) -> float:
        """As `overhead` from what it holds now, by the cheapest kind that the change can be of."""
        wake = self.spaces[gpu_type].most_wake_seconds if self.wakes else 0.0
        return wake + min(self.costs(self.current, gpus, gpu_type))

    def costs(self, old: Reservation | None, gpus: int, gpu_type: str) -> tuple[float, ...]:
        """What each kind costs that a change from `old` to so many GPUs can be of, but staying.

        Asked for most jobs in every plan, hence the fields by name.
        """
        cost = self.job.overhead
        found: tuple[float, ...]
        if old is None:
            found = (cost.start,)
        elif old.gpu_type != gpu_type:
            found = (cost.restart,)
        elif gpus == old.gpus:
            found = (cost.move,)
        elif min(gpus, old.gpus) < self.spaces[gpu_type].per_node:
            found = (cost.restart,)
        else:
            found = (cost.shrink, cost.restart)
            if gpus > old.gpus:
                grow = cost.growth(old.gpus, gpus) if self.job.doubles else cost.grow
                found = (grow, cost.restart)
        if cost.per_doubling:
            return tuple([cost.scaled(seconds, gpus) for seconds in found])
        return found

    def place_behind(self, gpus: int, gpu_type: str) -> int | None:
        """Where so many GPUs begin that are reached by adding or giving up whole nodes.

        Returns:
            None where no block of that size is, that the job may use.
        """
        held = self.current
        if held is None or held.gpu_type != gpu_type or held.gpus == gpus:
            return None
        space, first = self.spaces[gpu_type], held.first_gpu
        if min(held.gpus, gpus) < space.per_node or first % gpus or first + gpus > space.width:
            return None
        return first if self.may_use(gpu_type, first, gpus) else None

    def overhead_at(self, old: Reservation | None, new: Reservation) -> float:
        """Seconds that going from `old` to `new` costs."""
        kind = self.change(old, new.gpus, new.gpu_type, new.first_gpu)
        return self.seconds_of(kind, old, new.gpus, new.gpu_type, new.first_gpu)

    def seconds_of(
        self,
        kind: ChangeKind | None,
        old: Reservation | None,
        gpus: int,
        gpu_type: str,
        first_gpu: int,
    ) -> float:
        """What a change of that kind from `old` to a block costs."""
        if kind is None:
            return 0.0
        wake = self.spaces[gpu_type].wake_seconds(first_gpu, gpus)
        return wake + self.cost_of(kind, old, gpus)

    def cost_of(self, kind: ChangeKind, old: Reservation | None, gpus: int) -> float:
        """The same where no node has to be woken."""
        doubled = old.gpus if old is not None and self.job.doubles else None
        return self.job.overhead.of(kind, gpus, doubled)

    def trains(self, now: float, gpus: int, gpu_type: str, first_gpu: int) -> float:
        """When it trains if it is on a block from `now` on; the block may be the present one."""
        kind = self.change(self.current, gpus, gpu_type, first_gpu)
        if kind is None:
            return max(now, self.trains_from)
        return now + self.seconds_of(kind, self.current, gpus, gpu_type, first_gpu)


def wants_best_effort(task: Task) -> bool:
    """Whether a job that cannot be promised would rather run without a promise."""
    return task.job.if_infeasible is IfInfeasible.BEST_EFFORT


def make_task(
    job: Job,
    spaces: Mapping[str, GpuIndexSpace],
    most: int | None = None,
    worth: Mapping[str, float] = MappingProxyType({}),
) -> Task:
    """The task of a job.

    Args:
        job: as the caller gave it.
        spaces: the cluster's GPUs by type.
        most: the largest share that the limits ever allow it; None for any.
        worth: of a GPU, by type (`type_worth`); 1 for those that are not there.

    Raises:
        ModelError: the job names a GPU type that the cluster does not have.
    """
    cap = min((bound for bound in (job.max_gpus, most) if bound is not None), default=None)
    barred: dict[str, BarredBlocks] = {}
    bounds: list[int] = []
    for gpu_type, _ in job.curves:
        space = _space(job, gpu_type, spaces)
        bound = space.width if cap is None else min(cap, space.width)
        holes = BarredBlocks.of(space, job.bars) if job.bars else None
        if holes is not None:
            barred[gpu_type] = holes
            bound = min(bound, holes.largest)
        bounds.append(bound)
    worths = tuple(worth.get(gpu_type, 1.0) for gpu_type, _ in job.curves)
    scales = scaling(job.curves, job.growth_curves, tuple(bounds), worths)
    soft_deadline, deadline = _deadlines(job)
    current, trains_from = None, -math.inf
    if job.running is not None:
        block = job.running.block
        held_space = spaces.get(block.gpu_type)
        first = None if held_space is None else held_space.first_gpu(block)
        if first is not None:  # otherwise its nodes, or all of their type, have left the cluster
            current = Reservation(job.running.since, math.inf, block.gpus, block.gpu_type, first)
            trains_from = job.running.trains_from
    return Task(
        id=job.id,
        job=job,
        deadline=deadline,
        soft_deadline=soft_deadline,
        envelopes=scales.envelopes,
        sizes=scales.sizes,
        corners=scales.corners,
        current=current,
        trains_from=trains_from,
        spaces=spaces,
        barred=barred,
        promised=deadline < math.inf,
        wakes=any(spaces[kind].asleep for kind in scales.envelopes),
        longest=_longest(job, promised=deadline < math.inf),
    )


def _deadlines(job: Job) -> tuple[float, float]:
    """(by when it should be finished, by when it must be): infinite for best effort."""
    if job.kind is JobKind.BEST_EFFORT or job.deadline is None:
        return math.inf, math.inf
    return job.deadline, job.deadline + job.grace


def _longest(job: Job, *, promised: bool) -> float:
    return job.longest if promised and job.running is None else math.inf


def _space(job: Job, gpu_type: str, spaces: Mapping[str, GpuIndexSpace]) -> GpuIndexSpace:
    space = spaces.get(gpu_type)
    if space is None:
        known = ", ".join(sorted(spaces)) or "(the cluster has none)"
        raise ModelError(f"GPU type of job {job.id}", gpu_type, f"one of {known}")
    return space
