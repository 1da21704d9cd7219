"""The first schema: jobs, verdicts, promises, plans, intents, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_STATEMENTS = (
    # Which state may follow which; filled from `ef_slurm.queue.transitions` on every writable open.
    """
    CREATE TABLE transitions (
        what TEXT NOT NULL CHECK (what IN ('job', 'intent')),
        from_state TEXT NOT NULL,
        to_state TEXT NOT NULL,
        PRIMARY KEY (what, from_state, to_state)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        revision INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'new',
        held_from TEXT,
        -- What was submitted.
        slurm_job_id INTEGER NOT NULL CHECK (slurm_job_id > 0),
        cluster TEXT NOT NULL,
        owner TEXT NOT NULL CHECK (owner <> ''),
        uid INTEGER NOT NULL CHECK (uid >= 0),
        account TEXT NOT NULL,
        partition TEXT NOT NULL,
        name TEXT NOT NULL,
        submitted REAL NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('deadline', 'soft-deadline', 'best-effort')),
        deadline REAL CHECK ((deadline IS NULL) = (kind = 'best-effort')),
        grace REAL NOT NULL DEFAULT 0 CHECK (grace >= 0),
        if_infeasible TEXT NOT NULL,
        iterations INTEGER NOT NULL CHECK (iterations > 0),
        global_batch_size INTEGER NOT NULL CHECK (global_batch_size > 0),
        curves TEXT NOT NULL CHECK (json_valid(curves)),
        curve_source TEXT NOT NULL,
        overhead TEXT NOT NULL CHECK (json_valid(overhead)),
        max_gpus INTEGER CHECK (max_gpus > 0),
        max_time REAL CHECK (max_time > 0),
        state_dir TEXT NOT NULL,
        script TEXT NOT NULL,
        options TEXT NOT NULL CHECK (json_valid(options)),
        arguments TEXT NOT NULL CHECK (json_valid(arguments)),
        directory TEXT NOT NULL,
        -- What has become of it.
        best_effort INTEGER NOT NULL DEFAULT 0 CHECK (best_effort IN (0, 1)),
        generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0),
        iteration REAL NOT NULL DEFAULT 0 CHECK (iteration >= 0),
        checkpoint_iteration REAL NOT NULL DEFAULT 0 CHECK (checkpoint_iteration >= 0),
        rate REAL,
        progress_at REAL,
        first_started_at REAL,
        running TEXT CHECK (running IS NULL OR json_valid(running)),
        plan TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(plan)),
        finish REAL,
        promise TEXT NOT NULL DEFAULT 'none',
        reason TEXT CHECK (reason IS NULL OR json_valid(reason)),
        last_reshape REAL,
        reshapes INTEGER NOT NULL DEFAULT 0,
        fruitless INTEGER NOT NULL DEFAULT 0,
        ended_at REAL,
        exit_code INTEGER,
        note TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    """
    CREATE UNIQUE INDEX jobs_by_slurm_job ON jobs (cluster, slurm_job_id)
    WHERE state NOT IN ('rejected', 'completed', 'failed', 'cancelled', 'lost')
    """,
    "CREATE INDEX jobs_by_state ON jobs (state)",
    "CREATE INDEX jobs_by_slurm_id ON jobs (slurm_job_id)",
    """
    CREATE TRIGGER jobs_begin BEFORE INSERT ON jobs WHEN NEW.state <> 'new'
    BEGIN SELECT RAISE(ABORT, 'forbidden transition: a job begins as new'); END
    """,
    """
    CREATE TRIGGER jobs_move BEFORE UPDATE OF state ON jobs
    WHEN NEW.state <> OLD.state AND NOT EXISTS (
        SELECT 1 FROM transitions
        WHERE what = 'job' AND from_state = OLD.state AND to_state = NEW.state)
    BEGIN SELECT RAISE(ABORT, 'forbidden transition of a job'); END
    """,
    """
    CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL CHECK (json_valid(reason)),
        share INTEGER NOT NULL,
        finish REAL,
        earliest_deadline REAL,
        explanation TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX verdicts_by_job ON verdicts (job_id, id)",
    """
    CREATE TABLE promises (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        given_at REAL NOT NULL,
        deadline REAL NOT NULL,
        grace REAL NOT NULL,
        finish REAL NOT NULL,
        share INTEGER NOT NULL CHECK (share > 0),
        curves TEXT NOT NULL CHECK (json_valid(curves)),
        overhead TEXT NOT NULL CHECK (json_valid(overhead)),
        outcome TEXT NOT NULL DEFAULT 'open',
        settled_at REAL CHECK ((settled_at IS NULL) = (outcome = 'open'))
    ) STRICT
    """,
    "CREATE UNIQUE INDEX promises_open ON promises (job_id) WHERE outcome = 'open'",
    # A promise is given once: only its outcome may be written later, and only once.
    """
    CREATE TRIGGER promises_stand BEFORE UPDATE ON promises
    WHEN OLD.outcome <> 'open' OR NEW.deadline <> OLD.deadline OR NEW.grace <> OLD.grace
        OR NEW.job_id <> OLD.job_id OR NEW.given_at <> OLD.given_at
    BEGIN SELECT RAISE(ABORT, 'a promise is not rewritten'); END
    """,
    """
    CREATE TABLE plans (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        made_at REAL NOT NULL,
        next_change REAL
    ) STRICT
    """,
    """
    CREATE TABLE decisions (
        plan_id INTEGER NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        block TEXT CHECK (block IS NULL OR json_valid(block)),
        schedule TEXT NOT NULL CHECK (json_valid(schedule)),
        finish REAL,
        promise TEXT NOT NULL,
        reason TEXT NOT NULL CHECK (json_valid(reason)),
        PRIMARY KEY (plan_id, job_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE intents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL REFERENCES jobs (id),
        generation INTEGER NOT NULL,
        action TEXT NOT NULL,
        arguments TEXT NOT NULL CHECK (json_valid(arguments)),
        state TEXT NOT NULL DEFAULT 'open',
        opened_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    """
    CREATE UNIQUE INDEX intents_unfinished ON intents (job_id)
    WHERE state IN ('open', 'executed', 'verified')
    """,
    """
    CREATE TRIGGER intents_move BEFORE UPDATE OF state ON intents
    WHEN NEW.state <> OLD.state AND NOT EXISTS (
        SELECT 1 FROM transitions
        WHERE what = 'intent' AND from_state = OLD.state AND to_state = NEW.state)
    BEGIN SELECT RAISE(ABORT, 'forbidden transition of an intent'); END
    """,
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        job_id INTEGER REFERENCES jobs (id),
        kind TEXT NOT NULL,
        actor TEXT NOT NULL,
        message TEXT NOT NULL,
        data TEXT NOT NULL CHECK (json_valid(data))
    ) STRICT
    """,
    "CREATE INDEX events_by_job ON events (job_id, id)",
    """
    CREATE TRIGGER events_stand BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER events_stay BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TABLE daemon (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        user TEXT NOT NULL,
        version TEXT NOT NULL,
        started_at REAL NOT NULL,
        seen_at REAL NOT NULL,
        stopped_at REAL
    ) STRICT
    """,
)


def first(database: Database) -> None:
    """Make the tables of an empty file."""
    for statement in _STATEMENTS:
        database.execute(statement)
