"""Nodes and GPUs over time, past and planned, as a Gantt chart has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ef_slurm.charts.chart import AMBER, BLUE, GREEN, RED, VIOLET, Clock
from ef_slurm.charts.gantt import Allocation, Bar, Closed, Item, Lane, Mark
from ef_slurm.daemon.serve.web.words import job_title, plain
from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.job_words import promise_word, state_word
from ef_slurm.model import FINAL, Cluster, JobView, PromiseOutcome, PromiseState, QueueJob
from ef_slurm.queue.past import HeldShare

GROUPS: Mapping[str, str] = {
    "promise safe or kept": BLUE,
    "late, within its grace": AMBER,
    "promise at risk or broken": RED,
    "no promise": GREEN,
    "being measured": VIOLET,
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A job that is drawn: as people see it, and as the queue has it."""

    view: JobView
    row: QueueJob


class Rows:
    """Which row of the chart is which GPU: group by group, node by node."""

    def __init__(self, cluster: Cluster) -> None:
        self.lanes: list[Lane] = []
        self._first: dict[tuple[str, str], int] = {}
        self._types: dict[str, tuple[int, int]] = {}
        self._of_node: dict[str, str] = {}
        count = 0
        for group in cluster.groups:
            self._types[group.gpu_type] = (count, group.gpus_per_node * len(group.nodes))
            for node in group.nodes:
                self._first[group.gpu_type, node.name] = count
                self._of_node.setdefault(node.name, group.gpu_type)
                self.lanes.append(Lane(node.name, count, group.gpus_per_node))
                count += group.gpus_per_node
        self.count = count

    def of_node(self, node: str, gpu_type: str = "") -> int | None:
        """The first row of a node; None for one that is not there."""
        return self._first.get((gpu_type or self._of_node.get(node, ""), node))

    def of_type(self, gpu_type: str) -> tuple[int, int] | None:
        """The first row of a GPU type, and how many there are."""
        return self._types.get(gpu_type)

    def height(self, node: str, gpu_type: str = "") -> int:
        """The GPUs of a node."""
        row = self.of_node(node, gpu_type)
        return next((lane.height for lane in self.lanes if lane.row == row), 0)


def allocation(
    cluster: Cluster,
    jobs: Sequence[Drawn],
    past: Iterable[HeldShare],
    axis: Clock,
    now: float,
) -> Allocation:
    """What the chart shows.

    Args:
        jobs: those that whoever looks may see.
        past: shares of these and of others, which are left out.
    """
    rows = Rows(cluster)
    numbers = {drawn.row.id: number for number, drawn in enumerate(jobs)}
    held: list[Bar] = []
    planned: list[Bar] = []
    for number, one in enumerate(jobs):
        held += _held(number, one, rows, axis, now)
        planned += _plan(number, one, rows, axis, now)
    bars = _joined([*_past(past, numbers, rows, held, axis, now), *held, *planned])
    marks = _deadlines(jobs, bars, axis)
    return Allocation(
        rows=rows.count,
        items=[_item(drawn.view, now) for drawn in jobs],
        bars=bars,
        groups=GROUPS,
        lanes=rows.lanes,
        closed=list(_closed(cluster, rows, axis, now)),
        marks=marks,
        now=now,
    )


def _item(job: JobView, now: float) -> Item:
    told = [f"job {job_title(job)}", f"of {plain(job.owner)}", state_word(job).lower()]
    if promise_word(job) != "-":
        told.append(f"promise: {promise_word(job).lower()}")
    if job.deadline is not None:
        left = job.deadline - now
        words = describe_duration(abs(left))
        told.append(f"deadline in {words}" if left >= 0 else f"deadline {words} ago")
    return Item(job_title(job), group_of(job), "\n".join(told))


def group_of(job: JobView) -> str:
    """What its colour says."""
    safe, grace, late, none, measured = GROUPS
    if job.measuring is not None:
        return measured
    match job.promise_outcome:
        case PromiseOutcome.KEPT:
            return safe
        case PromiseOutcome.KEPT_IN_GRACE:
            return grace
        case PromiseOutcome.BROKEN:
            return late
    match job.promise:
        case PromiseState.SAFE:
            return safe
        case PromiseState.IN_GRACE:
            return grace
        case PromiseState.AT_RISK:
            return late
    return none


