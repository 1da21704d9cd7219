"""What a job waits for, and what has come of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def ninth(database: Database) -> None:
    """From the eighth schema to the ninth."""
    jobs = database.table("jobs")
    jobs.add_column("dependency", str)
    jobs.add_column("gate", str)
