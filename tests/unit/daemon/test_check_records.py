"""`ef-schedd check`, what outlives the queue: who acts, and whether promises are recorded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ef_slurm.daemon.check_records import check_records
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.daemon.observe.claim import NAME, ClaimFile
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import JobsTable, QueueTable, SiteConfig

ME = Account.own()
HERE = socket.gethostname()


@pytest.fixture
def config(tmp_path: Path) -> SiteConfig:
    jobs = JobsTable(state_root=tmp_path / "jobs", order_root=tmp_path / "orders")
    return SiteConfig(jobs=jobs, queue=QueueTable(path=tmp_path / "queue.sqlite"))


@pytest.fixture
def root(config: SiteConfig) -> Path:
    OrderFiles(config.order_root).make_root()
    return config.order_root


def findings(config: SiteConfig, host: str = HERE) -> list[Finding]:
    return list(check_records(config, ME, host))


def test_where_no_daemon_was_ever_started(config: SiteConfig) -> None:
    assert findings(config) == []
    OrderFiles(config.order_root).make_root()
    assert [one.level for one in findings(config)] == [Level.OK]


def test_the_daemon_of_here_acts_and_keeps_records(config: SiteConfig, root: Path) -> None:
    ClaimFile(root).take("q", config.queue.path, pid=1)
    acting, none = findings(config)
    assert (acting.level, none.level) == (Level.OK, Level.OK)
    assert "of 0 jobs" in none.text
    (root / "records" / "active").mkdir(parents=True)
    (root / "records" / "active" / "7.json").write_text("{}")
    assert [one.level for one in findings(config)] == [Level.OK, Level.OK]
    assert "of 1 jobs" in findings(config)[1].text


def test_records_that_cannot_be_listed(config: SiteConfig, root: Path) -> None:
    ClaimFile(root).take("q", config.queue.path, pid=1)
    (root / "records").mkdir()
    (root / "records" / "active").write_text("no directory")
    assert [one.level for one in findings(config)] == [Level.OK, Level.WARNING]


@pytest.mark.parametrize("other", ["host", "queue"])
def test_another_daemon_acts(config: SiteConfig, root: Path, other: str) -> None:
    path = config.queue.path if other == "host" else root / "other.sqlite"
    ClaimFile(root).take("q", path, pid=1)
    acting = findings(config, "elsewhere" if other == "host" else HERE)[0]
    assert acting.level is Level.WARNING
    assert "takeover" in acting.text


def test_a_claim_that_cannot_be_read(config: SiteConfig, root: Path) -> None:
    (root / NAME).write_text("{")
    assert [one.level for one in findings(config)] == [Level.ERROR]


def test_somebody_else_is_told_who_can_look(config: SiteConfig, root: Path) -> None:
    assert root.exists()
    (found,) = check_records(config, Account("x", ME.uid + 1, frozenset()), HERE)
    assert (found.level, "sudo -u" in found.text) == (Level.OK, True)
