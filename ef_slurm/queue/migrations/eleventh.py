"""Arrays: which jobs were submitted together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def eleventh(database: Database) -> None:
    """From the tenth schema to the eleventh."""
    jobs = database.table("jobs")
    jobs.add_column("array_job", int)
    jobs.add_column("array", str)
    database.execute("CREATE INDEX jobs_by_array ON jobs (array_job) WHERE array_job IS NOT NULL")
