"""Companions: the further Slurm jobs of jobs that grow while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_STATEMENTS = (
    """
    CREATE TABLE companions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        generation INTEGER NOT NULL CHECK (generation > 0),
        change INTEGER NOT NULL CHECK (change > 0),
        state TEXT NOT NULL DEFAULT 'wanted',
        block TEXT NOT NULL CHECK (json_valid(block)),
        ordered_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        slurm_job_id INTEGER CHECK (slurm_job_id > 0),
        note TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    "CREATE INDEX companions_by_job ON companions (job_id, id)",
    # One at a time is on its way, and a Slurm job is nobody's twice.
    """
    CREATE UNIQUE INDEX companions_coming ON companions (job_id)
    WHERE state IN ('wanted', 'submitted', 'released', 'running', 'ready')
    """,
    """
    CREATE UNIQUE INDEX companions_by_slurm_job ON companions (slurm_job_id)
    WHERE state <> 'ended' AND slurm_job_id IS NOT NULL
    """,
)


def twelfth(database: Database) -> None:
    """From the eleventh schema to the twelfth."""
    for statement in _STATEMENTS:
        database.execute(statement)
