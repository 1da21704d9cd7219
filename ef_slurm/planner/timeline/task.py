"""A job the way the planner thinks of it: sizes it can use, what it holds, what is planned for it.

A *stretch* is a piece of a job's schedule on one block. Whatever begins a stretch on another block
than the job held just before costs the job's overhead, spent at the beginning of that stretch.

>>> from ef_slurm.model import Cluster, Overhead, ThroughputCurve
>>> from ef_slurm.planner.timeline.gpu_index import lines_of
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.5})
>>> job = Job("a", 0.0, 60.0, (("gpu", curve),), deadline=90.0, overhead=Overhead.constant(5.0))
>>> task = make_task(job, lines_of(Cluster.uniform(nodes=1, gpus_per_node=2)))
>>> plan = (Stretch(0.0, 25.0, 0, 1, "gpu"), Stretch(25.0, 60.0, 0, 2, "gpu"))
>>> _, finish = replayed(task, plan, now=0.0)
>>> round(finish, 3)  # 5 + 20 s for 20 iterations on one GPU, 5 s, then 40 iterations at 1.5/s
56.667
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ef_slurm.model import ChangeKind, IfInfeasible, Job, JobKind, ModelError, classify_change
from ef_slurm.planner.timeline.curve import Envelope, cheapest_mix, envelope
from ef_slurm.planner.timeline.gpu_index import Line


class Stretch(NamedTuple):
    """GPUs `first` to `first + gpus - 1` of a type, from `start` to `end`."""

    start: float
    end: float
    first: int
    gpus: int
    gpu_type: str

    def same_block(self, other: Stretch | None) -> bool:
        """Whether both stand on the same block."""
        return (
            other is not None
            and self.first == other.first
            and self.gpus == other.gpus
            and self.gpu_type == other.gpu_type
        )


class Size(NamedTuple):
    """A useful size of a job: `gpus` of a type run it at `rate` iterations/s."""

    gpus: int
    rate: float
    gpu_type: str


Stretches = tuple[Stretch, ...]
Order = tuple[float, float, str]


@dataclass(eq=False, slots=True)
class Task:
    """One job within one plan.

    Args:
        deadline: by when it must be finished, grace included; infinite for best effort.
        wish: by when it should be finished, grace not included.
        envelopes: its useful sizes, by GPU type.
        sizes: the same, those that cost least GPU time first.
        corners: the least GPUs for every average rate (`curve.cheapest_mix`).
        held: what it holds now, as a stretch without an end; None for nothing.
        trains_from: when the overhead of what it holds is paid.
        per_node: GPUs per node, by type.
        promised: whether it has, or asks for, a deadline to keep. It stays true for a job at risk,
            whose `deadline` is then its planned finish.
        behind: whether its plan in hand is too late by its own slow progress.
    """

    job: Job
    deadline: float
    wish: float
    envelopes: dict[str, Envelope]
    sizes: tuple[Size, ...]
    corners: tuple[tuple[float, float], ...]
    held: Stretch | None
    trains_from: float
    per_node: dict[str, int]
    promised: bool
    behind: bool = False

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def order(self) -> Order:
        """Deadline order; equal deadlines by arrival, then by id."""
        return (self.deadline, self.job.submitted, self.job.id)

    @property
    def latest_start(self) -> float:
        """When it must start at the latest, at full speed with the cluster to itself."""
        fastest = self.corners[-1][0]
        return self.deadline - self.job.iterations / fastest if fastest > 0 else -math.inf

    def give_up_deadline(self) -> None:
        """Run as best effort from here on."""
        self.deadline = self.wish = math.inf
        self.promised = False

    def restore_deadline(self) -> None:
        """Have the job's own deadline again."""
        self.wish, self.deadline = _deadlines(self.job)
        self.promised = self.deadline < math.inf

    def move_deadline(self, deadline: float) -> None:
        """Be due at `deadline`, grace included."""
        self.wish, self.deadline = deadline - (self.deadline - self.wish), deadline

    def after(self, plan: Stretches, now: float) -> Task:
        """The task as it will be once `plan` is carried out at `now`."""
        here = plan[0] if plan and plan[0].start <= now else None
        if here is None:
            return replace(self, held=None, trains_from=-math.inf)
        trains = self.trains(now, here.gpus, here.gpu_type, here.first)
        return replace(self, held=here, trains_from=trains)

    def rate(self, stretch: Stretch) -> float:
        """Iterations/s on a stretch; 0 for a size that the curve does not have."""
        for gpu_type, curve in self.job.curves:
            if gpu_type == stretch.gpu_type:
                for gpus, rate in curve.points:
                    if gpus == stretch.gpus:
                        return rate
        return 0.0

    def change(
        self, old: Stretch | None, gpus: int, gpu_type: str, first: int
    ) -> ChangeKind | None:
        """What going from `old` (None: no GPUs) to a block is (`model.change_kind`)."""
        if old is None:
            return ChangeKind.START
        per_node = self.per_node[gpu_type]
        return classify_change(
            old.gpus,
            gpus,
            same_type=old.gpu_type == gpu_type,
            same_nodes=old.first // per_node == first // per_node
            and min(old.gpus, per_node) == min(gpus, per_node),
        )

    def stays(self, stretch: Stretch | None) -> bool:
        """Whether a job on this stretch at this moment notices no change."""
        if stretch is None or self.held is None:
            return stretch is None and self.held is None
        return self.change(self.held, stretch.gpus, stretch.gpu_type, stretch.first) is None

    def overhead(self, old: Stretch | None, gpus: int, gpu_type: str, first: int | None) -> float:
        """Seconds lost by moving from `old` to a block; the most that a change can cost if `first`
        is None because its place is not yet known."""
        cost = self.job.overhead
        if first is not None:
            return cost.of(self.change(old, gpus, gpu_type, first), gpus)
        if old is None:
            return cost.of(ChangeKind.START, gpus)
        if gpus < old.gpus:
            return max(cost.of(ChangeKind.SHRINK, gpus), cost.of(ChangeKind.RESTART, gpus))
        return cost.of(ChangeKind.GROW if gpus > old.gpus else ChangeKind.MOVE, gpus)

    def trains(self, now: float, gpus: int, gpu_type: str, first: int) -> float:
        """When it trains if it is on a block from `now` on; the block may be the present one."""
        change = self.change(self.held, gpus, gpu_type, first)
        if change is None:
            return max(now, self.trains_from)
        return now + self.job.overhead.of(change, gpus)


