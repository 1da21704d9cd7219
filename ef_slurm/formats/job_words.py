"""A job of the queue in single words and numbers, as all who show one have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ef_slurm.formats.sentences import NameOf, begin_words, gate_words, gpus, reason_sentence
from ef_slurm.model import (
    FINAL,
    GateState,
    JobState,
    JobView,
    OtherJob,
    PromiseOutcome,
    PromiseState,
    queue_id,
    slack_seconds,
)


def begins(job: JobView) -> float | None:
    """When it first started, or starts by its plan; None where that is not known."""
    if job.started is not None or job.state in FINAL:
        return job.started
    return job.schedule[0].start if job.schedule else None


def slack(job: JobView, now: float) -> float | None:
    """Seconds between the predicted (or real) finish and the deadline; negative when too late."""
    if job.deadline is None:
        return None
    if job.state is JobState.COMPLETED and job.ended is not None:
        return slack_seconds(job.ended, job.deadline)
    if job.state in FINAL:
        return None
    return None if job.finish is None else slack_seconds(max(job.finish, now), job.deadline)


MEASURING = "MEASURING"
"""What a job is called that trains, or waits to, before it can be judged."""


def state_word(job: JobView) -> str:
    """Its state in one word."""
    if job.measuring is not None and job.state is not JobState.HELD:
        return MEASURING
    return job.state.value.upper()


def measuring_words(job: JobView) -> str:
    """How far its measuring has come: "measured 1 of 2 sizes, waits for 4 GPUs"; or ""."""
    measuring = job.measuring
    if measuring is None:
        return ""
    missing = [size for size in measuring.wanted if size not in dict(measuring.rates)]
    told = f"measured {len(measuring.rates)} of {len(measuring.rates) + len(missing)} sizes"
    if job.share or not measuring.wanted:
        return told
    return f"{told}, waits for {gpus(measuring.wanted[0])}"


def promise_word(job: JobView) -> str:
    """The state of the promise in one word; `BROKEN(cluster)` says whose doing it was."""
    outcome, fault = job.promise_outcome, job.promise_fault
    if outcome is not None and outcome is not PromiseOutcome.OPEN:
        whose = "" if fault is None else f"({fault.value})"
        return f"{outcome.value.upper()}{whose}"
    if job.state in FINAL:
        return "-"
    if job.state is JobState.WAITLISTED:
        return "WAITLISTED"
    return "-" if job.promise is PromiseState.NONE else job.promise.value.upper()


def done(job: JobView) -> float:
    """The part of the iterations that is done, 0 to 1; 0 while nobody knows how many there are."""
    if job.iterations is None:
        return 0.0
    return min(1.0, max(0.0, job.iteration / job.iterations))


def why(job: JobView, name_of: NameOf) -> str:
    """Why it has the share that it has, or what its owner should know, in a sentence."""
    # The reason is that of its last plan: of one that is held it tells nothing any more.
    if job.note and (job.reason is None or job.state is JobState.HELD):
        return job.note
    return job.state.value if job.reason is None else reason_sentence(job.reason, name_of)


def waits_for(job: JobView, now: float, reason: str) -> str:
    """What a job without GPUs waits for; once it has ended that is nothing.

    Args:
        reason: of `why`.
    """
    if job.state in FINAL:
        return reason
    if job.gate is not None and job.gate.state in (GateState.UNKNOWN, GateState.NEVER):
        return gate_words(job.gate)
    if job.measuring is not None:
        if job.begin is not None and job.begin > now:
            return begin_words(job.begin)
        return measuring_words(job)
    return reason


def name_of(others: Iterable[OtherJob]) -> Callable[[str], str]:
    """Planner's id → Slurm's, for the jobs that an answer speaks of."""
    known = {other.queue_id: str(other.job_id) for other in others}

    def name(planner_name: str) -> str:
        return known.get(queue_id(planner_name), "of somebody else")

    return name
