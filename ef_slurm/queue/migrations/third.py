"""The profile library: rates that were measured, and what a job says to be found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def third(database: Database) -> None:
    """From the second schema to the third."""
    # "": submitted by an older version, and not to be remembered.
    jobs = database.table("jobs")
    jobs.add_column("model_name", str, not_null_default="")
    jobs.add_column("precision", str, not_null_default="unspecified")
    jobs.add_column("growth_curves", str, not_null_default="{}")
    database.execute(
        """
        CREATE TABLE profiles (
            id INTEGER PRIMARY KEY,
            model_name TEXT NOT NULL CHECK (model_name <> ''),
            global_batch_size INTEGER NOT NULL CHECK (global_batch_size > 0),
            precision TEXT NOT NULL,
            gpu_type TEXT NOT NULL,
            gpus INTEGER NOT NULL CHECK (gpus > 0),
            owner TEXT NOT NULL CHECK (owner <> ''),
            gpus_per_node INTEGER NOT NULL CHECK (gpus_per_node > 0),
            rate REAL NOT NULL CHECK (rate > 0),
            seconds REAL NOT NULL CHECK (seconds >= 0),
            account TEXT NOT NULL,
            at REAL NOT NULL,
            cluster TEXT NOT NULL,
            job_id INTEGER,
            source TEXT NOT NULL,
            software TEXT NOT NULL
        ) STRICT
        """
    )
    # The latest of an owner counts; a key's rates lie side by side.
    profiles = database.table("profiles")
    profiles.create_index(
        ["model_name", "global_batch_size", "precision", "gpu_type", "gpus", "owner"],
        index_name="profiles_by_key",
        unique=True,
    )
    profiles.create_index(["owner", "at"], index_name="profiles_by_owner")
    profiles.create_index(["at"], index_name="profiles_by_at")
