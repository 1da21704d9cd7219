"""How often in a row a job was started without its script having begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def seventeenth(database: Database) -> None:
    """From the sixteenth schema to the seventeenth."""
    database.execute("ALTER TABLE jobs ADD COLUMN unbegun_starts INTEGER NOT NULL DEFAULT 0")
