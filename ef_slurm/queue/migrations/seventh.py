"""What an owner changes of a job in the queue: held there, other iterations, another turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def seventh(database: Database) -> None:
    """From the sixth schema to the seventh."""
    jobs = database.table("jobs")
    jobs.add_column("held_here", int, not_null_default=0)
    jobs.add_column("ordered_iterations", int)
    for column in ("time_limit", "turn"):
        # Of a float older sqlite-utils make FLOAT, which no STRICT table has.
        database.execute(f"ALTER TABLE jobs ADD COLUMN {column} REAL")
