"""Whatever lies where a report should be, reading it ends, soon, with a report or a refusal."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import StateDir
from ef_slurm.contract.decode import MAX_BYTES
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.plausible import plausible
from ef_slurm.daemon.observe.report_files import read_job_reports
from tests.unit.daemon.make import NOW, launch, progress

UID = os.getuid()


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """The state directory of a job that behaves."""
    found = StateDir(tmp_path / "state")
    found.path.mkdir()
    found.write_launch(launch())
    found.write_progress(progress())
    return found


def read(state: StateDir, uid: int = UID) -> JobReports:
    return read_job_reports(str(state.path), uid)


def text(**changes: Any) -> str:
    values = {"version": 1, **asdict(progress()), "phase": "running", **changes}
    return json.dumps(values)


def test_an_honest_job_is_heard(state: StateDir) -> None:
    assert read(state) == JobReports(launch(), progress())


def test_before_its_first_launch_there_is_nothing_to_complain_of(tmp_path: Path) -> None:
    assert read_job_reports(str(tmp_path), UID) == JobReports()


def as_link(file: Path) -> None:
    file.rename(file.with_suffix(".real"))
    file.symlink_to(file.with_suffix(".real"))


def as_link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("/proc/self/fd/0")


def as_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def as_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def as_socket(file: Path) -> None:
    file.unlink()
    before = Path.cwd()
    os.chdir(file.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(file.name)
    finally:
        os.chdir(before)


def as_sparse_file(file: Path) -> None:
    os.truncate(file, 2**40)


def as_endless_text(file: Path) -> None:
    file.write_bytes(b" " * (MAX_BYTES + 1))


def as_device(file: Path) -> None:
    if UID:
        pytest.skip("only root makes devices")
    file.unlink()
    try:
        os.mknod(file, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("no devices in here")


TRAPS = [
    as_link,
    as_link_to_nowhere,
    as_pipe,
    as_directory,
    as_socket,
    as_sparse_file,
    as_endless_text,
    as_device,
]


@pytest.mark.parametrize("trap", TRAPS)
def test_what_is_no_plain_file_is_refused_and_the_other_file_counts(
    state: StateDir, trap: Callable[[Path], None]
) -> None:
    trap(state.progress_file)
    found = read(state)
    assert (found.launch, found.progress) == (launch(), None)
    assert "progress.json" in found.trouble


def test_a_link_in_place_of_the_directory_is_not_followed(state: StateDir) -> None:
    link = state.path.with_name("link")
    link.symlink_to(state.path)
    found = read(StateDir(link))
    assert found.launch is None
    assert found.trouble


def test_files_of_somebody_else_are_not_the_jobs_word(state: StateDir) -> None:
    assert read(state, UID + 1) == JobReports(trouble="the state directory is not its owner's")
    if UID == 0:
        os.chown(state.progress_file, 1001, -1)
        found = read(state)
        assert (found.launch, found.progress) == (launch(), None)
        assert found.trouble == "progress.json: not a file of the job's owner"


def test_a_path_that_is_none_is_refused() -> None:
    for path in ("/no\0where", "", "/nowhere", "/" + "x" * 5000, "/etc/hostname"):
        found = read_job_reports(path, UID)
        assert found.launch is None
        assert found.trouble


HUGE = "9" * 401
BAD = {
    "no UTF-8": b"\xff\xfe{}",
    "nested": b"[" * 60_000,
    "nested objects": b'{"a":' * 10_000,
    "nested and closed": b'{"version": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "10^400": text().replace('"iteration": 500', f'"iteration": {HUGE}').encode(),
    "of 5,000 digits": text().replace('"iteration": 500', f'"iteration": {"9" * 5000}').encode(),
    "10^400 as a time": text().replace(f'"updated_at": {NOW}', f'"updated_at": {HUGE}').encode(),
    "1e400": text().replace(f'"updated_at": {NOW}', '"updated_at": 1e400').encode(),
    "10^30 as a generation": text(generation=10**30).encode(),
    "generation -1": text(generation=-1).encode(),
    "infinity": text(iterations_per_second=float("inf")).encode(),
    "minus infinity": text(first_iteration_at=float("-inf")).encode(),
    "not a number": text(iterations_per_second=float("nan")).encode(),
    "iteration -5": text(iteration=-5).encode(),
    "checkpoint -5": text(checkpoint_iteration=-5).encode(),
    "first iteration at -10^9": text(first_iteration_at=-1e9).encode(),
    "the year 5450": text(started_at=1.1e11).encode(),
    "negative rate": text(iterations_per_second=-3.0).encode(),
    "a rate of 10^300": text(iterations_per_second=1e300).encode(),
    "true for a number": text(iteration=True).encode(),
    "true for a version": text(version=True).encode(),
    "a text for a number": text(iteration="500").encode(),
    "a fraction for a count": text(iteration=500.5).encode(),
    "a list for a phase": text(phase=["running"]).encode(),
    "a list for a version": text(version=[[[[]]]]).encode(),
    "a phase that there is not": text(phase="r\x1b[2J" * 9000).encode()[:60_000],
    "null": text(world_size=None).encode(),
    "world of 0": text(world_size=0).encode(),
    "a key twice": text()[:-1].encode() + b', "iteration": 7}',
    "a list": b"[1]",
    "a number": b"7",
    "nothing": b"",
    "zeros": b"\0" * 100,
    "a half": text().encode()[:150],
    "two": text().encode() * 2,
    "another version": text(version=2).encode(),
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_no_report_are_refused_in_one_short_line(state: StateDir, name: str) -> None:
    state.progress_file.write_bytes(BAD[name])
    found = read(state)
    assert (found.launch, found.progress) == (launch(), None)
    assert found.trouble.startswith("progress.json: ")
    assert found.trouble.isprintable()
    assert len(found.trouble) < 400


def test_texts_are_cut_and_made_printable(state: StateDir) -> None:
    message = "no space\nleft\x1b[2J\x00 \ud800 \u202e " + "x" * 10_000
    state.progress_file.write_text(text(phase="failed", message=message))
    found = read(state).progress
    assert found is not None
    assert found.message.startswith("no space left�[2J� � � xxx")
    assert found.message.isprintable()
    assert len(found.message) == 1000
    found.message.encode()


def test_a_lease_on_the_file_does_not_hold_the_reader_up(state: StateDir) -> None:
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # so the kernel asks for the lease back
    with state.progress_file.open("r+b") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {errno.errorcode[error.errno or 0]}")
        found = read(state)
    assert found.progress is None
    assert "progress.json cannot be read" in found.trouble


def test_what_lies_in_the_future_is_now_and_nobody_trains_beyond_the_end() -> None:
    told = JobReports(
        launch(started_at=NOW + 5, updated_at=1e9),
        progress(
            iteration=10**12,
            checkpoint_iteration=10**12,
            started_at=1e9,
            updated_at=1e9,
            first_iteration_at=1e9,
            process_started_at=1e9,
            last_iteration_at=1e9,
            trained_until=1e9,
        ),
    )
    found = plausible(told, 10_000, NOW)
    assert found.launch is not None
    assert found.progress is not None
    assert (found.launch.started_at, found.launch.updated_at) == (NOW, NOW)
    times = (
        found.progress.started_at,
        found.progress.updated_at,
        found.progress.first_iteration_at,
        found.progress.process_started_at,
        found.progress.last_iteration_at,
        found.progress.trained_until,
    )
    assert times == (NOW,) * 6
    assert (found.progress.iteration, found.progress.checkpoint_iteration) == (10_000, 10_000)
    honest = JobReports(launch(), progress())
    assert plausible(honest, 10_000, NOW) is honest
