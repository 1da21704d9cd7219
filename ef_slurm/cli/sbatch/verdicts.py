"""The answer to a submission, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from ef_slurm.cli.common.errors import ExitCode
from ef_slurm.cli.common.offers import pasted_in_time
from ef_slurm.cli.sbatch.submit import Answer
from ef_slurm.formats.dependencies import format_dependency
from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.finishes import format_finish, shown_slack
from ef_slurm.formats.sentences import gate_words, gpus, reason_sentence
from ef_slurm.formats.times import format_instant, format_iso
from ef_slurm.model import (
    Gate,
    GateState,
    IfInfeasible,
    JobKind,
    JobRequest,
    Measuring,
    Outcome,
    Reason,
    Schedule,
    slack_seconds,
)


@dataclass(frozen=True, slots=True)
class VerdictView:
    """A verdict with what belongs to it.

    Args:
        request: the job.
        at: when it was judged.
        schedule: the plan that comes with it.
    """

    request: JobRequest
    outcome: Outcome
    reason: Reason
    share: int
    finish: float | None
    earliest_deadline: float | None
    schedule: Schedule
    at: float

    @property
    def start(self) -> float | None:
        """When it is predicted to start."""
        return self.schedule[0].start if self.schedule else None

    @property
    def planned_finish(self) -> float | None:
        """When the plan that comes with the verdict finishes it: `finish` or earlier."""
        return self.schedule[-1].end if self.schedule else self.finish

    @property
    def slack(self) -> float | None:
        """Seconds between the predicted finish and the deadline."""
        if self.planned_finish is None or self.request.deadline is None:
            return None
        return slack_seconds(self.planned_finish, self.request.deadline)

    @property
    def offer(self) -> float | None:
        """A deadline that is still promised when it is pasted a moment later."""
        return pasted_in_time(self.earliest_deadline, self.at)

    @property
    def exit_code(self) -> ExitCode:
        """How ef-sbatch ends."""
        return ExitCode.INFEASIBLE if self.outcome is Outcome.REJECTED else ExitCode.OK


def of_answer(answer: Answer) -> VerdictView | None:
    """The verdict that a submission got; None without one."""
    if answer.status is None or answer.status.job.verdict is None:
        return None
    verdict = answer.status.job.verdict
    return VerdictView(
        answer.request,
        verdict.outcome,
        verdict.reason,
        verdict.share,
        verdict.finish,
        verdict.earliest_deadline,
        answer.status.job.schedule,
        verdict.at,
    )


def lines(shown: VerdictView, zone: tzinfo, naming: Callable[[str], str]) -> Iterator[str]:
    """The verdict for a person."""
    match shown.outcome:
        case Outcome.PROMISED:
            yield from _promised(shown, zone)
        case Outcome.BEST_EFFORT:
            if shown.request.kind is JobKind.BEST_EFFORT:
                yield "Best effort: runs on GPUs that no promise needs"
            else:
                yield f"Not promised, runs as best effort: {_why(shown, naming)}"
            yield from _times(shown, zone)
        case Outcome.WAITLISTED:
            yield f"Waitlisted: {_why(shown, naming)}"
            yield f"  deadline   {_deadline(shown.request, zone)}"
            yield from _begin(shown.request, zone)
            yield "  It is judged again whenever GPUs come free."
            yield from _offer(shown, zone)
        case Outcome.REJECTED:
            yield f"Not promised: {_why(shown, naming)}"
            yield f"  deadline   {_deadline(shown.request, zone)}"
            yield from _begin(shown.request, zone)
            yield from _offer(shown, zone)
            for_good = shown.reason.is_for_good
            if for_good and shown.request.if_infeasible is IfInfeasible.WAIT:
                yield "  It would wait in vain (--if-infeasible=wait): this does not pass."
            wait = "" if for_good else "wait for GPUs with --if-infeasible=wait, or "
            yield f"  Or {wait}run with --best-effort."


def plan_lines(schedule: Schedule, zone: tzinfo) -> Iterator[str]:
    """The plan, a line per share."""
    for part in schedule:
        start = format_instant(part.start, zone)
        open_end = math.isinf(part.end)
        length = (
            "until further notice"
            if open_end
            else f"for {describe_duration(part.end - part.start)}"
        )
        yield f"  {start}  {gpus(part.gpus):>8} of {part.gpu_type} {length}"


def as_json(shown: VerdictView) -> dict[str, object]:
    """The verdict for programs, for `codec.pretty`; times are UTC epoch seconds."""
    return {
        "job_id": shown.request.slurm_job_id or None,
        "name": shown.request.name,
        "outcome": shown.outcome,
        "reason": shown.reason,
        "deadline": shown.request.deadline,
        "begin": shown.request.begin,
        "grace": shown.request.grace,
        "share": shown.share,
        "start": shown.start,
        "finish": shown.finish,
        "planned_finish": shown.planned_finish,
        "slack": shown.slack,
        "earliest_deadline": shown.earliest_deadline,
        "offer": shown.offer,
        "state_dir": shown.request.state_dir,
        "plan": shown.schedule,
        "measured_on": (),
        "measuring": None,
    }


def measuring_lines(
    request: JobRequest, sizes: Sequence[int], seconds: float, zone: tzinfo
) -> Iterator[str]:
    """What happens to a job of which nobody knows how fast it trains.

    Args:
        sizes: GPUs on which it is measured.
        seconds: of training that this takes.
    """
    listed = [str(size) for size in sorted(sizes)] or ["some"]
    on = " and ".join((", ".join(listed[:-1]), listed[-1])) if len(listed) > 1 else listed[0]
    noun = "GPU" if sorted(sizes) == [1] else "GPUs"
    if request.curves:
        yield (
            f"Not known yet how many iterations it has: it starts on {on} {noun}, and is answered "
            "once its script has told"
        )
    else:
        yield (
            f"Not known yet how fast it trains: it is measured while it trains, for about "
            f"{describe_duration(seconds)} on {on} {noun}, then answered"
        )
    yield f"  deadline   {_deadline(request, zone)}"
    yield from _begin(request, zone)
    yield "  It trains beside the promises to others; on a full cluster it waits for its turn."
    match request.if_infeasible:
        case _ if request.kind is JobKind.BEST_EFFORT:
            pass
        case IfInfeasible.REJECT:
            yield "  If the deadline cannot be promised then, it ends (--if-infeasible=reject)."
        case IfInfeasible.WAIT:
            yield "  If the deadline cannot be promised then, it waits (--if-infeasible=wait)."
        case IfInfeasible.BEST_EFFORT:
            yield "  If the deadline cannot be promised then, it goes on as best effort."


def measuring_json(
    request: JobRequest, sizes: Sequence[int], measuring: Measuring | None
) -> dict[str, object]:
    """The same for programs, with the keys of a verdict: there is none yet."""
    return {
        "job_id": request.slurm_job_id or None,
        "name": request.name,
        "outcome": None,
        "reason": None,
        "deadline": request.deadline,
        "begin": request.begin,
        "grace": request.grace,
        "share": 0,
        "start": None,
        "finish": None,
        "planned_finish": None,
        "slack": None,
        "earliest_deadline": None,
        "offer": None,
        "state_dir": request.state_dir,
        "plan": (),
        "measured_on": tuple(sorted(sizes)),
        "measuring": measuring,
    }


def waiting_lines(request: JobRequest, gate: Gate, zone: tzinfo) -> Iterator[str]:
    """What becomes of a job that cannot be judged before what it waits for has come."""
    yield f"Not judged yet: {gate_words(gate)}"
    yield f"  deadline   {_deadline(request, zone)}"
    yield from _begin(request, zone)
    if gate.state is GateState.NEVER:
        yield "  It never starts; ef-scontrol update JOB dependency= lets it go on."
    else:
        yield "  Nobody can say when that is: it is judged then, or as soon as that is promised."


def _promised(shown: VerdictView, zone: tzinfo) -> Iterator[str]:
    soft = shown.request.kind is JobKind.SOFT_DEADLINE
    late = shown.slack is not None and shown.slack < 0
    yield "Promised within its grace" if soft and late else "Promised"
    yield f"  deadline   {_deadline(shown.request, zone)}"
    enough = "is enough" if shown.share == 1 else "are enough"
    first = shown.schedule[0].gpus if shown.schedule else shown.share
    now = f"; planned now: {first}" if first != shown.share else ""
    yield f"  share      {gpus(shown.share)} {enough}{now}"
    yield from _times(shown, zone)


def _begin(request: JobRequest, zone: tzinfo) -> Iterator[str]:
    if request.dependency.conditions:
        yield f"  waits for  {format_dependency(request.dependency)}"
    if request.begin is not None:
        yield f"  begins     not before {format_instant(request.begin, zone)}"


def _times(shown: VerdictView, zone: tzinfo) -> Iterator[str]:
    yield from _begin(shown.request, zone)
    if shown.start is not None:
        soon = shown.start - shown.at
        when = f"in {describe_duration(soon)}" if soon >= 1 else "now"
        yield f"  starts     {format_instant(shown.start, zone)}, predicted ({when})"
    finish = shown.planned_finish
    if finish is not None:
        left = f"in {describe_duration(finish - shown.at)}"
        at = format_finish(finish, shown.request.deadline, zone)
        yield f"  finishes   {at}, predicted ({left})"
    if shown.slack is not None:
        yield f"  slack      {describe_duration(shown_slack(shown.slack))}"


def _deadline(request: JobRequest, zone: tzinfo) -> str:
    if request.deadline is None:
        return "none"
    text = format_instant(request.deadline, zone)
    if request.kind is JobKind.SOFT_DEADLINE:
        text += f", at most {describe_duration(request.grace)} later"
    return text


def _offer(shown: VerdictView, zone: tzinfo) -> Iterator[str]:
    if shown.offer is not None:
        yield "  The earliest deadline that can be promised now:"
        yield f"    --deadline={format_iso(shown.offer, zone)}"


def _why(shown: VerdictView, naming: Callable[[str], str]) -> str:
    return reason_sentence(shown.reason, naming)
