"""A history as values, and how runs become jobs.

A job may have had several runs: whatever requeued or preempted it, or broke under it, cut one, and
the next began. The last run is what is replayed; the GPU time of all of them was spent. An id that
is used again, after a cluster began to count anew, is another job.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

STEP = "job steps"
DUPLICATE = "earlier runs of requeued jobs"
REPEATED = "rows that stand twice"
NO_GPUS = "no GPUs"
NEVER_STARTED = "never started"
NOT_ENDED = "not ended yet"
NO_LENGTH = "runs of no length"
OUT_OF_ORDER = "times out of order (clock changes)"
NO_TRAINING = "failed or cancelled within 10 min"

NO_TRAINING_SECONDS = 600.0
"""A run that failed or was cancelled sooner is taken for a mistake, not for a training."""

REQUEUE_SECONDS = 600.0
"""Longest time from the end of a run that was cut to the submission of its job's next one."""


class RunEnd(enum.Enum):
    """How a run ended."""

    DONE = "done"  # by itself, or at its time limit
    CUT = "cut"  # requeued, preempted, or its node failed
    FAILED = "failed"  # it crashed, or somebody cancelled it
    UNKNOWN = "unknown"  # the file does not say


@dataclass(frozen=True, slots=True)
class SiteRun:
    """One run of a GPU job, as a row tells it.

    Args:
        job_id: as the file names the job.
        submitted: UTC epoch seconds (or seconds on the trace's clock), as are the next two.
        time_limit: seconds; None for none.
    """

    job_id: str
    submitted: float
    started: float
    ended: float
    gpus: int
    time_limit: float | None = None
    end: RunEnd = RunEnd.UNKNOWN

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ended - self.started

    @property
    def gpu_seconds(self) -> float:
        """What it held."""
        return self.gpus * self.seconds


@dataclass(frozen=True, slots=True)
class SiteJob:
    """One GPU job of the past.

    Args:
        id: unique in the history.
        submitted: UTC epoch seconds, as are the next two.
        started: of its last run.
        ended: of its last run.
        gpus: that it had.
        time_limit: seconds; None for none.
        cut_gpu_seconds: GPU-seconds of its earlier runs, that were cut.
    """

    id: str
    submitted: float
    started: float
    ended: float
    gpus: int
    time_limit: float | None
    cut_gpu_seconds: float = 0.0

    @property
    def run_seconds(self) -> float:
        """How long its last run took."""
        return self.ended - self.started

    @property
    def gpu_seconds(self) -> float:
        """What all of its runs held."""
        return self.gpus * self.run_seconds + self.cut_gpu_seconds


@dataclass(frozen=True, slots=True)
class History:
    """The GPU jobs of a file, and how many rows were left out for which reason."""

    jobs: tuple[SiteJob, ...]
    left_out: dict[str, int]


def checked(run: SiteRun) -> SiteRun | str:
    """The run, or the reason why it says nothing about a training. Infinite times are unknown."""
    if run.gpus == 0:
        return NO_GPUS
    if math.isinf(run.started):
        return NEVER_STARTED
    if math.isinf(run.ended):
        return NOT_ENDED
    if not run.submitted <= run.started <= run.ended:
        return OUT_OF_ORDER
    if run.ended == run.started:
        return NO_LENGTH
    return run


def history_of(runs: Iterable[SiteRun], left_out: Counter[str]) -> History:
    """The jobs of these runs.

    Args:
        runs: that `checked` let through, in any order.
        left_out: what was left out before, by reason.
    """
    left_out = Counter(left_out)
    by_id: dict[str, list[SiteRun]] = defaultdict(list)
    for run in runs:
        by_id[run.job_id].append(run)
    jobs: list[SiteJob] = []
    for job_id, of_id in by_id.items():
        distinct = sorted(set(of_id), key=lambda run: (run.started, run.submitted, run.ended))
        left_out[REPEATED] += len(of_id) - len(distinct)
        named = 0
        for mine in _jobs(distinct):
            left_out[DUPLICATE] += len(mine) - 1
            last = mine[-1]
            if last.end is RunEnd.FAILED and last.seconds < NO_TRAINING_SECONDS:
                left_out[NO_TRAINING] += 1
                continue
            named += 1
            jobs.append(
                SiteJob(
                    job_id if named == 1 else f"{job_id}#{named}",
                    min(run.submitted for run in mine),
                    last.started,
                    last.ended,
                    last.gpus,
                    last.time_limit,
                    math.fsum(run.gpu_seconds for run in mine[:-1]),
                )
            )
    jobs.sort(key=lambda job: job.submitted)
    return History(tuple(jobs), {reason: n for reason, n in left_out.items() if n})


def _jobs(runs: list[SiteRun]) -> list[list[SiteRun]]:
    """The runs of one id in order of their starts, parted into jobs."""
    jobs: list[list[SiteRun]] = []
    for run in runs:
        if jobs and _goes_on(jobs[-1][-1], run):
            jobs[-1].append(run)
        else:
            jobs.append([run])
    return jobs


def _goes_on(before: SiteRun, run: SiteRun) -> bool:
    """Whether a run is the next one of the same job."""
    if before.end not in (RunEnd.CUT, RunEnd.UNKNOWN) or run.started < before.ended:
        return False
    # Of a requeued job Slurm keeps the time of submission, or notes that of the requeue.
    return run.submitted == before.submitted or (
        abs(run.submitted - before.ended) <= REQUEUE_SECONDS
    )
