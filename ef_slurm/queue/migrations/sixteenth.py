"""Whose hold it is: an operator's is not its owner's to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def sixteenth(database: Database) -> None:
    """From the fifteenth schema to the sixteenth."""
    database.execute(
        "ALTER TABLE jobs ADD COLUMN held_by TEXT CHECK (held_by IN ('owner', 'operator'))"
    )
    # Of a job that is held already its note tells whose hold that is. What nothing shows to be its
    # owner's is taken for an operator's: nobody ends a hold that is not theirs to end.
    database.execute(
        """
        UPDATE jobs SET revision = revision + 1, held_by = CASE
            WHEN instr(note, 'held by ' || owner || ':') = 1 THEN 'owner'
            WHEN instr(note, 'held by its owner ') = 1 THEN 'owner'
            WHEN held_here = 0 AND instr(note, 'held in Slurm by its owner:') = 1 THEN 'owner'
            WHEN held_here = 0 AND json_extract(reason, '$.code') = 'stalled' THEN 'owner'
            ELSE 'operator' END
        WHERE state = 'held'
        """
    )
