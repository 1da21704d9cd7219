"""Who wants to be told what of a job, and what there is to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def tenth(database: Database) -> None:
    """From the ninth schema to the tenth."""
    jobs = database.table("jobs")
    jobs.add_column("mail_types", str, not_null_default="[]")
    jobs.add_column("mail_user", str, not_null_default="")
    database.execute(
        """
        CREATE TABLE notices (
            id INTEGER PRIMARY KEY,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            event_id INTEGER NOT NULL,
            kind TEXT NOT NULL,
            at REAL NOT NULL,
            not_before REAL NOT NULL,
            message TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'sending', 'sent', 'failed', 'dropped')),
            tries INTEGER NOT NULL DEFAULT 0,
            error TEXT NOT NULL DEFAULT '',
            UNIQUE (event_id, kind)
        ) STRICT
        """
    )
    database.execute("CREATE INDEX notices_by_job ON notices (job_id)")
    database.execute(
        "CREATE INDEX notices_to_send ON notices (not_before) WHERE state IN ('open', 'sending')"
    )
    # Up to which event it is known what there is to tell.
    database.execute(
        "CREATE TABLE notice_cursor (id INTEGER PRIMARY KEY CHECK (id = 1),"
        " event_id INTEGER NOT NULL) STRICT"
    )
