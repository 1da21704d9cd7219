"""What templates and charts say of jobs: texts of other people made harmless, times, lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup, escape

from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.finishes import shown_finish, shown_slack
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.job_words import done, promise_word, slack, state_word
from ef_slurm.formats.printing import printable, shortened
from ef_slurm.formats.times import format_host_instant, format_host_iso
from ef_slurm.model import FINAL, JobView, PromiseOutcome, PromiseState

LONGEST = 300
"""Characters of one name or reason of somebody else's."""


def plain(text: str, longest: int = LONGEST) -> str:
    """A text of somebody else's: on one line, and not endless. HTML is escaped elsewhere."""
    return shortened(printable(text), longest)


def when(at: float | None, deadline: float | None = None) -> Markup:
    """A moment, which a browser shows in its reader's zone; a dash for none.

    Args:
        deadline: of a finish, with which it is to agree.
    """
    if at is None or not math.isfinite(at):
        return escape("-" if at is None else "no end")
    shown = at if deadline is None else shown_finish(at, deadline)
    words = escape(format_host_instant(shown))
    return Markup(f'<time datetime="{format_host_iso(shown)}">{words}</time>')  # noqa: S704 - escaped


def length(seconds: float | None) -> str:
    """A length of time in words; a dash for none."""
    return "-" if seconds is None else describe_duration(seconds)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in a table."""

    job_id: int
    name: str
    title: str
    owner: str
    account: str
    state: str
    kind: str
    gpus: int
    nodes: str
    deadline: float | None
    finish: float | None
    slack: str
    promise: str
    tone: str
    done: int | None
    why: str


def job_row(job: JobView, now: float, why: str) -> JobRow:
    """A job in a table."""
    left = slack(job, now)
    return JobRow(
        job_id=job.job_id,
        name=plain(job.name) or "(no name)",
        title=job_title(job),
        owner=plain(job.owner),
        account=plain(job.account),
        state=state_word(job).lower(),
        kind=job.kind.value,
        gpus=job.share,
        nodes=compress(job.nodes) if job.nodes else "",
        deadline=job.deadline,
        finish=job.ended if job.state in FINAL else job.finish,
        slack="-" if left is None else describe_duration(shown_slack(left)),
        promise=promise_word(job).lower(),
        tone=promise_tone(job),
        done=None if job.iterations is None else math.floor(100 * done(job)),
        why=plain(why),
    )


def job_title(job: JobView) -> str:
    """Its id as people know it, and its name."""
    name = str(job.job_id) if job.array is None else job.array.name
    return f"{name} {plain(job.name)}".rstrip()


def promise_tone(job: JobView) -> str:
    """good, warn or bad; "" where there is no promise."""
    outcome = job.promise_outcome
    if outcome is PromiseOutcome.BROKEN or job.promise is PromiseState.AT_RISK:
        return "bad"
    if outcome is PromiseOutcome.KEPT or job.promise is PromiseState.SAFE:
        return "good"
    if outcome is PromiseOutcome.KEPT_IN_GRACE or job.promise is PromiseState.IN_GRACE:
        return "warn"
    return ""
