"""Hot rows without texts, an index for each question, retention, whose fault a promise ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def second(database: Database) -> None:
    """From the first schema to the second."""
    _move_scripts_away(database)
    _rename(database)
    _let_old_events_go(database)
    _index(database)


def _move_scripts_away(database: Database) -> None:
    # A script is some 15 kB, and every tick reads the rows of the jobs that are active.
    database.execute(
        """
        CREATE TABLE scripts (
            job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            options TEXT NOT NULL CHECK (json_valid(options)),
            arguments TEXT NOT NULL CHECK (json_valid(arguments)),
            directory TEXT NOT NULL
        ) STRICT
        """
    )
    database.execute(
        "INSERT INTO scripts SELECT id, script, options, arguments, directory FROM jobs"
    )
    # The largest first: each of these copies what is left of the table.
    for column in ("script", "options", "arguments", "directory"):
        database.execute(f"ALTER TABLE jobs DROP COLUMN {column}")


def _rename(database: Database) -> None:
    database.execute("ALTER TABLE jobs RENAME COLUMN fruitless TO failed_starts")
    database.table("promises").add_column("fault", str, not_null_default="")
    database.execute("DROP TRIGGER promises_stand")
    database.execute("UPDATE promises SET outcome = 'void' WHERE outcome = 'released'")
    # A promise is given once: only its outcome and fault may be written later, and only once.
    database.execute(
        """
        CREATE TRIGGER promises_stand BEFORE UPDATE ON promises
        WHEN OLD.outcome <> 'open' OR NEW.deadline <> OLD.deadline OR NEW.grace <> OLD.grace
            OR NEW.job_id <> OLD.job_id OR NEW.given_at <> OLD.given_at
        BEGIN SELECT RAISE(ABORT, 'a promise is not rewritten'); END
        """
    )


def _let_old_events_go(database: Database) -> None:
    # Events stay append-only. Those of a job that ended before the retention that is written here
    # may be deleted, and those of no job that are older.
    database.execute(
        """
        CREATE TABLE retention (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            ended_before REAL NOT NULL
        ) STRICT
        """
    )
    database.execute("INSERT INTO retention VALUES (1, 0)")
    database.execute("DROP TRIGGER events_stay")
    database.execute(
        """
        CREATE TRIGGER events_stay BEFORE DELETE ON events
        WHEN NOT EXISTS (
            SELECT 1 FROM retention LEFT JOIN jobs ON jobs.id = OLD.job_id
            WHERE CASE WHEN OLD.job_id IS NULL THEN OLD.at ELSE jobs.ended_at END < ended_before)
        BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
        """
    )


def _index(database: Database) -> None:
    for table, columns in (
        ("jobs", ["ended_at"]),
        ("promises", ["job_id"]),
        ("promises", ["given_at"]),
        ("decisions", ["job_id"]),
        ("intents", ["job_id"]),
        ("events", ["kind", "id"]),
    ):
        database.table(table).create_index(columns, index_name=f"{table}_by_{columns[0]}")
