"""What the figures show, as numbers: rectangles, step functions, bins."""

from __future__ import annotations

import bisect
import enum
import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ef_slurm.model import JobKind
from ef_slurm.simulator.cluster import GpuGroup, first_rows
from ef_slurm.simulator.metrics import is_broken, is_met, single_gpu_rate
from ef_slurm.simulator.simulated_job import SimulatedJob

Vector = NDArray[np.float64]


class JobOutcome(enum.IntEnum):
    """What became of a job, as the figures colour it."""

    MET = 0
    TURNED_AWAY = 1
    LATE = 2
    BROKEN = 3
    BEST_EFFORT = 4


OUTCOME_LABELS = {
    JobOutcome.MET: "deadline met",
    JobOutcome.TURNED_AWAY: "turned away",
    JobOutcome.LATE: "late",
    JobOutcome.BROKEN: "promise broken",
    JobOutcome.BEST_EFFORT: "best effort",
}


STACKED = (
    JobOutcome.MET,
    JobOutcome.BEST_EFFORT,
    JobOutcome.TURNED_AWAY,
    JobOutcome.LATE,
    JobOutcome.BROKEN,
)
"""From the bottom of a stacked bar to its top: the good ones stand on the axis."""


def outcome_of(job: SimulatedJob) -> JobOutcome:
    """What became of a job."""
    if job.spec.kind is JobKind.BEST_EFFORT:
        return JobOutcome.BEST_EFFORT
    if is_met(job):
        return JobOutcome.MET
    if is_broken(job):
        return JobOutcome.BROKEN
    return JobOutcome.LATE if job.admitted else JobOutcome.TURNED_AWAY


@dataclass(frozen=True, slots=True)
class Rectangle:
    """`job` (its index) holds `height` GPUs from `row` on, from `start` to `end`."""

    job: int
    start: float
    end: float
    row: int
    height: int


