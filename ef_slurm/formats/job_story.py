"""A job's story: what was promised, what was done, and why, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import tzinfo

from ef_slurm.formats.companion_words import companion_sentence
from ef_slurm.formats.dependencies import format_dependency
from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.finishes import format_finish, shown_slack
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.job_words import done, promise_word, slack, state_word
from ef_slurm.formats.sentences import gate_words, gpus
from ef_slurm.formats.times import format_day, format_instant, format_time_of_day
from ef_slurm.model import (
    FINAL,
    Event,
    EventKind,
    Fault,
    GateState,
    JobKind,
    JobState,
    JobView,
    Promise,
    PromiseOutcome,
    Story,
)

_HIDDEN = frozenset({EventKind.INTENT, EventKind.PROMISED})
"""Left out unless everything is asked for: how it was done, and what a verdict has told."""


_BY = {
    Fault.OWNER: "by its owner",
    Fault.JOB: "by the job itself",
    Fault.OPERATOR: "by an operator",
    Fault.CLUSTER: "by the cluster (its nodes or Slurm)",
    Fault.EF_SLURM: "by ef-slurm (what it predicted did not come true)",
}


def lines(story: Story, now: float, zone: tzinfo, *, everything: bool) -> Iterator[str]:
    """The story, a line each; `everything` includes each single action on Slurm."""
    yield from summary(story, now, zone)
    yield ""
    day = ""
    for event in told(story.events, everything=everything):
        if format_day(event.at, zone) != day:
            day = format_day(event.at, zone)
            yield day
        yield f"  {format_time_of_day(event.at, zone)}  {event_sentence(event)}"


def summary(story: Story, now: float, zone: tzinfo) -> Iterator[str]:
    """What was asked for, what was promised and how it stands, a sentence each."""
    job = story.job
    yield f"Job {job.job_id} ({job.name}) of {job.owner}: {_request(job, zone)}."
    if story.promise is not None:
        yield _promised(story.promise, zone)
    yield _present(job, now, zone)
    yield from (companion_sentence(one) for one in job.companions)
    yield from _measured(job)
    left = slack(job, now)
    if left is not None and job.state not in FINAL:
        word = "before" if left >= 0 else "AFTER"
        length = describe_duration(abs(shown_slack(left)))
        yield f"It is expected to finish {length} {word} its deadline."


def told(events: Iterable[Event], *, everything: bool) -> Iterator[Event]:
    """The events that the story tells."""
    previous = ""
    for event in events:
        # A verdict and the move to another state that it causes tell the same.
        if not everything and (event.kind in _HIDDEN or event.message == previous):
            continue
        previous = event.message
        yield event


def _request(job: JobView, zone: tzinfo) -> str:
    work = "as many iterations as its script has"
    if job.iterations is not None:
        work = f"{job.iterations} iterations"
    if job.begin is not None:
        work += f", not before {format_instant(job.begin, zone)},"
    if job.dependency.conditions:
        work += f", with --dependency={format_dependency(job.dependency)},"
    if job.deadline is None:
        return f"{work.rstrip(',')}, best effort"
    due = f"{work} by {format_instant(job.deadline, zone)}"
    if job.requested_kind is JobKind.SOFT_DEADLINE:
        due += f" (at most {describe_duration(job.grace)} later)"
    if job.kind is JobKind.BEST_EFFORT:
        due += ", which could not be promised: it runs as best effort"
    return due


def _promised(promise: Promise, zone: tzinfo) -> str:
    text = (
        f"Promised on {format_instant(promise.given_at, zone)}: with at least "
        f"{gpus(promise.share)} it finishes by {format_instant(promise.deadline, zone)} "
        f"(then predicted: {format_finish(promise.finish, promise.deadline, zone)})."
    )
    by = "" if promise.fault is None else f", {_BY[promise.fault]}"
    ends = {
        PromiseOutcome.KEPT: " The promise was kept.",
        PromiseOutcome.KEPT_IN_GRACE: " The promise was kept within its grace.",
        PromiseOutcome.BROKEN: f" The promise was BROKEN{by}.",
        PromiseOutcome.VOID: f" The promise is void{by}.",
        PromiseOutcome.REPLACED: " Another one has taken its place.",
    }
    return text + ends.get(promise.outcome, "")


def _present(job: JobView, now: float, zone: tzinfo) -> str:
    percent = f"{math.floor(100 * done(job))} % done"
    if job.state in FINAL:
        when = "" if job.ended is None else f" on {format_finish(job.ended, job.deadline, zone)}"
        code = "" if job.exit_code is None else f", exit code {job.exit_code}"
        note = f": {job.note}" if job.note else ""
        return f"It is {job.state.value}{when}, {percent}{code}{note}."
    text = f"It is {state_word(job).lower()}, {percent}"
    if job.share:
        text += f", on {gpus(job.share)} of {compress(job.nodes)}"
        if job.rate:
            text += f" at {job.rate:.3g} iterations/s"
    if job.finish is not None:
        text += f"; predicted finish {format_finish(job.finish, job.deadline, zone)}"
        text += f", in {describe_duration(max(0.0, job.finish - now))}"
    if job.promise_outcome is PromiseOutcome.OPEN:
        text += f"; promise {promise_word(job).lower()}"
    if job.gate is not None and job.gate.state is not GateState.OPEN:
        text += f" ({gate_words(job.gate)})"
    if job.note and (job.state is JobState.HELD or job.share):
        text += f" ({job.note})"
    return text + "."


def _measured(job: JobView) -> Iterator[str]:
    """What is known of its speed so far, before it is judged."""
    measuring = job.measuring
    if measuring is None:
        return
    known = dict(measuring.rates)
    rates = [f"{rate:.3g} iterations/s on {gpus(size)}" for size, rate in measuring.rates]
    missing = [gpus(size) for size in measuring.wanted if size not in known]
    text = f"Nobody knew how fast it trains. Measured so far: {', '.join(rates) or 'nothing'}"
    if missing:
        text += f"; to be measured: {', '.join(missing)}"
    waits = "" if job.share else " It waits for its turn, beside the promises to others."
    yield f"{text}. Then it is judged.{waits}"


def event_sentence(event: Event) -> str:
    """What happened, as a sentence, with who did it where that was not the daemon."""
    message = event.message.strip() or event.kind.value
    by = "" if event.actor in ("", "ef-schedd") else f" [{event.actor}]"
    return f"{message[0].upper()}{message[1:].rstrip('.')}.{by}"
