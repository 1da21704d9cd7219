"""The log in systemd's journal: fields that nobody forges, and text where there is none."""

from __future__ import annotations

import io
import logging
import os
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon import journal
from ef_slurm.daemon.journal import JournalHandler, log_handler, written
from ef_slurm.daemon.log_fields import about
from ef_slurm.model import EventKind
from tests.fakes.patience import PATIENCE
from tests.unit.daemon.world import World


def read(entry: bytes) -> dict[str, str]:
    """As journald does (journald-native.c)."""
    fields = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
        entry = rest
    return fields


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.settimeout(PATIENCE)
        stream.bind(str(tmp_path / "journal"))
        yield stream


@pytest.fixture
def text() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(tmp_path: Path, text: io.StringIO) -> Iterator[logging.Logger]:
    """A logger of this test's own that writes to the journal of `listener`."""
    logger = logging.Logger("ef_slurm.test", logging.DEBUG)
    handler = JournalHandler(tmp_path / "journal", log_handler({}, text))
    logger.addHandler(handler)
    yield logger
    handler.close()


def heard(listener: socket.socket) -> dict[str, str]:
    return read(listener.recv(1 << 20))


def test_a_line_about_a_job_has_its_fields(
    listener: socket.socket, log: logging.Logger, tmp_path: Path
) -> None:
    world = World(tmp_path / "queue.sqlite")
    job = world.submit(1000, 500.0)
    job = replace(job, request=replace(job.request, account="vision"))
    log.warning("job %d: %s", 7, "was held", extra=about(job, EventKind.USER))
    world.queue.close()
    fields = heard(listener)
    assert fields["MESSAGE"] == "job 7: was held"
    assert fields["PRIORITY"] == "4"
    assert fields["SYSLOG_IDENTIFIER"] == "ef-schedd"
    assert fields["EF_JOB_ID"] == str(job.request.slurm_job_id)
    assert fields["EF_USER"] == "user1"
    assert fields["EF_ACCOUNT"] == "vision"
    assert fields["EF_EVENT"] == "user"
    assert fields["CODE_FILE"] == __file__
    assert int(fields["CODE_LINE"]) > 0


def test_what_concerns_no_job_names_none(listener: socket.socket, log: logging.Logger) -> None:
    log.info("started", extra=about(None, EventKind.DAEMON))
    fields = heard(listener)
    assert fields["EF_EVENT"] == "daemon"
    assert "EF_JOB_ID" not in fields


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")],
)
def test_priorities_are_syslogs(
    listener: socket.socket, log: logging.Logger, level: str, priority: str
) -> None:
    getattr(log, level)("x")
    assert heard(listener)["PRIORITY"] == priority


@pytest.mark.parametrize(
    "hostile",
    [
        *("a\nPRIORITY=0\nMESSAGE=all is well", "\x1b[2Jx", "\ud800", "\0", "x" * 100_000),
        *("=", "\u202e"),
    ],
)
def test_whatever_is_quoted_forges_no_field(
    listener: socket.socket, log: logging.Logger, hostile: str
) -> None:
    log.error("job %d: %s", 7, hostile, extra={"EF_JOB_ID": "7", "EF_USER": hostile})
    fields = heard(listener)
    assert fields["PRIORITY"] == "3"
    assert fields["EF_JOB_ID"] == "7"
    for name in ("MESSAGE", "EF_USER"):
        assert fields[name].isprintable()
        assert len(fields[name]) < 6000


def test_a_traceback_is_one_entry_of_several_lines(
    listener: socket.socket, log: logging.Logger
) -> None:
    try:
        raise ValueError("x\nMESSAGE=y")
    except ValueError:
        log.exception("job %d", 7)
    message = heard(listener)["MESSAGE"]
    first, *lines = message.splitlines()
    assert first == "job 7"
    assert all(line.startswith("  | ") for line in lines)
    assert "ValueError: x" in message


def test_a_journal_that_is_gone_loses_nothing(
    listener: socket.socket, log: logging.Logger, text: io.StringIO, tmp_path: Path
) -> None:
    log.warning("before")
    assert heard(listener)["MESSAGE"] == "before"
    (tmp_path / "journal").unlink()
    log.warning("after\nwards")
    assert text.getvalue().endswith("WARNING after\\nwards\n")


def test_a_journal_that_does_not_read_holds_nobody_up_for_long(
    listener: socket.socket,
    log: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as impatient:
        impatient.settimeout(0.001)
        monkeypatch.setattr(log.handlers[0], "_socket", impatient)
        for _ in range(1000):
            log.warning("x" * 3000)
    assert heard(listener)["MESSAGE"] == "x" * 3000


class Stream(io.StringIO):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w")

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


def test_the_journal_is_used_where_standard_error_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "journal")
    with Stream(tmp_path / "stderr") as stream:
        found = os.fstat(stream.fileno())
        named = f"{found.st_dev}:{found.st_ino}"
        handler = log_handler({"JOURNAL_STREAM": named}, stream)
        assert isinstance(handler, JournalHandler)
        handler.close()
        # Inherited by a daemon whose standard error somebody has led elsewhere.
        for other in (f"{found.st_dev}:{found.st_ino + 1}", "", "x", "1:2:3"):
            assert not isinstance(log_handler({"JOURNAL_STREAM": other}, stream), JournalHandler)
    assert not isinstance(log_handler({"JOURNAL_STREAM": "1:2"}, io.StringIO()), JournalHandler)


_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)


@given(st.dictionaries(_NAMES, st.text()))
def test_journald_reads_back_whatever_was_written(fields: dict[str, str]) -> None:
    expected = {
        name: text.encode("utf-8", "backslashreplace").decode() for name, text in fields.items()
    }
    assert read(written(fields)) == expected


@pytest.mark.skipif(not journal.SOCKET.exists(), reason="no journal here")
@pytest.mark.skipif(shutil.which("journalctl") is None, reason="no journalctl here")
def test_a_real_journal_finds_it_by_its_job() -> None:
    mark = uuid.uuid4().hex
    handler = JournalHandler(journal.SOCKET, logging.NullHandler())
    logger = logging.Logger("ef_slurm.test")
    logger.addHandler(handler)
    logger.warning("job %s", mark, extra={"EF_JOB_ID": mark})
    handler.close()
    subprocess.run(["journalctl", "--sync"], check=True)
    command = ["journalctl", "--output=cat", f"EF_JOB_ID={mark}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == f"job {mark}\n"
