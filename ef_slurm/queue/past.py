"""What was given and what came of it, read in bounded pieces: shares over time, promises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from sqlite3 import Row

from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.model import FINAL, Event, EventKind, Fault, JobState, PromiseOutcome
from ef_slurm.queue.codec import load
from ef_slurm.queue.database import Database

MOST_JOBS = 2000
"""Jobs whose shares are looked at at a time, the latest ones."""
MOST_EVENTS = 50_000
MOST_PROMISES = 5000
"""Promises that are looked at at a time, the latest ones."""
_NO_SHARE = FINAL | {JobState.ADMITTED, JobState.PAUSED, JobState.HELD}
"""States in which a job holds nothing, whatever was said of its share before."""

# A job's events are in its index; which jobs matter is in two others.
_EVENTS = """
SELECT events.job_id, events.at, events.kind, events.data
FROM (
    SELECT id FROM jobs WHERE state NOT IN
        ('rejected', 'completed', 'failed', 'cancelled', 'lost', 'new', 'waitlisted')
    UNION ALL
    SELECT id FROM (
        SELECT id FROM jobs INDEXED BY jobs_by_ended_at
        WHERE ended_at >= :since ORDER BY ended_at DESC LIMIT :jobs)
) AS wanted
JOIN events INDEXED BY events_by_job ON events.job_id = wanted.id
WHERE events.kind IN ('share', 'state')
ORDER BY events.job_id, events.id
LIMIT :events
"""
_PROMISES = """
SELECT
    promises.job_id, jobs.slurm_job_id, jobs.name, jobs.owner, jobs.uid, jobs.account,
    promises.given_at, promises.deadline, promises.grace, promises.finish, promises.outcome,
    promises.fault, promises.settled_at, jobs.ended_at
FROM promises JOIN jobs ON jobs.id = promises.job_id
WHERE promises.settled_at >= :since
ORDER BY promises.settled_at DESC, promises.id DESC
LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class HeldShare:
    """GPUs that a job held from `start` to `end` (None: still), UTC epoch seconds.

    Args:
        job_id: the queue's own.
        nodes: none where it only trained on another part of what it held.
    """

    job_id: int
    start: float
    end: float | None
    gpus: int
    nodes: tuple[str, ...]
    gpus_per_node: int


@dataclass(frozen=True, slots=True)
class SettledPromise:
    """A promise that has ended, and what its job came to. Times are UTC epoch seconds.

    Args:
        finish: that was predicted when it was given.
        ended: when the job ended; None where it has not yet.
    """

    job_id: int
    name: str
    owner: str
    given_at: float
    deadline: float
    grace: float
    finish: float
    outcome: PromiseOutcome
    fault: Fault | None
    settled_at: float
    ended: float | None


class Past:
    """What the queue remembers of the past."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def shares(self, since: float) -> tuple[HeldShare, ...]:
        """Shares of active jobs, and of those that ended from `since` on."""
        rows = self._database.query(
            _EVENTS, {"since": since, "jobs": MOST_JOBS, "events": MOST_EVENTS}
        )
        by_job: dict[int, list[tuple[float, EventKind, object]]] = {}
        for row in rows:
            change = (row["at"], EventKind(row["kind"]), load(row["data"]))
            by_job.setdefault(row["job_id"], []).append(change)
        return tuple(
            share
            for job_id, changes in by_job.items()
            for share in _shares(job_id, changes)
            if share.end is None or share.end > since
        )

    def promises(
        self, since: float, visible: Callable[[int, str], bool] = lambda *_: True
    ) -> tuple[SettledPromise, ...]:
        """Promises that ended from `since` on, the latest first.

        Args:
            visible: whether whoever asks may see jobs of a uid and account.
        """
        rows = self._database.query(_PROMISES, {"since": since, "limit": MOST_PROMISES})
        found = []
        for row in rows:
            if visible(row["uid"], row["account"]):
                with suppress(ValueError):  # an enum's value that nobody can have meant
                    found.append(_promise(row))
        return tuple(found)


def shares_of(job_id: int, events: tuple[Event, ...]) -> tuple[HeldShare, ...]:
    """The shares that a job's events tell of.

    Args:
        events: in the order in which they were written.
    """
    kinds = (EventKind.SHARE, EventKind.STATE)
    changes: list[tuple[float, EventKind, object]] = [
        (event.at, event.kind, event.data) for event in events if event.kind in kinds
    ]
    return tuple(_shares(job_id, changes))


def _shares(job_id: int, changes: list[tuple[float, EventKind, object]]) -> list[HeldShare]:
    found: list[HeldShare] = []
    gpus, per_node, since = 0, 0, 0.0
    nodes: tuple[str, ...] = ()
    for at, kind, data in changes:
        if not isinstance(data, dict):
            continue
        if kind is EventKind.STATE:
            if data.get("to") not in {state.value for state in _NO_SHARE}:
                continue
            now: tuple[int, tuple[str, ...], int] = (0, (), 0)
        elif "of" in data:
            continue  # it trains on another part of what it holds
        else:
            now = _held(data)
        if now == (gpus, nodes, per_node):
            continue
        if gpus and at > since:
            found.append(HeldShare(job_id, since, at, gpus, nodes, per_node))
        (gpus, nodes, per_node), since = now, at
    if gpus:
        found.append(HeldShare(job_id, since, None, gpus, nodes, per_node))
    return found


def _held(data: dict[str, object]) -> tuple[int, tuple[str, ...], int]:
    gpus, per_node, names = data.get("to"), data.get("gpus_per_node", 0), data.get("nodes", "")
    if not isinstance(gpus, int) or not isinstance(per_node, int) or not isinstance(names, str):
        return 0, (), 0
    try:
        nodes = tuple(expand(names)) if names else ()
    except HostlistError:
        nodes = ()
    return gpus, nodes, per_node


def _promise(row: Row) -> SettledPromise:
    return SettledPromise(
        job_id=row["slurm_job_id"],
        name=row["name"],
        owner=row["owner"],
        given_at=row["given_at"],
        deadline=row["deadline"],
        grace=row["grace"],
        finish=row["finish"],
        outcome=PromiseOutcome(row["outcome"]),
        fault=Fault(row["fault"]) if row["fault"] else None,
        settled_at=row["settled_at"],
        ended=row["ended_at"],
    )
