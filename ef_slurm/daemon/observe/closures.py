"""What Slurm has refused a job, and for how long it is not asked for again.

A refusal is information: the size, the nodes, or this size on these nodes are *closed* to the job
for a while, so that the next plan is another one. Each refusal closes for twice as long as the one
before. A start that succeeds opens what it shows to be possible.

>>> closures = Closures()
>>> block = Block("a100", ("n1", "n2"), 4)
>>> closures.refuse(7, block, "QOSMaxGRESPerUser", now=0.0)
>>> closures.of(7, now=10.0).max_gpus, closures.of(7, now=1e6)
(4, None)
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from ef_slurm.daemon.pauses import lately
from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.model import Bar, Block, Event, Json, ModelError
from ef_slurm.slurm.refusals import Refused, refusal_of

CLOSED_SECONDS: Mapping[Refused, float] = {
    Refused.SIZE: 1800.0,
    Refused.NODES: 300.0,
    Refused.JOB: 300.0,
    Refused.BUSY: 60.0,
    Refused.UNKNOWN: 600.0,
}
"""Seconds for which a first refusal closes; each further one doubles them."""

LONGEST_CLOSED_SECONDS = 4 * 3600.0

MOST_RECALLED = 1000
"""Lines of the audit log in which a daemon that has just started looks for refusals."""

MOST_KEPT = 32
"""Refusals kept for a job: a plan that keeps away from its latest ones is another plan."""


@dataclass(frozen=True, slots=True)
class _Span:
    """For how many seconds something is closed, from `at`, UTC epoch seconds."""

    at: float
    seconds: float

    @property
    def until(self) -> float:
        return self.at + self.seconds

    def counts(self, now: float) -> bool:
        return lately(self.at, self.seconds, now)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal: what was asked for, what of it is closed, for how long.

    Args:
        words: Slurm's own.
    """

    block: Block
    refused: Refused
    words: str
    span: _Span


@dataclass(frozen=True, slots=True)
class Closed:
    """All that is closed to a job at one moment.

    Args:
        max_gpus: the largest size that is open, 0 for none; None where no size is closed.
        bars: nodes that are closed to it.
        words: what Slurm said last.
        until: when the first of it opens again, epoch seconds.
    """

    max_gpus: int | None
    bars: tuple[Bar, ...]
    words: str
    until: float


class Closures:
    """The refusals that count still, by queue id."""

    def __init__(self) -> None:
        self._refusals: dict[int, list[Refusal]] = {}
        self._live: dict[int, list[_Span]] = {}

    def refuse(
        self, job_id: int, block: Block, words: str, now: float, refused: Refused | None = None
    ) -> None:
        """Slurm has refused a job this block, in these words.

        Args:
            refused: what of it; None for what the words say.
        """
        refused, before = refused or refusal_of(words), self._refusals.setdefault(job_id, [])
        alike = sum(one.refused is refused for one in before)
        seconds = min(CLOSED_SECONDS[refused] * 2 ** min(alike, 16), LONGEST_CLOSED_SECONDS)
        before.append(Refusal(block, refused, words, _Span(now, seconds)))
        del before[:-MOST_KEPT]

    def refuse_live(self, job_id: int, refused: Refused, now: float) -> None:
        """A job could not grow while it trains, for a reason that says nothing of its block."""
        before = self._live.setdefault(job_id, [])
        seconds = CLOSED_SECONDS[refused] * 2 ** min(len(before), 16)
        before.append(_Span(now, min(seconds, LONGEST_CLOSED_SECONDS)))
        del before[:-MOST_KEPT]

    def live_open(self, job_id: int, now: float) -> bool:
        """Whether a job may try to grow while it trains."""
        return not any(span.counts(now) for span in self._live.get(job_id, ()))

    def recall(self, events: Iterable[Event], jobs: Container[int]) -> None:
        """Take in what Slurm refused before this daemon started (`refusal_data`).

        Args:
            events: of the audit log, oldest first.
            jobs: queue ids of those that have not ended.
        """
        for event in events:
            if event.job_id is not None and event.job_id in jobs:
                refused = _refused_in(event)
                if refused is not None:
                    size = event.data.get("of") == Refused.SIZE.value
                    what = Refused.SIZE if size else None
                    self.refuse(event.job_id, *refused, now=event.at, refused=what)
                words = event.data.get("live_refused")
                if isinstance(words, str):
                    unknown = event.data.get("of") == Refused.UNKNOWN.value
                    live = Refused.UNKNOWN if unknown else refusal_of(words)
                    self.refuse_live(event.job_id, live, event.at)

    def of(self, job_id: int, now: float) -> Closed | None:
        """What is closed to a job now; None for nothing."""
        refusals = [one for one in self._refusals.get(job_id, ()) if one.span.counts(now)]
        if not refusals:
            return None
        sizes = [most for one in refusals if (most := _largest_open(one)) is not None]
        return Closed(
            max_gpus=min(sizes, default=None),
            bars=tuple(bar for one in refusals if (bar := _bar(one)) is not None),
            words=refusals[-1].words,
            until=min(one.span.until for one in refusals),
        )

    def next_opening(self, now: float) -> float:
        """When something opens again; infinite if nothing is closed."""
        spans = [one.span for refusals in self._refusals.values() for one in refusals]
        spans += [span for closed in self._live.values() for span in closed]
        return min((span.until for span in spans if span.counts(now)), default=math.inf)

    def started(self, job_id: int, block: Block) -> None:
        """A job runs on a block: whatever closes that, or as much on these nodes, was mistaken."""
        refusals = self._refusals.get(job_id)
        if refusals:
            refusals[:] = [one for one in refusals if not _contradicts(block, one)]

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._refusals.pop(job_id, None)
        self._live.pop(job_id, None)


