"""Slurm uses ids again: when it took a job tells one from another with the same id."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def fifteenth(database: Database) -> None:
    """From the fourteenth schema to the fifteenth."""
    # In older versions of sqlite-utils a float is FLOAT, which a STRICT table does not know.
    database.execute("ALTER TABLE jobs ADD COLUMN slurm_submitted REAL")
