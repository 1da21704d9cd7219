"""What the audit log tells, counted: each event once, when somebody asks for the metrics.

The log is written by the tick, by requests and by a person's own commands, and some of it is undone
again; here only what was committed counts, and no tick pays for counting it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

from ef_slurm.model import (
    ChangeKind,
    Event,
    EventKind,
    Fault,
    JobState,
    Json,
    Outcome,
    Promise,
    PromiseOutcome,
)
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.store import Queue

PIECE = 500
"""Events that are read at a time."""
MOST_PIECES = 40
"""Pieces that are read for one answer; the rest counts in the next one."""

_COUNTED = frozenset(
    {
        *(EventKind.STATE, EventKind.VERDICT, EventKind.PROMISED, EventKind.PROMISE),
        *(EventKind.SHARE, EventKind.MEASURED, EventKind.ERROR, EventKind.USER),
    }
)
_KEPT_OR_NOT = frozenset({PromiseOutcome.KEPT, PromiseOutcome.KEPT_IN_GRACE, PromiseOutcome.BROKEN})
_NO_FAULT = "none"
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class AuditCounts:
    """Counters over the audit log since the daemon started."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._after = 0
        self._states = Counter(
            "ef_slurm_job_states_total", "Jobs that came to be so.", ["state"], registry=registry
        )
        self._verdicts = Counter(
            "ef_slurm_verdicts_total", "Answers to jobs.", ["outcome"], registry=registry
        )
        self._verdict_seconds = Histogram(
            "ef_slurm_verdict_seconds",
            "From a job's registration to its answer.",
            buckets=(0.3, 1.0, 2.0, 5.0, 10.0, 30.0, _MINUTE, 10 * _MINUTE),
            registry=registry,
        )
        self._given = Counter("ef_slurm_promises_given_total", "Promises given.", registry=registry)
        self._settled = Counter(
            "ef_slurm_promises_settled_total",
            "Promises that ended, and whose doing it was that they were not kept.",
            ["outcome", "fault"],
            registry=registry,
        )
        self._at_risk = Counter(
            "ef_slurm_promises_came_at_risk_total",
            "Times that a plan would finish a promised job too late.",
            registry=registry,
        )
        self._early = Histogram(
            "ef_slurm_promise_early_seconds",
            "How long before its deadline a promised job ended; 0 for later.",
            buckets=(0.0, _MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY),
            registry=registry,
        )
        self._error = Histogram(
            "ef_slurm_prediction_error_ratio",
            "By how much of the predicted time a promised job ended later (earlier: negative).",
            buckets=(-0.5, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0),
            registry=registry,
        )
        self._shares = Counter(
            "ef_slurm_share_changes_total",
            "Changes of what a job is to hold.",
            ["direction"],
            registry=registry,
        )
        self._change_seconds = Histogram(
            "ef_slurm_change_seconds",
            "From the decision on a change to training again, by its kind.",
            ["kind"],
            buckets=(1.0, 3.0, 5.0, 10.0, 20.0, 30.0, _MINUTE, 2 * _MINUTE, 5 * _MINUTE),
            registry=registry,
        )
        self._errors = Counter(
            "ef_slurm_job_errors_total", "Errors that jobs' stories tell.", registry=registry
        )
        self._users = Counter(
            "ef_slurm_foreign_acts_total",
            "Times that somebody acted in Slurm on a job, or beside ef-slurm.",
            registry=registry,
        )
        self._add_what_is_known_before()

    def _add_what_is_known_before(self) -> None:
        """Series that are 0 and not missing until something happens."""
        for state in JobState:
            self._states.labels(state.value)
        for verdict in Outcome:
            self._verdicts.labels(verdict.value)
        for kind in ChangeKind:
            self._change_seconds.labels(kind.value)
        for direction in ("start", "grow", "shrink", "move", "pause"):
            self._shares.labels(direction)
        for outcome in PromiseOutcome:
            if outcome in (PromiseOutcome.BROKEN, PromiseOutcome.VOID):
                for fault in Fault:
                    self._settled.labels(outcome.value, fault.value)
            elif outcome is not PromiseOutcome.OPEN:
                self._settled.labels(outcome.value, _NO_FAULT)

    def begin(self, queue: Queue) -> None:
        """What is in the log by now does not count."""
        last = [event for kind in EventKind for event in queue.events.last(kind, 1)]
        self._after = max((event.id for event in last), default=0)

    def read(self, queue: Queue) -> None:
        """Count what is new in the log.

        Raises:
            QueueError: it cannot be read; what could be is counted.
        """
        for _ in range(MOST_PIECES):
            events = queue.events.all(after=self._after, kinds=_COUNTED, limit=PIECE)
            for event in events:
                self._after = event.id
                self._count(queue, event)
            if len(events) < PIECE:
                return

    def _count(self, queue: Queue, event: Event) -> None:
        data = event.data
        match event.kind:
            case EventKind.STATE:
                self._count_state(queue, event)
            case EventKind.VERDICT:
                self._verdicts.labels(_known(Outcome, data.get("outcome"))).inc()
            case EventKind.PROMISED:
                self._given.inc()
            case EventKind.PROMISE:
                self._count_promise(queue, event)
            case EventKind.SHARE:
                self._shares.labels(_direction(data)).inc()
            case EventKind.MEASURED:
                what, seconds = data.get("what"), data.get("value")
                if what in _CHANGES and isinstance(seconds, int | float):
                    self._change_seconds.labels(str(what)).observe(seconds)
            case EventKind.ERROR:
                self._errors.inc()
            case _:
                self._users.inc()

    def _count_state(self, queue: Queue, event: Event) -> None:
        before, after = event.data.get("from"), event.data.get("to")
        self._states.labels(_known(JobState, after)).inc()
        if before == JobState.NEW.value and after in _ANSWERED and event.job_id is not None:
            try:
                submitted = queue.jobs.get(event.job_id).request.submitted
            except NoSuchRowError:
                return
            self._verdict_seconds.observe(max(0.0, event.at - submitted))

    def _count_promise(self, queue: Queue, event: Event) -> None:
        data, is_now = event.data, event.data.get("to")
        if data.get("from") != PromiseOutcome.OPEN.value:
            if is_now == "at-risk":
                self._at_risk.inc()
            return
        outcome = PromiseOutcome(_known(PromiseOutcome, is_now, PromiseOutcome.VOID.value))
        fault = _known(Fault, data.get("fault"), _NO_FAULT)
        self._settled.labels(outcome.value, fault).inc()
        if outcome in _KEPT_OR_NOT and event.job_id is not None:
            try:
                promise = queue.promises.of(event.job_id)
                ended = queue.jobs.get(event.job_id).ended_at
            except NoSuchRowError:
                return
            if promise is not None and ended is not None:
                self._compare(promise, ended)

    def _compare(self, promise: Promise, ended: float) -> None:
        self._early.observe(max(0.0, promise.deadline - ended))
        predicted = promise.finish - promise.given_at
        if predicted > 0.0:
            self._error.observe((ended - promise.finish) / predicted)


_CHANGES = frozenset(kind.value for kind in ChangeKind)
_ANSWERED = frozenset(
    state.value for state in (JobState.ADMITTED, JobState.WAITLISTED, JobState.REJECTED)
)


def _known(kind: type[enum.Enum], value: Json, other: str = "other") -> str:
    """A label's value: one of an enum's, whatever an older version has written."""
    return str(value) if value in {member.value for member in kind} else other


def _direction(data: Mapping[str, Json]) -> str:
    before, after = data.get("from"), data.get("to")
    if not isinstance(before, int) or not isinstance(after, int):
        return "other"
    if before == 0:
        return "start"
    if after == 0:
        return "pause"
    return "move" if after == before else "grow" if after > before else "shrink"