def _held(number: int, drawn: Drawn, rows: Rows, axis: Clock, now: float) -> list[Bar]:
    running = drawn.row.running
    if running is None:
        return []
    block = running.block
    bars = []
    for node in block.nodes:
        first = rows.of_node(node, block.gpu_type)
        if first is not None and running.since < now:
            row = first + block.first_gpu
            start = max(running.since, axis.start)
            bars.append(Bar(number, start, now, row, block.gpus_per_node))
    return bars


def _past(
    past: Iterable[HeldShare],
    numbers: Mapping[int, int],
    rows: Rows,
    fixed: Sequence[Bar],
    axis: Clock,
    now: float,
) -> list[Bar]:
    """Slurm picked the GPUs in a node; they are drawn on the first that were free."""
    busy: dict[int, list[tuple[float, float]]] = {}
    since: dict[int, float] = {}
    for bar in fixed:
        since[bar.item] = bar.start
        for row in range(bar.row, bar.row + bar.height):
            busy.setdefault(row, []).append((bar.start, bar.end))
    found: list[Bar] = []
    for share in sorted(past, key=lambda one: (one.start, one.job_id)):
        number = numbers.get(share.job_id)
        if number is None:
            continue
        start = max(share.start, axis.start)
        end = since.get(number, now) if share.end is None else share.end
        end = min(end, now)
        if end <= start:
            continue
        for node in share.nodes:
            first, height = rows.of_node(node), rows.height(node)
            if first is None:
                continue
            count = min(share.gpus_per_node, height)
            # Later ones start later: what has ended by now is in nobody's way any more.
            for one in range(first, first + height):
                busy[one] = [span for span in busy.get(one, ()) if span[1] > start]
            row = _free(first, height, count, start, end, busy)
            found.append(Bar(number, start, end, row, count))
            for one in range(row, row + count):
                busy.setdefault(one, []).append((start, end))
    return found


def _free(
    first: int,
    height: int,
    count: int,
    start: float,
    end: float,
    busy: Mapping[int, Sequence[tuple[float, float]]],
) -> int:
    """The first of so many neighbouring rows that are free; the node's first where none are."""
    for row in range(first, first + height - count + 1, max(count, 1)):
        taken = (span for one in range(row, row + count) for span in busy.get(one, ()))
        if not any(low < end and start < high for low, high in taken):
            return row
    return first


def _plan(number: int, drawn: Drawn, rows: Rows, axis: Clock, now: float) -> list[Bar]:
    bars = []
    for part in drawn.view.schedule:
        place = rows.of_type(part.gpu_type)
        start, end = max(part.start, now), min(part.end, axis.end)
        if place is None or end <= start or part.first_gpu + part.gpus > place[1]:
            continue
        bars.append(Bar(number, start, end, place[0] + part.first_gpu, part.gpus, planned=True))
    return bars


def _deadlines(jobs: Sequence[Drawn], bars: Sequence[Bar], axis: Clock) -> list[Mark]:
    """Each across the rows that its job is to have last."""
    last: dict[int, Bar] = {}
    for bar in bars:
        if bar.item not in last or bar.end > last[bar.item].end:
            last[bar.item] = bar
    marks = []
    for number, bar in last.items():
        at = jobs[number].view.deadline
        if jobs[number].view.state not in FINAL and at is not None and axis.start < at < axis.end:
            marks.append(Mark(number, at, bar.row, bar.height))
    return marks


def _joined(bars: Iterable[Bar]) -> list[Bar]:
    """Neighbouring rows of one job at the same time made one."""
    joined: list[Bar] = []
    for bar in sorted(bars, key=lambda one: (one.item, one.planned, one.start, one.end, one.row)):
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.item, last.planned, last.start, last.end)
            == (bar.item, bar.planned, bar.start, bar.end)
            and last.row + last.height == bar.row
        ):
            joined[-1] = replace(last, height=last.height + bar.height)
        else:
            joined.append(bar)
    return joined


def _closed(cluster: Cluster, rows: Rows, axis: Clock, now: float) -> Iterable[Closed]:
    for group in cluster.groups:
        for node in group.nodes:
            first = rows.of_node(node.name, group.gpu_type)
            assert first is not None
            for outage in node.outages:
                start, end = max(outage.start, axis.start), min(outage.end, axis.end)
                if end <= start:
                    continue
                count = min(outage.gpus or group.gpus_per_node, group.gpus_per_node)
                left = "until further notice"
                if math.isfinite(outage.end):
                    left = f"for {describe_duration(outage.end - max(outage.start, now))} more"
                tip = f"{plain(node.name)}: {count} GPUs not for ef-slurm\n{left}"
                row = first + group.gpus_per_node - count
                yield Closed(start, end, row, count, tip)
