"""Orders are left where nobody but the daemon can write, and nowhere else."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order
from ef_slurm.daemon.check_service import check_order_root
from ef_slurm.daemon.findings import Level
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.state_dirs import FileStateDirs
from ef_slurm.model import QueueJob
from ef_slurm.siteconfig import SiteConfig
from ef_slurm.siteconfig.tables import JobsTable
from tests.unit.daemon.make import row, stop

VICTIM = "the queue\n"


def job(state_dir: Path) -> QueueJob:
    plain = row()
    return replace(plain, request=replace(plain.request, state_dir=str(state_dir)))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_order_is_read_back_and_readable_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        orders = OrderFiles(tmp_path / "orders")
        orders.make_root()
        assert orders.read(job(tmp_path)) is None
        orders.write(job(tmp_path), stop(3))
    finally:
        os.umask(before)
    assert orders.read(job(tmp_path)) == stop(3)
    (directory,) = (tmp_path / "orders").iterdir()
    assert (mode(tmp_path / "orders"), mode(directory)) == (0o711, 0o711)
    assert [(file.name, mode(file)) for file in directory.iterdir()] == [("order.json", 0o644)]


def test_a_directory_that_a_killed_daemon_left_closed_is_opened(tmp_path: Path) -> None:
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    orders.write(job(tmp_path), stop(3))
    (directory,) = (tmp_path / "orders").iterdir()
    for one in (tmp_path / "orders", directory):
        one.chmod(0o700)
    orders.make_root()
    orders.write(job(tmp_path), stop(4))
    assert (mode(tmp_path / "orders"), mode(directory)) == (0o711, 0o711)


def test_no_link_in_the_state_directory_is_written_through(tmp_path: Path) -> None:
    """A link to the queue turned the queue into 118 bytes of JSON."""
    state, victim = tmp_path / "state", tmp_path / "queue.sqlite"
    state.mkdir()
    victim.write_text(VICTIM)
    victim.chmod(0o600)
    for name in ("order.json", f".order.json.{os.getpid()}.tmp"):
        (state / name).symlink_to(victim)
    dirs = FileStateDirs(OrderFiles(tmp_path / "orders"))
    OrderFiles(tmp_path / "orders").make_root()
    before = sorted(state.iterdir())
    dirs.prepare(job(state))
    dirs.order(job(state), stop())
    assert dirs.read(job(state)).order == stop()
    assert (victim.read_text(), mode(victim)) == (VICTIM, 0o600)
    assert sorted(state.iterdir()) == before


def test_a_link_to_anothers_directory_changes_nothing_there(tmp_path: Path) -> None:
    other, state = tmp_path / "other", tmp_path / "state"
    other.mkdir()
    state.symlink_to(other)
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    FileStateDirs(orders).order(job(state), stop())
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("bad", [0o733, 0o771, 0o1777])
def test_a_root_that_others_may_write_gets_no_orders(tmp_path: Path, bad: int) -> None:
    root = tmp_path / "orders"
    root.mkdir()
    root.chmod(bad)
    with pytest.raises(PermissionError, match="alone may write"):
        OrderFiles(root).write(job(tmp_path), stop())
    assert list(root.iterdir()) == []
    config = replace(SiteConfig(), jobs=JobsTable(order_root=root))
    assert check_order_root(config).level is Level.ERROR


def test_a_root_that_is_a_link_gets_no_orders(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "orders").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="orders"):
        OrderFiles(tmp_path / "orders").write(job(tmp_path), stop())


def test_what_a_job_had_is_gone_with_it(tmp_path: Path) -> None:
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    orders.write(job(tmp_path / "a"), stop())
    orders.write(job(tmp_path / "b"), stop())
    orders.forget(job(tmp_path / "a"))
    orders.forget(job(tmp_path / "a"))
    assert orders.read(job(tmp_path / "a")) is None
    assert orders.read(job(tmp_path / "b")) == stop()
    assert len(list((tmp_path / "orders").iterdir())) == 1


def test_an_order_from_before_does_not_stop_a_newcomer(tmp_path: Path) -> None:
    """Its owner may take the same state directory again."""
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    orders.write(job(tmp_path), stop(1))
    FileStateDirs(orders).prepare(job(tmp_path))
    found = orders.read(job(tmp_path))
    assert found is not None
    assert found.action is Action.NONE


def test_the_order_of_a_job_that_ran_stays(tmp_path: Path) -> None:
    orders = OrderFiles(tmp_path / "orders")
    orders.make_root()
    ran = replace(job(tmp_path), first_started_at=5.0)
    orders.write(ran, Order(4, Action.STOP, 9.0))
    FileStateDirs(orders).prepare(ran)
    assert orders.read(ran) == Order(4, Action.STOP, 9.0)


def test_without_a_root_jobs_start_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FileStateDirs(OrderFiles(tmp_path / "none")).prepare(job(tmp_path))
    assert "asked with TERM alone" in caplog.text
