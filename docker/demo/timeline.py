"""What was seen of the cluster, sample by sample, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ef_slurm.model import JobView

Holding = tuple[tuple[str, tuple[str, ...], int], ...]
"""(job's name, nodes, GPUs on each)."""


def holding(jobs: Iterable[JobView]) -> Holding:
    """Who holds what."""
    return tuple(
        (job.name, job.nodes, job.share // len(job.nodes))
        for job in jobs
        if job.share and job.nodes
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A job on `gpus` GPUs of one node from `start` to `end`, beginning at GPU `first`."""

    job: str
    node: str
    first: int
    gpus: int
    start: float
    end: float


@dataclass
class Timeline:
    """Allocation over time.

    Args:
        nodes: names in order.
        gpus_per_node: GPUs of each.
    """

    nodes: Sequence[str]
    gpus_per_node: int
    samples: list[tuple[float, Holding]] = field(default_factory=list)

    def see(self, at: float, now: Holding) -> None:
        """Add a sample."""
        self.samples.append((at, now))

    def cells(self, now: Holding) -> list[list[str | None]]:
        """For each node, who holds each of its GPUs.

        Slurm picks the indices; these are drawn in the order of the jobs.
        """
        free = dict.fromkeys(self.nodes, 0)
        rows: dict[str, list[str | None]] = {n: [None] * self.gpus_per_node for n in self.nodes}
        for job, nodes, gpus in now:
            for node in nodes:
                for index in range(free[node], min(free[node] + gpus, self.gpus_per_node)):
                    rows[node][index] = job
                free[node] += gpus
        return [rows[node] for node in self.nodes]

    def bars(self) -> list[Bar]:
        """The samples as bars: one for each time in which a job held the same GPUs."""
        bars: list[Bar] = []
        open_bars: dict[tuple[str, str, int, int], float] = {}
        end = self.samples[-1][0] if self.samples else 0.0
        for at, now in [*self.samples, (end, ())]:
            present = set(self._places(now))
            for key in [key for key in open_bars if key not in present]:
                job, node, first, gpus = key
                bars.append(Bar(job, node, first, gpus, open_bars.pop(key), at))
            for key in present:
                open_bars.setdefault(key, at)
        return sorted(bars, key=lambda bar: (bar.start, self.nodes.index(bar.node), bar.first))

    def _places(self, now: Holding) -> Iterable[tuple[str, str, int, int]]:
        for node, row in zip(self.nodes, self.cells(now), strict=True):
            first = 0
            while first < len(row):
                last = first
                while last < len(row) and row[last] == row[first]:
                    last += 1
                job = row[first]
                if job is not None:
                    yield job, node, first, last - first
                first = last

    def used(self) -> float:
        """The part of all GPU time that was allocated, between the first and the last use."""
        total = sum((bar.end - bar.start) * bar.gpus for bar in self.bars())
        span = self.samples[-1][0] - self.samples[0][0] if len(self.samples) > 1 else 0.0
        return total / (span * len(self.nodes) * self.gpus_per_node) if span else 0.0
