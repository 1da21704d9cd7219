"""Jobs whose speed, iterations or global batch size nobody knows yet: measured while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def fifth(database: Database) -> None:
    """From the fourth schema to the fifth."""
    jobs = database.table("jobs")
    for column in ("iterations", "global_batch_size"):
        # Both may be NULL now, until the training has told.
        jobs.add_column(f"{column}_or_null", int)
        database.execute(f"UPDATE jobs SET {column}_or_null = {column}")  # noqa: S608 - values are bound
        database.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        database.execute(f"ALTER TABLE jobs RENAME COLUMN {column}_or_null TO {column}")
    jobs.add_column("gpu_types", str, not_null_default="[]")
    jobs.add_column("assumed", int, not_null_default=0)
    jobs.add_column("measuring", str)
    jobs.add_column("script_iterations", int)
    jobs.add_column("script_global_batch_size", int)
    # What the run before has told: asked at a submission without these numbers.
    jobs.create_index(["uid", "model_name", "precision"], index_name="jobs_by_training")
