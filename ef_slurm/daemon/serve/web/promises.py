"""What was promised and what came of it: open promises, the record, how good predictions are."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ef_slurm.charts.bars import stacked
from ef_slurm.charts.chart import AMBER, BLUE, GREY, RED, Clock, Elapsed
from ef_slurm.charts.lines import Values
from ef_slurm.daemon.serve.web.view import Look
from ef_slurm.daemon.serve.web.words import length, plain
from ef_slurm.model import PromiseOutcome, PromiseState
from ef_slurm.queue.past import MOST_PROMISES, SettledPromise

_SPANS = (1, 7, 30, 90, 365)
_BINS = 30
_MOST_LISTED = 50
_OUTCOMES = {
    PromiseOutcome.KEPT: ("kept", BLUE),
    PromiseOutcome.KEPT_IN_GRACE: ("kept within its grace", AMBER),
    PromiseOutcome.BROKEN: ("broken", RED),
    PromiseOutcome.VOID: ("void", GREY),
}
"""A replaced promise goes on in the one that took its place."""
_JUDGED = (PromiseOutcome.KEPT, PromiseOutcome.KEPT_IN_GRACE, PromiseOutcome.BROKEN)
_WIDEST = 0.5
_ERROR_BINS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A promise that has ended, in a table."""

    job_id: int
    name: str
    owner: str
    deadline: float
    finish: float
    ended: float | None
    outcome: str
    tone: str
    fault: str
    early: str
    off: str


def content(look: Look, *, days: int) -> dict[str, Any]:
    """What the template shows.

    Args:
        days: of the record.
    """
    since = look.now - 86400.0 * days
    found = [
        one
        for one in look.queue.past.promises(since, look.viewer.may_see)
        if one.outcome in _OUTCOMES
    ]
    jobs = look.jobs()
    open_ones = [job for job in jobs.jobs if job.promise_outcome is PromiseOutcome.OPEN]
    rows = look.rows(jobs, lambda job: job.promise_outcome is PromiseOutcome.OPEN)
    order = {"bad": 0, "warn": 1, "good": 2, "": 3}
    counted = {outcome: sum(one.outcome is outcome for one in found) for outcome in _OUTCOMES}
    judged = sum(counted[outcome] for outcome in _JUDGED)
    broken = counted[PromiseOutcome.BROKEN]
    at_risk = sum(job.promise is PromiseState.AT_RISK for job in open_ones)
    kept = f"{(judged - broken) / judged:.1%}" if judged else "-"
    early = length(_middle(early_of(found)))
    errors = [error for one in found if (error := error_of(one)) is not None]
    return {
        "tiles": [
            (str(len(open_ones)), "promises are open", False),
            (str(at_risk), "of them at risk", at_risk > 0),
            (kept, f"kept in {_span(days)}", False),
            (str(broken), f"broken in {_span(days)}", broken > 0),
            (early, "before the deadline, half of the kept ones", False),
            (f"{_middle([abs(e) for e in errors]):.1%}" if errors else "-",
             "off the predicted time, half of all", False),
        ],
        "open": sorted(rows, key=lambda row: (order[row.tone], row.deadline or 0.0)),
        "days": days,
        "spans": _SPANS,
        "record": _record(found, since, look.now) if found else None,
        "calibration": _calibration(errors) if errors else None,
        "errors": _table_of(errors),
        "counts": [(_OUTCOMES[one][0], counted[one]) for one in _OUTCOMES],
        "settled": [_row(one) for one in found[:_MOST_LISTED]],
        "cut": len(found) >= MOST_PROMISES,
    }  # fmt: skip


def error_of(one: SettledPromise) -> float | None:
    """By which part of the predicted time it took longer (negative: less); None if it did not end.

    What is void says nothing of the prediction.
    """
    if one.outcome not in _JUDGED or one.ended is None or one.finish <= one.given_at:
        return None
    return (one.ended - one.finish) / (one.finish - one.given_at)


def early_of(found: Sequence[SettledPromise]) -> list[float]:
    """Seconds before their deadlines at which kept ones were done."""
    return [
        one.deadline - one.ended
        for one in found
        if one.outcome is PromiseOutcome.KEPT and one.ended is not None
    ]


def _middle(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _span(days: int) -> str:
    return "24 hours" if days == 1 else f"{days} days"


def _record(found: Sequence[SettledPromise], since: float, now: float) -> Any:
    width = (now - since) / _BINS
    edges = [since + width * place for place in range(_BINS + 1)]
    counts = {name: [0.0] * _BINS for name, _ in _OUTCOMES.values()}
    for one in found:
        place = min(_BINS - 1, max(0, int((one.settled_at - since) / width)))
        counts[_OUTCOMES[one.outcome][0]][place] += 1
    label = "Promises by when they ended, and how: the numbers are in the table below."
    return stacked(
        label,
        edges,
        counts,
        dict(_OUTCOMES.values()),
        Clock(since, now),
        Values("promises", whole=True),
    )


def _calibration(errors: Sequence[float]) -> Any:
    width = 2 * _WIDEST / _ERROR_BINS
    edges = [100 * (place * width - _WIDEST) for place in range(_ERROR_BINS + 1)]
    counts = [0.0] * _ERROR_BINS
    for error in errors:
        counts[min(_ERROR_BINS - 1, max(0, int((error + _WIDEST) / width)))] += 1
    axis = _Percent(edges[0], edges[-1])
    label = "By how much jobs took less or more than was predicted when they were promised."
    return stacked(label, edges, {"jobs": counts}, {"jobs": BLUE}, axis, Values("jobs", whole=True))


@dataclass(frozen=True, slots=True)
class _Percent(Elapsed):
    """An axis of percent around nothing; the outermost bins hold all that is beyond."""

    unit: float = 1.0
    name: str = ""

    def place(self, at: float) -> float:
        """As it is."""
        return round(at, 3)

    def encoding(self) -> dict[str, Any]:
        """The x axis."""
        return {
            "type": "quantitative",
            "title": "% of the predicted time, less or more",
            "scale": {"nice": False, "zero": False},
            "axis": {"labelOverlap": "greedy", "format": "+d"},
        }


def _table_of(errors: Sequence[float]) -> list[tuple[str, int]]:
    bounds = (
        ("more than 10 % less than predicted", lambda e: e < -0.1),
        ("within 10 %", lambda e: -0.1 <= e <= 0.1),
        ("10 % to 25 % more", lambda e: 0.1 < e <= 0.25),
        ("more than 25 % more", lambda e: e > 0.25),
    )
    return [(name, sum(map(test, errors))) for name, test in bounds]


def _row(one: SettledPromise) -> Row:
    name, _ = _OUTCOMES[one.outcome]
    tones = {"kept": "good", "kept within its grace": "warn", "broken": "bad"}
    error = error_of(one)
    early = "-"
    if one.ended is not None and one.outcome in _JUDGED:
        early = length(one.deadline - one.ended)
    return Row(
        job_id=one.job_id,
        name=plain(one.name),
        owner=plain(one.owner),
        deadline=one.deadline,
        finish=one.finish,
        ended=one.ended,
        outcome=name,
        tone=tones.get(name, ""),
        fault="" if one.fault is None else one.fault.value,
        early=early,
        off="-" if error is None else f"{error:+.1%}",
    )
