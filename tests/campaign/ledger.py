"""Which faults there were, and which of them a broken promise is laid to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

BEFORE_SECONDS = 10.0
"""A fault may be the cause of a gap that begins so long after it was healed: Slurm finds out, and a
requeued job may not start at once."""


@dataclass(frozen=True)
class Done:
    """A fault that was done.

    Args:
        begun, healed: s since 1970.
        stops: nodes whose trainings it stopped.
        error: what went wrong with doing it or healing it; "" if nothing.
    """

    kind: str
    where: str
    begun: float
    healed: float
    stops: tuple[str, ...] = ()
    error: str = ""

    def overlap(self, since: float, until: float) -> float:
        """Seconds for which it was in force between two moments."""
        return max(0.0, min(until, self.healed) - max(since, self.begun))


def explain(
    faults: Iterable[Done],
    gaps: Iterable[tuple[float, float, str]],
    since: float,
    until: float,
) -> tuple[str, float]:
    """The kind of fault to which most of a job's lost time is laid, and how much of it.

    A gap in a training is laid to the fault that stopped its node, or else to the one that was
    longest in force while the gap was; where a job has no gap, to what was in force while it lived.

    Args:
        gaps: from, to, host (`traces.Trace.gaps`).
        since, until: the job's life.

    Returns:
        The kind, "" where there was no fault at all, and seconds.
    """
    known = list(faults)
    blame: Counter[str] = Counter()
    for begun, ended, host in gaps:
        near = [fault for fault in known if fault.overlap(begun - BEFORE_SECONDS, ended) > 0]
        direct = [fault for fault in near if host in fault.stops]
        if direct or near:
            chief = max(direct or near, key=lambda f: f.overlap(begun - BEFORE_SECONDS, ended))
            blame[chief.kind] += round(1000 * (ended - begun))
    if not blame:
        for fault in known:
            blame[fault.kind] += round(1000 * fault.overlap(since, until))
    for kind, milliseconds in blame.most_common(1):
        if milliseconds > 0:
            return kind, milliseconds / 1000
    return "", 0.0
