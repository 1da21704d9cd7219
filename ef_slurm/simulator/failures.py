"""Nodes that fail and come back, whatever the scheduler does.

Every node works for an exponentially distributed time and is down for the time of a repair, again
and again. The times are drawn for each node from the seed alone, so that all policies and settings
meet the same failures. A scheduler learns of a failure when it happens and is told no end of it, as
the daemon is of a node that is DOWN.

What ran on a failed node stops. It goes on from its last checkpoint (`CHECKPOINT_SECONDS`) and pays
for a start.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from ef_slurm.formats.durations import DurationError, parse_finite_duration
from ef_slurm.formats.numbers import parse_count
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.simulated_job import SimulatedJob

REPAIR_SECONDS = 3600.0
"""How long a node is down, unless it is said."""

LEAST_SECONDS = 60.0
"""The shortest mean time between failures, and the shortest repair."""

NONE = "none"
WANTED = (
    "none or MTBF[:REPAIR[:SEED]], durations of a minute or more (30d, 720h, 30-00:00:00), a number"
)


@dataclass(frozen=True, slots=True)
class FailuresOption:
    """What `--failures` says.

    Args:
        name: as it was spelled.
        mtbf: mean seconds that a node works until it fails; infinite for no failures.
        repair: seconds that it is down.
        seed: the times depend on it and on the node only.
    """

    name: str = NONE
    mtbf: float = math.inf
    repair: float = REPAIR_SECONDS
    seed: int = 0

    def failures(self, nodes: int, since: float) -> NodeFailures:
        """Those of nodes n1 to n`nodes`, all of which work at `since` (the trace's clock)."""
        names = [f"n{number + 1}" for number in range(nodes)]
        return NodeFailures({name: self._works(name) for name in names}, self.repair, since)

    def _works(self, name: str) -> Iterator[float]:
        draws = random.Random(f"{self.seed}:{name}")  # noqa: S311 - no secret
        while self.mtbf < math.inf:
            yield draws.expovariate(1 / self.mtbf)


class NodeFailures:
    """Which nodes are down as time goes by.

    Args:
        works: node → for how many seconds it works each time until it fails; where that comes to
            an end, it never fails again.
        repair: seconds that it is down in between.
        since: when they all begin to work, on the trace's clock.
    """

    def __init__(self, works: Mapping[str, Iterator[float]], repair: float, since: float) -> None:
        self._works = works
        self._repair = repair
        self._names = tuple(works)
        self._down: dict[str, float] = {}
        self._changes: list[tuple[float, int]] = []  # (when, index of the node), a heap
        self.count = 0
        for index in range(len(works)):
            self._push_failure(since, index)

    @property
    def down(self) -> Mapping[str, float]:
        """Node → since when it is down."""
        return MappingProxyType(self._down)

    @property
    def up(self) -> tuple[str, ...]:
        """The nodes that work, in order."""
        return tuple(name for name in self._names if name not in self._down)

    def next_change(self) -> float:
        """When the next node fails or comes back; infinite for never."""
        return self._changes[0][0] if self._changes else math.inf

    def pass_until(self, until: float) -> frozenset[str]:
        """Lets time go by; the nodes that failed."""
        failed = set()
        while self.next_change() <= until:
            when, index = heapq.heappop(self._changes)
            name = self._names[index]
            if self._down.pop(name, None) is not None:
                self._push_failure(when, index)
                continue
            self._down[name] = when
            failed.add(name)
            self.count += 1
            heapq.heappush(self._changes, (when + self._repair, index))
        return frozenset(failed)

    def _push_failure(self, since: float, index: int) -> None:
        works = next(self._works[self._names[index]], math.inf)
        if works < math.inf:
            heapq.heappush(self._changes, (since + works, index))


def jobs_on(
    failed: Collection[str], up: Sequence[str], gpus_per_node: int, jobs: Iterable[SimulatedJob]
) -> list[SimulatedJob]:
    """The jobs that hold GPUs of the failed nodes.

    Policies that only count GPUs give no blocks. Their jobs are taken to fill the nodes in order,
    the largest first and in order of arrival among equals: so no job whose size is a power of two
    lies on more nodes than it has to.

    Args:
        failed: nodes that have just failed.
        up: the nodes that worked before, in order.
        gpus_per_node: of each.
        jobs: by arrival.
    """
    hit, counted = [], []
    for job in jobs:
        if job.block is not None:
            if not set(failed).isdisjoint(job.block.nodes):
                hit.append(job)
        elif job.gpus:
            counted.append(job)
    first = 0
    for job in sorted(counted, key=lambda job: -job.gpus):
        end = first + job.gpus
        nodes = up[first // gpus_per_node : math.ceil(end / gpus_per_node)]
        if not set(failed).isdisjoint(nodes):
            hit.append(job)
        first = end
    return hit


def parse_failures(text: str) -> FailuresOption:
    """What `--failures` names; `none` for no failures.

    Durations may have colons of their own. Each takes as many fields as still make a duration.

    Raises:
        SimulatorError: not in this form.

    >>> parse_failures("30d")
    FailuresOption(name='30d', mtbf=2592000.0, repair=3600.0, seed=0)
    >>> parse_failures("30-00:00:00:2h:7")
    FailuresOption(name='30-00:00:00:2h:7', mtbf=2592000.0, repair=7200.0, seed=7)
    """
    if text == NONE:
        return FailuresOption()
    mtbf, rest = _duration(text, text.split(":"))
    repair, rest = _duration(text, rest) if rest else (REPAIR_SECONDS, rest)
    seed = parse_count(rest[0]) if len(rest) == 1 else (0 if not rest else None)
    if seed is None or min(mtbf, repair) < LEAST_SECONDS:
        raise _not_valid(text)
    return FailuresOption(text, mtbf, repair, seed)


def _duration(text: str, fields: list[str]) -> tuple[float, list[str]]:
    """The longest duration at the front, and the fields after it."""
    for count in range(len(fields), 0, -1):
        with suppress(DurationError):
            return parse_finite_duration(":".join(fields[:count])), fields[count:]
    raise _not_valid(text)


def _not_valid(text: str) -> SimulatorError:
    return SimulatorError(f"failures {text!r} are not valid: {WANTED}")
