"""Hostile users: what Slurm said of a job when it was judged, and jobs that never ran go sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def fourth(database: Database) -> None:
    """From the third schema to the fourth."""
    # {}: not known yet; the daemon notes them when it next sees the job.
    jobs = database.table("jobs")
    jobs.add_column("slurm_settings", str, not_null_default="{}")
    jobs.create_index(["uid", "submitted"], index_name="jobs_by_uid")
    _let_jobs_go_that_never_ran(database)


def _let_jobs_go_that_never_ran(database: Database) -> None:
    database.execute("ALTER TABLE retention ADD COLUMN never_run_before REAL NOT NULL DEFAULT 0")
    database.execute("DROP TRIGGER events_stay")
    database.execute(
        """
        CREATE TRIGGER events_stay BEFORE DELETE ON events
        WHEN NOT EXISTS (
            SELECT 1 FROM retention LEFT JOIN jobs ON jobs.id = OLD.job_id
            WHERE CASE
                WHEN OLD.job_id IS NULL THEN OLD.at < ended_before
                WHEN jobs.first_started_at IS NULL
                    THEN jobs.ended_at < max(ended_before, never_run_before)
                ELSE jobs.ended_at < ended_before
            END)
        BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
        """
    )
    # sqlite-utils has no words for an index of some rows only.
    database.execute(
        "CREATE INDEX jobs_never_run ON jobs (ended_at) WHERE first_started_at IS NULL"
    )
