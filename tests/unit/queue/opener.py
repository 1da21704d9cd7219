"""Opens a queue of an older version, and dies of it. For test_migrations.

opener.py QUEUE             says "ready" and opens it
opener.py QUEUE statements  opens it again and again, killed at the first SQL statement, at the
                            second, … until it survives; prints the version found after each
"""

import itertools
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import sqlite_utils  # noqa: F401  (once, not in every child)

from ef_slurm.queue.store import Queue


def connect_to_die(kill_at: int) -> Any:
    """`sqlite3.connect` whose connection kills the process at that statement."""
    plain = sqlite3.connect
    statements = itertools.count(1)

    def count(_sql: str) -> None:
        if next(statements) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*arguments, **keywords)
        connection.set_trace_callback(count)
        return connection

    return connect


def survives(path: Path, kill_at: int) -> bool:
    """Whether a child that is killed at that statement gets through."""
    child = os.fork()
    if child == 0:
        with mock.patch("sqlite3.connect", connect_to_die(kill_at)):
            Queue.open(path).close()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        number: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return number


def main() -> None:
    path = Path(sys.argv[1])
    if sys.argv[2:] == ["statements"]:
        for kill_at in itertools.count(1):
            if survives(path, kill_at):
                return
            print(version(path), flush=True)
    Queue.open(path).close()


if __name__ == "__main__":
    main()
