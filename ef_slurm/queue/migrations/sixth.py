"""Who has arrived: what the price of GPU time is learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def sixth(database: Database) -> None:
    """From the fifth schema to the sixth."""
    # No reference to `jobs`: an arrival counts for longer than its job is kept.
    database.execute(
        """
        CREATE TABLE arrivals (
            job_id TEXT PRIMARY KEY CHECK (job_id <> ''),
            at REAL NOT NULL,
            window REAL NOT NULL CHECK (window > 0),
            gpu_seconds REAL NOT NULL CHECK (gpu_seconds > 0),
            weight REAL NOT NULL CHECK (weight > 0)
        ) STRICT
        """
    )
