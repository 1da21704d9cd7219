"""Opening, migrating, transactions, locks, full disks, damaged files."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ef_slurm.model import BatchScript, JobState, QueueJob
from ef_slurm.queue import filesystem
from ef_slurm.queue.errors import (
    DaemonRunningError,
    DuplicateJobError,
    ForbiddenTransitionError,
    QueueCorruptError,
    QueueError,
    QueueFullError,
    QueueLockedError,
    QueueMissingError,
    QueueOnNetworkFilesystemError,
    QueueTooNewError,
)
from ef_slurm.queue.migrations import MIGRATIONS
from ef_slurm.queue.owner import DaemonLock
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]


def test_a_new_queue_is_its_owners_alone(queue: Queue) -> None:
    assert stat.S_IMODE(queue.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(queue.path.parent.stat().st_mode) == 0o700


def test_what_was_written_is_there_after_reopening(queue: Queue, add: Add) -> None:
    job = add()
    with Queue.open(queue.path) as again, Queue.open(queue.path, read_only=True) as reader:
        assert again.jobs.get(job.id) == reader.jobs.get(job.id) == job


def test_others_writes_are_noticed(queue: Queue, add: Add) -> None:
    with Queue.open(queue.path) as other:
        before = other.data_version()
        assert other.data_version() == before
        add()
        assert other.data_version() != before


def test_a_reader_cannot_write(queue: Queue, add: Add) -> None:
    job = add()
    with (
        Queue.open(queue.path, read_only=True) as reader,
        pytest.raises(QueueError, match="may not be written"),
    ):
        reader.jobs.move(job.id, JobState.CANCELLED, at=1.0, actor="", why="")


def test_no_queue_where_none_may_be_made(path: Path) -> None:
    for keywords in ({"create": False}, {"read_only": True}):
        with pytest.raises(QueueMissingError, match="start ef-schedd"):
            Queue.open(path, **keywords)
    assert not path.exists()
    with pytest.raises(QueueError, match="cannot make the queue"):
        Queue.open(Path("/proc/ef-slurm/queue.sqlite"))


def test_a_transaction_is_all_or_nothing(queue: Queue, add: Add) -> None:
    job = add()
    with suppress(RuntimeError), queue.transaction():
        queue.jobs.move(job.id, JobState.ADMITTED, at=1.0, actor="", why="")
        with queue.transaction(durable=False):
            queue.jobs.move(job.id, JobState.STARTING, at=2.0, actor="", why="")
        raise RuntimeError
    assert queue.jobs.get(job.id) == job
    assert len(queue.events.all()) == 1
    with queue.transaction():
        queue.jobs.move(job.id, JobState.ADMITTED, at=1.0, actor="", why="")
    assert queue.jobs.get(job.id).state is JobState.ADMITTED


def test_the_outermost_transaction_says_whether_it_is_durable(queue: Queue) -> None:
    def synchronous() -> int:
        row = queue._database.one("PRAGMA synchronous")
        assert row is not None
        return int(row[0])

    full, normal = 2, 1
    for durable in (False, False, True, True, False):
        with queue.transaction(durable=durable), queue.transaction():
            assert synchronous() == (full if durable else normal)
    queue._database.execute("DELETE FROM plans")  # alone, it is durable
    assert synchronous() == full


def test_an_error_undoes_only_what_it_leaves(queue: Queue, add: Add) -> None:
    job = add()
    with queue.transaction():
        queue.jobs.move(job.id, JobState.ADMITTED, at=1.0, actor="", why="")
        with suppress(RuntimeError), queue.transaction():
            queue.jobs.move(job.id, JobState.STARTING, at=2.0, actor="", why="")
            raise RuntimeError
    assert queue.jobs.get(job.id).state is JobState.ADMITTED
    assert len(queue.events.all()) == 2


def test_an_error_inside_a_transaction_leaves_the_queue_usable(queue: Queue, add: Add) -> None:
    add(7)
    with pytest.raises(DuplicateJobError), queue.transaction():
        add(7)
    assert add().state is JobState.NEW


def test_a_locked_queue(queue: Queue, add: Add) -> None:
    with (
        Queue.open(queue.path) as other,
        Queue.open(queue.path, timeout=0.05) as third,
        other.transaction(),
        pytest.raises(QueueLockedError, match="try again"),
    ):
        third.owner.started(at=1.0, version="")
    assert add().state is JobState.NEW


def fill(queue: Queue, add: Add) -> None:
    with queue.transaction():
        for number in range(2, 1000):
            add(number, script=BatchScript("#" * 10_000))


def test_a_full_disk(queue: Queue, add: Add) -> None:
    add(1)
    pages = queue._database.one("PRAGMA page_count")
    assert pages is not None
    queue._database.query(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(QueueFullError, match="no space left"):
        fill(queue, add)
    queue._database.query("PRAGMA max_page_count = 1000000")
    assert len(queue.jobs.all()) == 1
    add(2)


def test_files_that_are_no_queue(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database, but long enough to be looked at\n" * 100)
    with pytest.raises(QueueCorruptError, match="damaged or not a database"):
        Queue.open(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(QueueCorruptError, match="not an ef-slurm queue"):
        Queue.open(other)
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    connection.close()


def test_a_queue_of_the_future(queue: Queue) -> None:
    queue._database.query(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(QueueTooNewError, match="upgrade"):
        Queue.open(queue.path)


def test_the_transitions_in_the_file_follow_the_code(queue: Queue) -> None:
    queue._database.execute("DELETE FROM transitions WHERE to_state = 'admitted'")
    Queue.open(queue.path).close()
    row = queue._database.one("SELECT count(*) FROM transitions WHERE to_state = 'admitted'")
    assert row is not None
    assert row[0] > 0


def test_arrows_that_are_struck_leave_the_file_too(queue: Queue, add: Add) -> None:
    """A file of an older version opens, and permits what this version performs."""
    job = add()
    queue._database.execute("INSERT INTO transitions VALUES ('job', 'failed', 'new')")
    with Queue.open(queue.path) as again:
        rows = again._database.query("SELECT from_state, to_state FROM transitions")
        assert ("failed", "new") not in {tuple(row) for row in rows}
        again.jobs.move(job.id, JobState.FAILED, at=1.0, actor="x", why="")
        with pytest.raises(ForbiddenTransitionError):
            again._database.execute("UPDATE jobs SET state = 'new'")


OPENER = """
import sys
from pathlib import Path
from ef_slurm.queue.store import Queue
with Queue.open(Path(sys.argv[1])) as queue:
    print(len(queue.jobs.all()))