def live_refusal_data(words: str, refused: Refused) -> Mapping[str, Json]:
    """What the audit log keeps of a growth that failed while the job trained.

    Args:
        words: for whoever reads it. They may be the job's own, so they do not say what of it is
            refused.
    """
    return {"live_refused": words, "of": refused.value}


def refusal_data(block: Block, words: str) -> Mapping[str, Json]:
    """What the audit log keeps of a refusal, for a later daemon."""
    return {
        "refused": words,
        "gpu_type": block.gpu_type,
        "nodes": list(block.nodes),
        "gpus_per_node": block.gpus_per_node,
        "first_gpu": block.first_gpu,
    }


def _refused_in(event: Event) -> tuple[Block, str] | None:
    """The block and Slurm's words; None where the event tells of no refusal."""
    match event.data:
        case {
            "refused": str(words),
            "gpu_type": str(gpu_type),
            "nodes": [*nodes],
            "gpus_per_node": int(per_node),
            "first_gpu": int(first),
        }:
            try:
                return Block(gpu_type, tuple(map(str, nodes)), per_node, first), words
            except ModelError:
                return None
    return None


def _largest_open(refusal: Refusal) -> int | None:
    """The largest size that is open after a refusal, whatever the nodes; None for any."""
    match refusal.refused:
        case Refused.JOB:
            return 0
        case Refused.SIZE:
            return refusal.block.gpus // 2
        case _:
            return None


def _named(words: str) -> frozenset[str]:
    """The nodes that a reason names ("ReqNodeNotAvail, UnavailableNodes:n[3-4]")."""
    _, found, names = words.partition("UnavailableNodes:")
    try:
        return frozenset(expand(names.strip())) if found else frozenset()
    except HostlistError:
        return frozenset()


def _bar(refusal: Refusal) -> Bar | None:
    """The nodes that are closed after a refusal; None for none."""
    nodes = frozenset(refusal.block.nodes)
    match refusal.refused:
        case Refused.NODES:
            return Bar(nodes & _named(refusal.words) or nodes)
        case Refused.BUSY | Refused.UNKNOWN:
            return Bar(nodes, refusal.block.gpus)  # a smaller block of them may do
        case _:
            return None


def _contradicts(block: Block, refusal: Refusal) -> bool:
    """Whether that a job runs on a block shows that a refusal does not count any more."""
    same_nodes = not set(block.nodes).isdisjoint(refusal.block.nodes)
    as_large = block.gpus >= refusal.block.gpus
    match refusal.refused:
        case Refused.JOB:
            return True
        case Refused.SIZE:
            return as_large
        case Refused.NODES:
            return same_nodes
        case Refused.BUSY | Refused.UNKNOWN:
            return same_nodes and as_large
