"""A promise that was called broken by a clock that was ahead may be open again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def fourteenth(database: Database) -> None:
    """From the thirteenth schema to the fourteenth."""
    database.execute("DROP TRIGGER promises_stand")
    # A promise is given once: only its outcome and fault may be written later, and only once; but
    # that it was broken may be taken back.
    database.execute(
        """
        CREATE TRIGGER promises_stand BEFORE UPDATE ON promises
        WHEN (OLD.outcome <> 'open' AND NOT (OLD.outcome = 'broken' AND NEW.outcome = 'open'))
            OR NEW.deadline <> OLD.deadline OR NEW.grace <> OLD.grace
            OR NEW.job_id <> OLD.job_id OR NEW.given_at <> OLD.given_at
        BEGIN SELECT RAISE(ABORT, 'a promise is not rewritten'); END
        """
    )