@dataclass(frozen=True, slots=True)
class Window:
    """The time that the figures show: seconds on the trace's clock."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def window(jobs: Sequence[SimulatedJob]) -> Window:
    """From the first submission until hardly anything happens any more.

    That is, until the last submission and until 98 % of the jobs that ran have let go, and a
    little longer: a few long jobs at the end would squeeze everything else.
    """
    start = min(job.spec.submitted for job in jobs)
    last = max(job.spec.submitted for job in jobs)
    ends = sorted(job.held_shares[-1].end for job in jobs if job.held_shares)
    if not ends:
        return Window(start, max(last, start + 1.0))
    most = ends[min(len(ends) - 1, int(0.98 * len(ends)))]
    return Window(start, min(ends[-1], max(most, last) + 0.03 * (most - start)))


def allocation(jobs: Sequence[SimulatedJob], groups: Sequence[GpuGroup]) -> list[Rectangle]:
    """Which job holds which GPUs when.

    Blocks stand where they are in the cluster. GPUs that a policy only counted are laid out on the
    lowest free ones, for the picture's sake.

    Args:
        jobs: of one simulation.
        groups: of the cluster.
    """
    first_row = first_rows(groups)
    placed: list[Rectangle] = []
    counted: dict[str, list[tuple[float, float, int, int]]] = {}
    for index, job in enumerate(jobs):
        for share in job.held_shares:
            if not share.places:
                of_type = counted.setdefault(share.gpu_type, [])
                of_type.append((share.start, share.end, index, share.gpus))
                continue
            ends = [start for start, _ in share.places[1:]] + [share.end]
            for (start, block), end in zip(share.places, ends, strict=True):
                row = first_row[block.nodes[0]] + block.first_gpu
                placed.append(Rectangle(index, start, end, row, share.gpus))
    for group in groups:
        first = first_row[group.names[0]]
        placed.extend(
            replace(one, row=first + one.row)
            for one in _lay_out(counted.get(group.gpu_type, []), group.gpus)
        )
    return _joined(placed)


def _lay_out(counted: list[tuple[float, float, int, int]], gpus: int) -> Iterable[Rectangle]:
    free = list(range(gpus))
    busy: list[tuple[float, list[int]]] = []
    for start, end, index, count in sorted(counted):
        while busy and busy[0][0] <= start:
            for row in heapq.heappop(busy)[1]:
                bisect.insort(free, row)
        rows, free[:count] = free[:count], []
        heapq.heappush(busy, (end, rows))
        first = 0
        for place in range(1, len(rows) + 1):
            if place == len(rows) or rows[place] != rows[place - 1] + 1:
                yield Rectangle(index, start, end, rows[first], place - first)
                first = place


def _joined(rectangles: list[Rectangle]) -> list[Rectangle]:
    """Neighbours in time on the same GPUs made one."""
    joined: list[Rectangle] = []
    for one in sorted(rectangles, key=lambda r: (r.job, r.row, r.height, r.start)):
        last = joined[-1] if joined else None
        if last and (last.job, last.row, last.height, last.end) == (
            one.job,
            one.row,
            one.height,
            one.start,
        ):
            joined[-1] = Rectangle(one.job, last.start, one.end, one.row, one.height)
        else:
            joined.append(one)
    return joined


def coarsened(rectangles: list[Rectangle], most: int) -> tuple[list[Rectangle], float]:
    """A coarser picture.

    What no sample in time meets is left out; the others are widened to the samples' cells.

    Args:
        rectangles: as they are.
        most: how many there may be.

    Returns:
        At most so many rectangles, and the seconds to which they are exact (0: exactly).
    """
    if len(rectangles) <= most:
        return rectangles, 0.0
    start = min(one.start for one in rectangles)
    length = max(one.end for one in rectangles) - start
    cells = 4096
    while True:
        cells //= 2
        width = length / cells
        kept = []
        for one in rectangles:
            first = math.ceil((one.start - start) / width - 0.5)
            last = math.ceil((one.end - start) / width - 0.5)
            if last > first:
                kept.append(
                    Rectangle(
                        one.job, start + first * width, start + last * width, one.row, one.height
                    )
                )
        kept = _joined(kept)
        if len(kept) <= most or cells <= 64:
            return kept, width


@dataclass(frozen=True, slots=True)
class TimeLine:
    """Averages over equal bins of time: `edges` has one more entry than the values."""

    edges: Vector
    efficiency: Vector
    in_use: Vector


def time_line(jobs: Sequence[SimulatedJob], gpus: int, shown: Window, bins: int = 400) -> TimeLine:
    """Efficiency (sum of T(n)/T(1) over the cluster's GPUs) and the part of the GPUs given out.

    Args:
        jobs: of one simulation.
        gpus: of the cluster.
        shown: the time to cover.
        bins: how many values.
    """
    edges = np.linspace(shown.start, shown.end, bins + 1)
    work = [
        (max(s.start, s.trains_from), s.end, job.rate_at(s.gpus) / single_gpu_rate(job))
        for job in jobs
        for s in job.held_shares
        if s.trains_from < s.end
    ]
    held = [(s.start, s.end, float(s.gpus)) for job in jobs for s in job.held_shares]
    return TimeLine(edges, _averages(work, edges) / gpus, _averages(held, edges) / gpus)


def _averages(pieces: list[tuple[float, float, float]], edges: Vector) -> Vector:
    """Mean of a sum of (from, to, height) pieces over every bin."""
    if not pieces:
        return np.zeros(len(edges) - 1)
    begin, end, height = (np.array(column, dtype=float) for column in zip(*pieces, strict=True))
    times = np.concatenate([begin, end])
    steps = np.concatenate([height, -height])
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(steps[order])
    area = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
    means: Vector = np.diff(np.interp(edges, times, area)) / np.diff(edges)
    return means


@dataclass(frozen=True, slots=True)
class OutcomeBins:
    """How many jobs of each outcome were submitted in each bin of time."""

    edges: Vector
    counts: dict[JobOutcome, list[int]]


def outcomes_over_time(jobs: Sequence[SimulatedJob], shown: Window, bins: int = 48) -> OutcomeBins:
    """Outcomes by time of submission."""
    edges = np.linspace(shown.start, shown.end, bins + 1)
    counts = {one: [0] * bins for one in JobOutcome}
    width = shown.seconds / bins
    for job in jobs:
        place = min(bins - 1, int((job.spec.submitted - shown.start) / width))
        counts[outcome_of(job)][place] += 1
    return OutcomeBins(edges, counts)
