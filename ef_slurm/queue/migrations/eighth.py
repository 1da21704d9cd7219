"""Before when a job may not begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def eighth(database: Database) -> None:
    """From the seventh schema to the eighth."""
    database.execute("ALTER TABLE jobs ADD COLUMN begin_at REAL")
