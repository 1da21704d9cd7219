"""Whether there is room for another job: in the queue, and for its owner and account."""

from __future__ import annotations

from ef_slurm.model import ACTIVE, JobRequest, QueueLimits
from ef_slurm.queue.database import Database
from ef_slurm.queue.errors import LimitError
from ef_slurm.queue.job_rows import states_list


class Limits:
    """Counts what is in the table of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, request: JobRequest, limits: QueueLimits) -> None:
        """Refuse what is too much, by the time of its submission.

        Raises:
            LimitError: one of the limits is reached.
        """
        account = request.account
        counted = (
            (limits.jobs, self._active(), "the queue has {} jobs"),
            (limits.jobs_per_user, self._active(uid=request.uid), "you have {} jobs in the queue"),
            (
                limits.jobs_per_account if account else 0,
                self._active(account=account),
                f"account {account} has {{}} jobs in the queue",
            ),
            (
                limits.submissions_per_hour,
                self._submitted(request.uid, since=request.submitted - 3600.0),
                "you have submitted {} jobs within an hour",
            ),
        )
        for most, present, sentence in counted:
            if most and present >= most:
                raise LimitError(f"{sentence.format(present)}, and the limit is {most}: try later")

    def _active(self, *, uid: int | None = None, account: str | None = None) -> int:
        """How many jobs are active, of one owner or account, or of everybody."""
        row = self._database.one(
            "SELECT count(*) FROM jobs INDEXED BY jobs_by_state"
            " WHERE state IN (SELECT value FROM json_each(:states))"
            " AND (:uid IS NULL OR uid = :uid)"
            " AND (:account IS NULL OR account = :account)",
            {"states": states_list(ACTIVE), "uid": uid, "account": account},
        )
        assert row is not None
        number: int = row[0]
        return number

    def _submitted(self, uid: int, *, since: float) -> int:
        row = self._database.one(
            "SELECT count(*) FROM jobs INDEXED BY jobs_by_uid WHERE uid = ? AND submitted > ?",
            (uid, since),
        )
        assert row is not None
        number: int = row[0]
        return number