"""


def test_many_open_a_new_queue_at_once(path: Path) -> None:
    openers = [
        subprocess.Popen([sys.executable, "-c", OPENER, str(path)], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = [opener.communicate(timeout=60)[0] for opener in openers]
    assert outputs == [b"0\n"] * 4


HOLDER = """
import sys
from pathlib import Path
from ef_slurm.queue.owner import DaemonLock
with DaemonLock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_the_second_daemon_is_refused(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"locked\n"
        with pytest.raises(DaemonRunningError, match=rf"pid {first.pid} on "):
            DaemonLock(path)
        first.kill()
        first.wait()
    # The kernel ends a dead daemon's lock.
    with DaemonLock(path), pytest.raises(DaemonRunningError, match=rf"pid {os.getpid()} on "):
        DaemonLock(path)
    DaemonLock(path).close()


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/local rw - xfs /dev/sda2 rw
32 22 0:41 / /my\\040scratch rw - fuse.sshfs me@there: rw
33 22 0:42 / /scratch rw - lustre mds:/scratch rw
34 33 0:43 / /scratch rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/q", "ext4"),
        ("/home/me/q", "nfs4"),
        ("/homes/me/q", "ext4"),
        ("/home/local/q", "xfs"),
        ("/my scratch/q", "fuse.sshfs"),
        ("/scratch/q", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert filesystem.filesystem_of(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    "kind", ["nfs4", "lustre", "fuse.sshfs", "gpfs", "fuse.ceph-fuse", "fuse.juicefs"]
)
def test_a_network_file_system_is_refused(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "filesystem_of", lambda *_: kind)
    for what in (Queue.open, DaemonLock):
        with pytest.raises(QueueOnNetworkFilesystemError, match=f"{kind}.*local disk"):
            what(path)
    assert not path.exists()
