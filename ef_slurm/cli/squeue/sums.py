"""`ef-squeue --history --by`: how many jobs and promises ended how, by user, account and month."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import tzinfo

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.formats import printing
from ef_slurm.formats.times import format_month
from ef_slurm.model import EndedJob, Fault, JobState, PromiseOutcome


class By(enum.Enum):
    """What a sum of the history is made by."""

    USER = "user"
    ACCOUNT = "account"
    MONTH = "month"


@dataclass(slots=True)
class Sum:
    """What became of some jobs and of their promises.

    Args:
        promised: jobs that had a promise, of which `kept`, `in_grace`, `broken` (by whose doing)
            and `void` ended so.
        hours: between first start and end, summed.
    """

    jobs: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0
    promised: int = 0
    kept: int = 0
    in_grace: int = 0
    broken: int = 0
    broken_by_cluster: int = 0
    broken_by_ef_slurm: int = 0
    void: int = 0
    hours: float = 0.0

    def add(self, job: EndedJob) -> None:
        """Count a job."""
        self.jobs += 1
        self.completed += job.state is JobState.COMPLETED
        self.failed += job.state in (JobState.FAILED, JobState.LOST)
        self.cancelled += job.state is JobState.CANCELLED
        self.rejected += job.state is JobState.REJECTED
        self.promised += job.promise is not None
        self.kept += job.promise is PromiseOutcome.KEPT
        self.in_grace += job.promise is PromiseOutcome.KEPT_IN_GRACE
        broken = job.promise is PromiseOutcome.BROKEN
        self.broken += broken
        self.broken_by_cluster += broken and job.fault is Fault.CLUSTER
        self.broken_by_ef_slurm += broken and job.fault is Fault.EF_SLURM
        self.void += job.promise is PromiseOutcome.VOID
        if job.started is not None:
            self.hours += max(0.0, job.ended - job.started) / 3600.0

    @property
    def kept_share(self) -> float | None:
        """The part of the promises that were kept or broken that was kept; None without any."""
        settled = self.kept + self.in_grace + self.broken
        return None if not settled else (self.kept + self.in_grace) / settled


Sums = dict[tuple[str, ...], Sum]


def sums(jobs: Iterable[EndedJob], by: Sequence[By], zone: tzinfo) -> Sums:
    """What became of jobs, by what `by` says, in order."""
    found: Sums = {}
    for job in jobs:
        key = tuple(_key(job, one, zone) for one in by)
        found.setdefault(key, Sum()).add(job)
    return dict(sorted(found.items()))


def _key(job: EndedJob, by: By, zone: tzinfo) -> str:
    match by:
        case By.USER:
            return job.owner
        case By.ACCOUNT:
            return job.account or "-"
        case By.MONTH:
            return format_month(job.ended, zone)


_SUM_COLUMNS: Sequence[tuple[str, Callable[[Sum], str]]] = (
    ("JOBS", lambda one: str(one.jobs)),
    ("COMPLETED", lambda one: str(one.completed)),
    ("FAILED", lambda one: str(one.failed)),
    ("CANCELLED", lambda one: str(one.cancelled)),
    ("REJECTED", lambda one: str(one.rejected)),
    ("HOURS", lambda one: f"{one.hours:.1f}"),
    ("PROMISED", lambda one: str(one.promised)),
    ("KEPT", lambda one: str(one.kept)),
    ("IN_GRACE", lambda one: str(one.in_grace)),
    ("BROKEN", lambda one: str(one.broken)),
    ("VOID", lambda one: str(one.void)),
    ("KEPT%", lambda one: "-" if one.kept_share is None else f"{100 * one.kept_share:.1f}"),
)


def sum_lines(found: Sums, by: Sequence[By], *, heading: bool) -> Iterator[str]:
    """A line for each sum."""
    rows = [
        [*map(printing.printable, key), *(text(one) for _, text in _SUM_COLUMNS)]
        for key, one in found.items()
    ]
    if heading:
        heads = [one.value.upper() for one in by]
        rows.insert(0, [*heads, *(name for name, _ in _SUM_COLUMNS)])
    widths = [max(map(printing.width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for place, (text, size) in enumerate(zip(row, widths, strict=True)):
            blank = " " * (size - printing.width(text))
            cells.append(text + blank if place < len(by) else blank + text)
        yield " ".join(cells).rstrip()


def sums_json(found: Sums, by: Sequence[By]) -> list[dict[str, object]]:
    """Sums for programs."""
    return [
        {
            **{one.value: text for one, text in zip(by, key, strict=True)},
            **{each.name: getattr(total, each.name) for each in fields(total)},
            "kept_share": total.kept_share,
        }
        for key, total in found.items()
    ]


def parse_by(texts: Iterable[str]) -> tuple[By, ...]:
    """What sums are made by.

    Raises:
        UsageError: an unknown word.
    """
    known = {one.value: one for one in By}
    words = [word.strip().lower() for text in texts for word in text.split(",")]
    for word in words:
        if word not in known:
            raise UsageError(f"--by: {word!r} is not known; there is {', '.join(known)}")
    return tuple(dict.fromkeys(known[word] for word in words))
