"""Jobs by the ids that people know: Slurm's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import MOST_JOB_IDS, ListJobs
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.formats.arrays import (
    ArrayError,
    JobName,
    format_tasks,
    parse_job_name,
    split_job_names,
)
from ef_slurm.model import CompanionView, JobList, JobView

_DIGITS = 10
"""That a job id has at most."""


def parse_job_names(texts: Iterable[str]) -> tuple[JobName, ...]:
    """Jobs in comma-separated words: `12`, and of an array `100_3` or `100_[0-3,5]`.

    >>> [name.job_id for name in parse_job_names(("12,100_[0,2]", "14"))]
    [12, 100, 14]

    Raises:
        UsageError: a word that is no job.
    """
    words = [word.strip() for text in texts for word in split_job_names(text)]
    try:
        return tuple(parse_job_name(word) for word in words)
    except ArrayError as error:
        raise UsageError(str(error)) from None


def means(name: JobName, job: JobView) -> bool:
    """Whether a job is meant by a name.

    That of an array means all its members, that of a companion the job that it belongs to.
    """
    array = job.array
    if name.tasks is None:
        whole = array is not None and array.job_id == name.job_id
        return whole or job.job_id == name.job_id or companion(name, job) is not None
    return array is not None and array.job_id == name.job_id and array.task in name.tasks


def companion(name: JobName, job: JobView) -> CompanionView | None:
    """The companion of a job that a name is of; None where it is the job's own, or another's."""
    if name.tasks is not None or job.job_id == name.job_id:
        return None
    return next((one for one in job.companions if one.job_id == name.job_id), None)


def resolved(client: Client, names: Sequence[JobName]) -> tuple[int, ...]:
    """Slurm's ids of the jobs that are meant; of one that nobody knows the id that was given.

    Raises:
        UsageError: an array has no such task.
        UnreachableError, FailureError: as `Client.ask` does.
    """
    ids = tuple(dict.fromkeys(name.job_id for name in names))
    jobs: list[JobView] = []
    for start in range(0, len(ids), MOST_JOB_IDS):
        wanted = ListJobs(job_ids=ids[start : start + MOST_JOB_IDS])
        jobs += expect(JobList, client.ask(wanted)).jobs
    found: dict[int, None] = {}
    for name in names:
        meant = [job.job_id for job in jobs if means(name, job)]
        if not meant and name.tasks is not None:
            tasks = format_tasks(name.tasks)
            raise UsageError(f"{name.job_id}_[{tasks}]: no such job of an array in the queue")
        found.update(dict.fromkeys(meant or [name.job_id]))
    return tuple(found)


def parse_job_ids(texts: Iterable[str]) -> tuple[int, ...]:
    """Slurm job ids in comma-separated words.

    >>> parse_job_ids(("12,13", "14"))
    (12, 13, 14)

    Raises:
        UsageError: a word that is no job id.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) <= _DIGITS and int(word)):
            raise UsageError(f"{word!r} is no job id: expected a positive whole number")
    return tuple(int(word) for word in words)
