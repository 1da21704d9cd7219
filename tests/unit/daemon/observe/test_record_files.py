"""Records of jobs lie where nobody but the daemon can write or read, whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ef_slurm.daemon.observe import record_files
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.record_files import RecordFiles
from ef_slurm.formats.codec import decode, encode
from ef_slurm.model import RECORD_VERSION, JobRecord, JobState
from tests.unit.daemon.make import SCRIPT, row
from tests.unit.formats.records import values

KILLED_WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from ef_slurm.daemon.observe.record_files import RecordFiles
from ef_slurm.model import JobRecord
from tests.unit.daemon.make import SCRIPT, row
files = RecordFiles(Path(sys.argv[1]))
for turn in range(1, 1_000_000):
    jobs = [replace(row(), id=one, generation=turn) for one in range(1, 9)]
    assert not files.write([JobRecord(job, SCRIPT, written_at=float(turn)) for job in jobs])
    print(turn, flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> RecordFiles:
    OrderFiles(tmp_path / "orders").make_root()
    return RecordFiles(tmp_path / "orders")


def record(job_id: int = 1, **changes: object) -> JobRecord:
    return JobRecord(replace(row(), id=job_id, **changes), SCRIPT, written_at=5.0)  # type: ignore[arg-type]


def test_what_is_written_is_read_back_and_nobody_elses_to_read(files: RecordFiles) -> None:
    records = [record(number) for number in range(1, 4)]
    assert not files.write(records)
    assert files.read().records == {one.job.id: one for one in records}
    lies = [path for path in files.path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in lies} == {0o600}
    assert stat.S_IMODE(files.path.stat().st_mode) == 0o700


def test_one_that_has_ended_lies_apart_and_one_that_goes_on_again_does_not(
    files: RecordFiles,
) -> None:
    files.write([record(1), record(2)])
    files.write([record(1, state=JobState.LOST)])
    assert set(files.read(ended=False).records) == {2}
    assert files.read().records[1].job.state is JobState.LOST
    files.write([record(1, state=JobState.PAUSED)])
    assert files.read(ended=False).records[1].job.state is JobState.PAUSED
    files.forget([1, 2, 99])
    assert not files.read().records


def test_of_two_the_later_counts(files: RecordFiles) -> None:
    """A daemon was killed before it took the first away."""
    files.write([record(1)])
    old = (files.path / "active" / "1.json").read_bytes()
    files.write([replace(record(1, state=JobState.FAILED), written_at=6.0)])
    (files.path / "active" / "1.json").write_bytes(old)
    assert files.read().records[1].job.state is JobState.FAILED


def test_nothing_is_written_where_others_may_write(files: RecordFiles) -> None:
    files.path.parent.chmod(0o777)
    assert "alone may write" in files.write([record()])[1]
    files.path.parent.chmod(0o711)
    assert not files.write([record()])


def test_a_link_is_not_followed(files: RecordFiles, tmp_path: Path) -> None:
    files.path.mkdir()
    (files.path / "active").symlink_to(tmp_path)
    assert files.write([record()])[1]
    assert not list(tmp_path.glob("*.json"))
    (files.path / "active").unlink()
    files.write([record()])
    victim = tmp_path / "victim"
    victim.write_bytes((files.path / "active" / "1.json").read_bytes())
    (files.path / "active" / "1.json").unlink()
    (files.path / "active" / "1.json").symlink_to(victim)
    assert not files.read().records
    assert "active/1.json" in files.read().refused


def test_a_full_disk_is_told_and_leaves_what_was(
    files: RecordFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write([record(1), record(2)])
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(record_files, "SYNCING", 1)
    monkeypatch.setattr(os, "fsync", full)
    refused = files.write([record(1, generation=7), record(2, generation=7)])
    assert refused == {1: "No space left on device"}
    found = files.read().records
    assert (found[1].job.generation, found[2].job.generation) == (0, 7)
    assert not [path for path in files.path.rglob(".*") if path.is_file()]


def test_a_newer_version_is_told(files: RecordFiles) -> None:
    files.write([replace(record(), version=RECORD_VERSION + 1)])
    assert f"version {RECORD_VERSION + 1}" in files.read().refused["active/1.json"]


def test_what_a_later_version_adds_is_passed_over(files: RecordFiles) -> None:
    files.write([record()])
    path = files.path / "active" / "1.json"
    path.write_text(path.read_text().replace('{"job":', '{"later":[1],"job":', 1))
    assert files.read().records == {1: record()}


def test_a_killed_writer_leaves_each_record_whole(files: RecordFiles) -> None:
    for patience in (0.0, 0.01, 0.03):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(files.path.parent)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            told = int(writer.stdout.readline())
            time.sleep(patience)
            writer.kill()
            told = max([told, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        found = files.read()
        assert not found.refused
        assert sorted(found.records) == list(range(1, 9))
        assert min(one.job.generation for one in found.records.values()) >= told
        files.sweep()
        assert not [path for path in files.path.rglob(".*") if path.is_file()]


@given(st.binary(max_size=400) | st.integers(0, 3000).map(lambda number: number.to_bytes(2)))
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_whatever_lies_there_is_a_record_or_a_refusal(files: RecordFiles, data: bytes) -> None:
    whole = encode(record())
    cut = int.from_bytes(data[:2] or b"\0") % len(whole)
    files.write([record(2)])
    for name, content in (
        ("1.json", data),
        ("3.json", whole[:cut] + data + whole[cut:]),
        ("4.json", whole[:cut]),
        ("no.json", whole),
    ):
        (files.path / "active" / name).write_bytes(content)
    found = files.read()
    assert found.records[2] == record(2)
    assert "active/no.json" in found.refused
    assert len(found.records) + len(found.refused) == 5


def test_pipes_sockets_and_directories_are_refused_without_waiting(files: RecordFiles) -> None:
    files.write([record(2)])
    os.mkfifo(files.path / "active" / "1.json")
    (files.path / "active" / "3.json").mkdir()
    (files.path / "active" / "4.json").touch()
    os.truncate(files.path / "active" / "4.json", record_files.MOST_BYTES + 1)
    found = files.read()
    assert set(found.records) == {2}
    assert set(found.refused) == {"active/1.json", "active/3.json", "active/4.json"}


@given(values(JobRecord))
@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_record_comes_back_as_it_is(one: JobRecord) -> None:
    assert decode(JobRecord, encode(one)) == one
