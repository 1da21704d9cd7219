"""`ef-squeue --history`: the record of jobs that have ended, a line each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import ListHistory
from ef_slurm.cli.common.entry import complain
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.squeue.choice import PROGRAM, Choice, unknown_users
from ef_slurm.cli.squeue.sums import By, sum_lines, sums, sums_json
from ef_slurm.formats import printing
from ef_slurm.formats.codec import to_plain
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.finishes import shown_finish, shown_slack
from ef_slurm.formats.times import format_minute
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, EndedJob, HistoryPage, JobState, slack_seconds

DEFAULT_SINCE = "30d"


@dataclass(frozen=True, slots=True)
class Record:
    """Which part of the record, and summed by what.

    Args:
        since, until: UTC epoch seconds, from then on and before then; None for until now.
        by: empty for a line for each job.
    """

    since: float
    until: float | None = None
    by: tuple[By, ...] = ()


def show_history(
    client: Client, choice: Choice, record: Record, *, heading: bool, as_json: bool
) -> ExitCode:
    """Print it, while it is read."""
    if choice.states and choice.states.isdisjoint(FINAL):
        raise UsageError("--history has jobs that have ended: give other --states, or none")
    zone = local_zone()
    owners, job_ids = set[str](), set[int]()

    def noted() -> Iterator[EndedJob]:
        for job in read_history(client, choice, record):
            owners.add(job.owner)
            if choice.job_ids:
                job_ids.add(job.job_id)
            yield job

    if record.by:
        found = sums(noted(), record.by, zone)
        if as_json:
            say_json({"sums": sums_json(found, record.by)})
        for line in () if as_json else sum_lines(found, record.by, heading=heading):
            say(line)
    elif as_json:
        say_json({"jobs": history_json(noted())})
    else:
        for line in history_lines(noted(), zone, heading=heading):
            say(line)
    problems = [
        *(f"{one}: has not ended in this time" for one in choice.job_ids if one not in job_ids),
        *(f"{user!r}: no such user" for user in unknown_users(choice.users - owners)),
    ]
    sys.stdout.flush()
    for problem in problems:
        complain(PROGRAM, problem)
    return ExitCode.SLURM if problems else ExitCode.OK


def read_history(client: Client, choice: Choice, record: Record) -> Iterator[EndedJob]:
    """The jobs of the record that a choice takes, in the order in which they ended, page by page.

    Raises:
        UnreachableError, FailureError: as `Client.ask` does.
    """
    request = ListHistory(
        record.since,
        record.until,
        users=tuple(sorted(choice.users)),
        accounts=tuple(sorted(choice.accounts)),
    )
    while True:
        page = expect(HistoryPage, client.ask(request))
        yield from (job for job in page.jobs if _takes(choice, job))
        if page.next is None:
            return
        request = replace(request, after=page.next.ended, after_row=page.next.row)


def _takes(choice: Choice, job: EndedJob) -> bool:
    return (
        (not choice.states or job.state in choice.states)
        and (not choice.job_ids or job.job_id in choice.job_ids)
        and (not choice.names or job.name in choice.names)
        and (not choice.partitions or job.partition in choice.partitions)
    )


def early(job: EndedJob) -> float | None:
    """Seconds that a completed job ended before its deadline; negative for after."""
    if job.state is not JobState.COMPLETED or job.deadline is None:
        return None
    return slack_seconds(job.ended, job.deadline)


def promise_word(job: EndedJob) -> str:
    """How its promise ended; `BROKEN(cluster)` says whose doing it was."""
    if job.promise is None:
        return "-"
    whose = "" if job.fault is None else f"({job.fault.value})"
    return f"{job.promise.value.upper()}{whose}"


_Text = Callable[[EndedJob, tzinfo], str]
_COLUMNS: Sequence[tuple[str, int, _Text]] = (
    ("JOBID", -8, lambda job, _: str(job.job_id)),
    ("NAME", 16, lambda job, _: job.name),
    ("USER", 10, lambda job, _: job.owner),
    ("ACCOUNT", 10, lambda job, _: job.account or "-"),
    ("STATE", 9, lambda job, _: job.state.value.upper()),
    ("END", 16, lambda job, zone: _stamp(shown_finish(job.ended, job.deadline, 60.0), zone)),
    ("ELAPSED", -10, lambda job, _: _elapsed(job)),
    ("DEADLINE", 16, lambda job, zone: _stamp(job.deadline, zone)),
    ("EARLY", -10, lambda job, _: _early_words(job)),
    ("PROMISE", 16, lambda job, _: promise_word(job)),
    ("EXIT", -4, lambda job, _: "-" if job.exit_code is None else str(job.exit_code)),
    ("NOTE", 0, lambda job, _: job.note),
)
"""Heading, width (negative: on the right; 0: the rest of the line) and text."""


def history_lines(jobs: Iterable[EndedJob], zone: tzinfo, *, heading: bool) -> Iterator[str]:
    """A line for each job. Widths are fixed: a long record is printed while it is read."""
    if heading:
        yield _line([name for name, _, _ in _COLUMNS])
    for job in jobs:
        yield _line([_cell(text, job, zone) for _, _, text in _COLUMNS])


def _cell(text: _Text, job: EndedJob, zone: tzinfo) -> str:
    try:
        return printing.printable(text(job, zone))
    except Exception:  # a value that nothing can show
        return "?"


def _line(texts: Sequence[str]) -> str:
    cells = []
    for text, (_, width, _text) in zip(texts, _COLUMNS, strict=True):
        size = abs(width)
        # As sacct does, "+" says that something was cut off.
        if width and printing.width(text) > size:
            text = printing.cut(text, size - 1) + "+"
        blank = " " * (size - printing.width(text))
        cells.append(blank + text if width < 0 else text + blank)
    return " ".join(cells).rstrip()


def _stamp(at: float | None, zone: tzinfo) -> str:
    return "-" if at is None else format_minute(at, zone)


def _elapsed(job: EndedJob) -> str:
    return "-" if job.started is None else format_duration(job.ended - job.started)


def _early_words(job: EndedJob) -> str:
    seconds = early(job)
    return "-" if seconds is None else format_duration(shown_slack(seconds))


def history_json(jobs: Iterable[EndedJob]) -> list[dict[str, object]]:
    """Jobs for programs, with `early` in seconds."""
    return [{**to_plain(job), "early": early(job)} for job in jobs]