def wants_best_effort(task: Task) -> bool:
    """Whether a job that cannot be promised would rather run without a promise."""
    return task.job.if_infeasible is IfInfeasible.BEST_EFFORT


def make_task(job: Job, lines: Mapping[str, Line], most: int | None = None) -> Task:
    """The task of a job; `most` is the largest share that the limits ever allow it.

    Raises:
        ModelError: the job names a GPU type that the cluster does not have.
    """
    cap = min((bound for bound in (job.max_gpus, most) if bound is not None), default=None)
    envelopes: dict[str, Envelope] = {}
    sizes: list[Size] = []
    for gpu_type, curve in job.curves:
        line = _line(job, gpu_type, lines)
        found = envelope(curve, line.width if cap is None else min(cap, line.width))
        if found is not None:
            envelopes[gpu_type] = found
            sizes += [Size(gpus, rate, gpu_type) for gpus, rate in found.sizes]
    sizes.sort(key=lambda size: (size.gpus / size.rate, size.gpus, size.gpu_type))
    wish, deadline = _deadlines(job)
    held, trains_from = None, -math.inf
    if job.running is not None:
        block = job.running.block
        first = _line(job, block.gpu_type, lines).first(block)
        if first is not None:  # otherwise its nodes have left the cluster
            held = Stretch(job.running.since, math.inf, first, block.gpus, block.gpu_type)
            trains_from = job.running.trains_from
    per_node = {gpu_type: line.per_node for gpu_type, line in lines.items()}
    corners = cheapest_mix(tuple((size.gpus, size.rate) for size in sizes))
    return Task(
        job=job,
        deadline=deadline,
        wish=wish,
        envelopes=envelopes,
        sizes=tuple(sizes),
        corners=corners,
        held=held,
        trains_from=trains_from,
        per_node=per_node,
        promised=deadline < math.inf,
    )


def _deadlines(job: Job) -> tuple[float, float]:
    """(by when it should be finished, by when it must be): infinite for best effort."""
    if job.kind is JobKind.BEST_EFFORT or job.deadline is None:
        return math.inf, math.inf
    return job.deadline, job.deadline + job.grace


def _line(job: Job, gpu_type: str, lines: Mapping[str, Line]) -> Line:
    line = lines.get(gpu_type)
    if line is None:
        known = ", ".join(sorted(lines)) or "(the cluster has none)"
        raise ModelError(f"GPU type of job {job.id}", gpu_type, f"one of {known}")
    return line


def replayed(task: Task, stretches: Stretches, now: float) -> tuple[Stretches, float]:
    """What is left of a schedule from `now` on, and when it finishes the job.

    Progress may differ from what the schedule foresaw: its last stretch ends when the remaining
    iterations are done, sooner or later. Every change of block is paid for.
    """
    left = task.job.iterations
    before, trains = task.held, task.trains_from
    kept: list[Stretch] = []
    todo = [stretch for stretch in stretches if stretch.end > now]
    if not todo and stretches:
        todo = [stretches[-1]]
    for index, stretch in enumerate(todo):
        start = max(stretch.start, now)
        old = before if kept or stretch.start <= now else None
        change = task.change(old, stretch.gpus, stretch.gpu_type, stretch.first)
        if change is None:
            trains = max(start, trains)  # what began before may not be paid for yet
        else:
            trains = start + task.job.overhead.of(change, stretch.gpus)
        rate = task.rate(stretch)
        end = trains + left / rate if rate > 0 else math.inf
        if index < len(todo) - 1 and end > stretch.end:
            left -= max(0.0, stretch.end - trains) * rate
            kept.append(stretch._replace(start=start))
            gap = todo[index + 1].start > stretch.end
            before = None if gap else stretch
        else:
            kept.append(stretch._replace(start=start, end=end))
            return tuple(kept), end
    return (), math.inf
