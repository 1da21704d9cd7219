"""Who may see whose jobs: what Slurm's PrivateData says, as slurmctld keeps it (slurm.conf(5)).

With `jobs` in it, a user sees their own jobs and those of accounts that they coordinate; operators,
root and Slurm's and ef-slurm's own users see all. A job that somebody may not see is for them none
that there is, and where one of their own jobs waits for it, it waits for "another job".
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ef_slurm.api.identity import user_name
from ef_slurm.formats.named_jobs import without_jobs
from ef_slurm.model import (
    HistoryPage,
    JobDetail,
    JobList,
    JobView,
    OtherJob,
    QueueJob,
    Reason,
    Story,
    queue_id,
)
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.queries import meant
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.commands.accounting import AdminLevel, Rights
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.site_types import SlurmConfiguration

FRESH_SECONDS = 60.0
"""How old an answer of Slurm's may be without being asked for again."""
STALE_SECONDS = 600.0
"""How old it may be while it is."""
_MOST_KNOWN = 10_000
NOBODY = -1
"""The uid of no user."""
_PRIVATE = frozenset({"jobs", "all"})
_UID = re.compile(r"\((\d+)\)")

A = TypeVar("A", JobDetail, JobList, Story)


@dataclass(frozen=True, slots=True)
class Viewer:
    """What one user may see.

    Args:
        accounts: that they coordinate.
    """

    uid: int
    sees_all: bool
    accounts: frozenset[str] = frozenset()

    def sees(self, job: QueueJob) -> bool:
        """Whether a job is theirs to see."""
        return self.may_see(job.request.uid, job.request.account)

    @property
    def only_uid(self) -> int | None:
        """The one user whose jobs they see; None where there are more."""
        return None if self.sees_all or self.accounts else self.uid

    def may_see(self, uid: int, account: str) -> bool:
        """Whether jobs of a user in an account are theirs to see."""
        return self.sees_all or uid == self.uid or account in self.accounts


@dataclass(frozen=True, slots=True)
class _Known:
    """A viewer, as of when."""

    viewer: Viewer
    at: float


