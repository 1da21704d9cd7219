"""Which queue this is: one that was rebuilt is another one, and the one before must not act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def thirteenth(database: Database) -> None:
    """From the twelfth schema to the thirteenth."""
    database.execute(
        "CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL) STRICT"
    )
    database.execute("INSERT INTO identity VALUES (1, lower(hex(randomblob(16))))")
