"""A file system that hangs under one job's files, and under the orders."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order, StateDir
from ef_slurm.daemon.observe import state_dirs
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.report_files import read_job_reports
from ef_slurm.daemon.observe.state_dirs import FileStateDirs
from ef_slurm.daemon.observe.workers import Workers
from ef_slurm.model import QueueJob
from tests.fakes.patience import PATIENCE
from tests.unit.daemon.make import launch, progress, row, stop


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    event.set()
    yield event
    event.set()


@pytest.fixture
def dirs(tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> FileStateDirs:
    """Reading what is called "hung" takes until the gate opens."""

    def read(path: str, uid: int) -> JobReports:
        if "hung" in path:
            gate.wait()
        return read_job_reports(path, uid)

    monkeypatch.setattr(state_dirs, "read_job_reports", read)
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    return FileStateDirs(
        orders, readers=Workers(patience=0.2), writers=Workers(patience=0.2, penance=0)
    )


def job(tmp_path: Path, number: int, name: str) -> QueueJob:
    directory = StateDir(tmp_path / name)
    directory.path.mkdir()
    directory.write_launch(launch())
    directory.write_progress(progress())
    plain = row()
    request = replace(plain.request, state_dir=str(directory.path), uid=os.getuid())
    return replace(plain, id=number, request=request)


def test_of_a_job_that_hangs_counts_what_it_last_said(
    tmp_path: Path, dirs: FileStateDirs, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, good = job(tmp_path, 1, "hung"), job(tmp_path, 2, "good")
    before = JobReports(launch(), progress())
    assert dirs.read_all((hung, good)) == [before, before]
    gate.clear()
    StateDir(tmp_path / "good").write_progress(progress(iteration=501))
    monkeypatch.setattr(state_dirs, "SILENT_SECONDS", 0.0)
    end = time.monotonic() + PATIENCE
    after = JobReports(launch(), progress(iteration=501))
    while dirs.read_all((hung, good))[1] != after:  # the same owner's: read, but not waited for
        assert time.monotonic() < end
    found = dirs.read(hung)
    assert (found.launch, found.progress) == (launch(), progress())
    assert found.trouble == "its state directory does not answer"
    gate.set()
    while dirs.read(hung).trouble:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_order_that_hangs_is_refused_and_none_overtakes_it(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = 2.0
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    dirs = FileStateDirs(orders, readers=Workers(), writers=Workers(patience=patience, penance=0))
    one = job(tmp_path, 1, "one")
    plain = OrderFiles.write

    def write(files: OrderFiles, job: QueueJob, order: Order) -> None:
        gate.wait()
        plain(files, job, order)

    monkeypatch.setattr(OrderFiles, "write", write)
    gate.clear()
    with pytest.raises(OSError, match="does not answer"):
        dirs.order(one, stop())
    began = time.monotonic()
    with pytest.raises(OSError, match="does not answer"):
        dirs.order(one, Order(1, Action.RELAUNCH, 5.0))
    assert dirs.read(one).trouble == "the file system does not answer"
    assert time.monotonic() - began < patience  # it is not waited for again
    gate.set()
    end = time.monotonic() + PATIENCE
    while dirs.read(one).trouble:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert dirs.read(one).order == stop()
    dirs.order(one, Order(1, Action.RELAUNCH, 5.0))
    assert dirs.read(one).order == Order(1, Action.RELAUNCH, 5.0)


def test_an_order_is_read_once_and_remembered(
    tmp_path: Path, dirs: FileStateDirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(tmp_path, 1, "one")
    dirs.order(one, stop(4))
    again = FileStateDirs(OrderFiles(tmp_path / "orders"))
    assert again.read(one).order == stop(4)
    monkeypatch.setattr(OrderFiles, "read", lambda *_: pytest.fail("read again"))
    assert again.read(one).order == stop(4)