class Visibility:
    """Asks Slurm what is private, and accounting who has which rights. Any thread may ask.

    Args:
        configuration: Slurm's.
        rights: accounting's word on a user; None where it does not tell.
    """

    def __init__(
        self,
        configuration: Callable[[], SlurmConfiguration],
        rights: Callable[[str], Rights | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configuration = configuration
        self._rights = rights
        self._clock = clock
        self._lock = threading.Lock()
        self._settings: tuple[Mapping[str, str], float] | None = None
        self._known: dict[int, _Known] = {}

    def known(self, uid: int) -> tuple[Viewer | None, bool]:
        """What is known of a user without asking, and whether to ask again."""
        with self._lock:
            found = self._known.get(uid)
        age = STALE_SECONDS if found is None else self._clock() - found.at
        if found is None or not 0.0 <= age < STALE_SECONDS:
            return None, True
        return found.viewer, age >= FRESH_SECONDS

    def ask(self, uid: int) -> Viewer:
        """What a user may see, by Slurm's word now; where it gives none, nothing of others'."""
        viewer = self._ask(uid)
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[uid] = _Known(viewer, self._clock())
        return viewer

    def anonymous(self) -> Viewer:
        """What somebody nobody knows may see: everything, or nothing of any job."""
        settings = self._current_settings()
        return Viewer(NOBODY, sees_all=settings is not None and not private(settings))

    def is_operator(self, uid: int) -> bool:
        """Whether a user may act on everybody's jobs, by Slurm's word now."""
        if uid in (0, os.getuid()):
            return True
        settings = self._current_settings()
        slurm_user = None if settings is None else _UID.search(settings.get("SlurmUser", ""))
        if slurm_user is not None and int(slurm_user[1]) == uid:
            return True
        rights = self._rights(user_name(uid))
        return rights is not None and rights.level is not AdminLevel.NONE

    def _ask(self, uid: int) -> Viewer:
        if uid in (0, os.getuid()):
            return Viewer(uid, sees_all=True)
        settings = self._current_settings()
        if settings is None:
            return Viewer(uid, sees_all=False)
        slurm_user = _UID.search(settings.get("SlurmUser", ""))
        if not private(settings) or (slurm_user is not None and int(slurm_user[1]) == uid):
            return Viewer(uid, sees_all=True)
        rights = self._rights(user_name(uid))
        if rights is None:
            return Viewer(uid, sees_all=False)
        return Viewer(uid, rights.level is not AdminLevel.NONE, rights.coordinates)

    def _current_settings(self) -> Mapping[str, str] | None:
        with self._lock:
            found = self._settings
        if found is not None and 0.0 <= self._clock() - found[1] < FRESH_SECONDS:
            return found[0]
        try:
            settings = self._configuration().settings
        except SlurmError:
            return None if found is None else found[0]
        with self._lock:
            self._settings = (settings, self._clock())
        return settings


def private(settings: Mapping[str, str]) -> bool:
    """Whether users see their own jobs only, of what `scontrol show config` prints."""
    words = settings.get("PrivateData", "").lower().split(",")
    return not _PRIVATE.isdisjoint(word.strip() for word in words)


def masked(queue: Queue, viewer: Viewer, answer: A) -> A:
    """An answer about jobs that the viewer sees, without what it says of those they do not."""
    if viewer.sees_all:
        return answer
    others = masked_others(queue, viewer, answer.others)
    match answer:
        case JobList():
            jobs = tuple(_masked_view(queue, viewer, seen) for seen in answer.jobs)
            return replace(answer, jobs=jobs, others=others)
        case JobDetail():
            job = _masked_view(queue, viewer, answer.job)
            return replace(answer, job=job, others=others)
        case Story():
            job = _masked_view(queue, viewer, answer.job)
            events = tuple(
                replace(event, message=masked_text(queue, viewer, event.message))
                for event in answer.events
            )
            return replace(answer, job=job, events=events, others=others)


def masked_history(queue: Queue, viewer: Viewer, page: HistoryPage) -> HistoryPage:
    """Ended jobs that the viewer sees, without what their notes say of those they do not."""
    if viewer.sees_all:
        return page
    jobs = (replace(job, note=masked_text(queue, viewer, job.note)) for job in page.jobs)
    return replace(page, jobs=tuple(jobs))


def masked_text(queue: Queue, viewer: Viewer, text: str) -> str:
    """A sentence in which jobs that the viewer does not see have no number."""
    if viewer.sees_all:
        return text

    def is_seen(job_id: int) -> bool:
        job = meant(queue, job_id)
        return job is not None and viewer.sees(job)

    return without_jobs(text, is_seen)


def masked_reason(queue: Queue, viewer: Viewer, reason: Reason) -> Reason:
    """A reason that names no job that the viewer does not see."""
    named = reason.job
    if viewer.sees_all or named is None or not named.isdecimal():
        return reason
    return reason if _sees(queue, viewer, queue_id(named)) else replace(reason, job=None)


def masked_others(queue: Queue, viewer: Viewer, others: Iterable[OtherJob]) -> tuple[OtherJob, ...]:
    """Those that the viewer sees."""
    return tuple(other for other in others if _sees(queue, viewer, other.queue_id))


def _masked_view(queue: Queue, viewer: Viewer, seen: JobView) -> JobView:
    note = masked_text(queue, viewer, seen.note)
    verdict, reason = seen.verdict, seen.reason
    if verdict is not None:
        verdict = replace(
            verdict,
            reason=masked_reason(queue, viewer, verdict.reason),
            explanation=masked_text(queue, viewer, verdict.explanation),
        )
    if reason is not None:
        reason = masked_reason(queue, viewer, reason)
    gate = seen.gate
    if gate is not None:
        gate = replace(gate, words=masked_text(queue, viewer, gate.words))
    return replace(seen, note=note, verdict=verdict, reason=reason, gate=gate)


def _sees(queue: Queue, viewer: Viewer, row: int) -> bool:
    try:
        return viewer.sees(queue.jobs.get(row))
    except NoSuchRowError:
        return False
