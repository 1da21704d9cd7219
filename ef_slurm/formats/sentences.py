"""Reasons and verdicts as sentences with numbers, for owners and the audit log."""

from __future__ import annotations

import math
from collections.abc import Callable

from ef_slurm.formats.times import format_host_instant
from ef_slurm.model import FOREVER, Gate, GateState, Outcome, Reason, ReasonCode, Verdict

NameOf = Callable[[str], str]
"""Planner's id of a job → what people call it (Slurm's id)."""


def instant(at: float | None) -> str:
    """A moment as this host's people read it, with its zone.

    >>> instant(None)
    'an unknown time'
    """
    if at is None:
        return "an unknown time"
    if at == FOREVER:
        return "further notice"
    return format_host_instant(at)


def gpus(count: int | None) -> str:
    """A number of GPUs.

    >>> gpus(1), gpus(4)
    ('1 GPU', '4 GPUs')
    """
    return "some GPUs" if count is None else f"{count} GPU{'' if count == 1 else 's'}"


def jobs_worth(worth: float | None) -> str:
    """What GPU time is worth, counted in jobs.

    >>> jobs_worth(1.24), jobs_worth(37.2)
    ('1.2 typical jobs', '37 typical jobs')
    """
    if worth is None:
        return "several jobs"
    return f"{worth:.1f} typical jobs" if worth < 9.95 else f"{worth:,.0f} typical jobs"


def begin_words(begin: float | None, why: str = "") -> str:
    """That something may not start yet, with Slurm's word for it.

    Args:
        begin: from when on it may.
        why: what keeps it until then; "" for its owner's wish.
    """
    if why:
        return f"Dependency: it may not start before {instant(begin)}: it {why}"
    return f"BeginTime: it may not start before {instant(begin)}"


def gate_words(gate: Gate) -> str:
    """What a job waits for, with Slurm's word for it."""
    if gate.state is GateState.NEVER:
        return f"DependencyNeverSatisfied: {gate.words}"
    return f"Dependency: {gate.words}"


def reason_sentence(reason: Reason, name_of: NameOf) -> str:
    """Why a job has the share that it has."""
    other = "another job" if reason.job is None else f"job {name_of(reason.job)}"
    held = gpus(reason.gpus)
    until = "" if reason.until is None else f" until {instant(reason.until)}"
    match reason.code:
        case ReasonCode.STARTED:
            return f"starts on {held}"
        case ReasonCode.KEPT:
            return f"keeps its {held}" if reason.gpus else "keeps its share"
        case ReasonCode.GREW:
            return f"grows to {held}: no job gains more from them{until}"
        case ReasonCode.PEAK:
            return f"shrinks to {held}: it trains no faster on more"
        case ReasonCode.SHRANK if reason.measured:
            return f"shrinks to {held}: {other} is measured on the rest first"
        case ReasonCode.SHRANK:
            return f"shrinks to {held}: the promise to {other} needs the rest"
        case ReasonCode.MIGRATED:
            return f"moves to other nodes so that {other} fits"
        case ReasonCode.PAUSED if reason.measured:
            return f"pauses: {other} is measured on its GPUs first"
        case ReasonCode.PAUSED:
            return f"pauses: the promise to {other} needs its GPUs"
        case ReasonCode.WAITS:
            return f"waits for GPUs{until}"
        case ReasonCode.DEPENDENCY:
            return f"Dependency: it {reason.limit or 'waits for another job'}: nobody can say when"
        case ReasonCode.BEGIN:
            return begin_words(reason.until, reason.limit)
        case ReasonCode.LIMITED if reason.gpu_hours is not None:
            return (
                f"the promises to its owner or account would take {reason.gpu_hours:.1f} GPU-hours "
                f"with it, and the limit is {reason.gpu_hours_limit:.1f}"
            )
        case ReasonCode.LIMITED if reason.gpus is None:
            limit = reason.limit or "an owner's or account's limit"
            return f"{limit} leaves it too little beside other jobs"
        case ReasonCode.LIMITED if reason.limit and not reason.gpus:
            return f"{reason.limit} does not let it start"
        case ReasonCode.LIMITED if reason.limit:
            return f"{reason.limit} allows it {held} at most"
        case ReasonCode.LIMITED:
            return f"a limit of {held} applies, of the job's, its owner's or its account's"
        case ReasonCode.TIME_LIMIT:
            return f"it would be ended before it is done: {reason.limit or 'its time limit'}"
        case ReasonCode.REJECTED:
            return f"the cluster is promised to others{until}"
        case ReasonCode.RESTRICTED if reason.until is None:
            return "not even all nodes that it may have finish it by its deadline"
        case ReasonCode.RESTRICTED:
            return f"the nodes that it may have are promised to others{until}"
        case ReasonCode.PRICED:
            return (
                "the cluster could carry it, but the GPU time that it asks for is worth as much as "
                f"{jobs_worth(reason.worth)} now"
            )
        case ReasonCode.UNAVAILABLE:
            there = f"only {held}" if reason.gpus else "none"
            return (
                f"{there} of the GPUs that it could use can be counted on now: the others are "
                "drained, down, powered down, reserved, or held by jobs that are not ef-slurm's"
            )
        case ReasonCode.TOO_LARGE:
            return "not even the empty cluster finishes it by its deadline"
        case ReasonCode.LOST_CAPACITY:
            return "GPUs that its promise counted on went away, or it was put back or kept waiting"
        case ReasonCode.STALLED:
            return "it stopped training and gave its GPUs back; ef-scontrol release lets it go on"
        case ReasonCode.BEHIND:
            return "it trains more slowly than its throughput curve says, or was started anew"
        case ReasonCode.REFUSED:
            return "Slurm does not start it where it was to run"
        case ReasonCode.NOT_STARTED:
            return "it has not started when it was to"
        case ReasonCode.MEASURED:
            if not reason.gpus:
                return "waits for its turn to be measured"
            return f"trains on {held} to be measured"
        case ReasonCode.UNMEASURED:
            return "its speed is not known, and its deadline passed before it could be measured"


def verdict_sentence(verdict: Verdict, name_of: NameOf) -> str:
    """The answer to a job's owner."""
    why = reason_sentence(verdict.reason, name_of)
    offer = ""
    if verdict.earliest_deadline is not None:
        # Rounded up: a second earlier it could not be promised.
        earliest = instant(math.ceil(verdict.earliest_deadline))
        offer = f"; the earliest deadline that can be promised is {earliest}"
    match verdict.outcome:
        case Outcome.PROMISED:
            enough = "is enough" if verdict.share == 1 else "are enough"
            return (
                f"promised: {gpus(verdict.share)} {enough}, "
                f"predicted finish {instant(verdict.finish)}"
            )
        case Outcome.BEST_EFFORT:
            return f"runs as best effort ({why})"
        case Outcome.WAITLISTED:
            return f"waits until its deadline can be promised ({why}{offer})"
        case Outcome.REJECTED:
            return f"not promised: {why}{offer}"
