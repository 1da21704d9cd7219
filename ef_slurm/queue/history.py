"""The record of jobs that have ended, read in pieces of a bounded size."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from sqlite3 import Row

from ef_slurm.model import (
    MOST_ITERATIONS,
    EndedJob,
    Fault,
    HistoryMark,
    HistoryPage,
    JobKind,
    JobState,
    PromiseOutcome,
)
from ef_slurm.queue.database import Database

PAGE_ROWS = 500
"""Jobs that one page looks at; of them it holds those that were asked for."""

# The rows first, as the index gives them: what else is asked for only leaves some of them out, so
# that no page takes longer than another, whatever it is asked for. Large columns are not read.
_PAGE = """
SELECT
    jobs.id, jobs.slurm_job_id, jobs.name, jobs.owner, jobs.uid, jobs.account, jobs.partition,
    jobs.state, jobs.kind, jobs.submitted, jobs.deadline, jobs.first_started_at, jobs.ended_at,
    jobs.iterations, jobs.iteration, jobs.exit_code, jobs.note, promises.outcome, promises.fault
FROM (
    SELECT id FROM jobs INDEXED BY {index}
    WHERE {whose} ended_at >= :since AND ended_at < :until AND (ended_at, id) > (:ended, :row)
    ORDER BY ended_at, id LIMIT :limit
) AS page
JOIN jobs ON jobs.id = page.id
LEFT JOIN promises ON promises.id = (
    SELECT max(id) FROM promises INDEXED BY promises_by_job_id WHERE job_id = page.id)
ORDER BY jobs.ended_at, jobs.id
"""
_EVERYBODYS = _PAGE.format(index="jobs_by_ended_at", whose="")
_ONE_USERS = _PAGE.format(index="jobs_by_uid", whose="uid = :uid AND")


class History:
    """What the queue keeps of jobs that have ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        now: float,
        *,
        since: float,
        until: float,
        after: HistoryMark | None = None,
        users: Collection[str] = (),
        accounts: Collection[str] = (),
        uid: int | None = None,
        visible: Callable[[int, str], bool] = lambda *_: True,
    ) -> HistoryPage:
        """A part of the record.

        Args:
            now: what the answer says about its own time, UTC epoch seconds.
            since, until: of jobs that ended from then on, and before then.
            after: from where to go on; None for the beginning.
            users, accounts: of these only; of all without any.
            uid: of this one only: the page looks at no other user's jobs, and says nothing of
                them by where it ends.
            visible: whether whoever asks may see jobs of a uid and account.
        """
        mark = after or HistoryMark(since, -1)
        rows = self._database.query(
            _EVERYBODYS if uid is None else _ONE_USERS,
            {
                "uid": uid,
                "since": since,
                "until": until,
                "ended": mark.ended,
                "row": mark.row,
                "limit": PAGE_ROWS,
            },
        )
        jobs = []
        for row in rows:
            wanted = (not users or row["owner"] in users) and (
                not accounts or row["account"] in accounts
            )
            if wanted and visible(row["uid"], row["account"]):
                with suppress(ValueError):  # an enum's value that nobody can have meant
                    jobs.append(_ended(row))
        more = len(rows) == PAGE_ROWS
        last = HistoryMark(rows[-1]["ended_at"], rows[-1]["id"]) if more else None
        return HistoryPage(now, tuple(jobs), last)


def _ended(row: Row) -> EndedJob:
    outcome, fault = row["outcome"], row["fault"]
    return EndedJob(
        job_id=row["slurm_job_id"],
        name=row["name"],
        owner=row["owner"],
        account=row["account"],
        partition=row["partition"],
        state=JobState(row["state"]),
        kind=JobKind(row["kind"]),
        submitted=row["submitted"],
        deadline=row["deadline"],
        started=row["first_started_at"],
        ended=row["ended_at"],
        promise=None if outcome is None else PromiseOutcome(outcome),
        fault=Fault(fault) if fault else None,
        iterations=row["iterations"],
        iteration=min(row["iteration"], float(row["iterations"] or MOST_ITERATIONS)),
        exit_code=row["exit_code"],
        note=row["note"],
    )
