"""What is typed when a queue, or its host, is lost: exit codes, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.schedd import rebuilding
from ef_slurm.cli.schedd.rebuilding import copy, make_anew
from ef_slurm.daemon.observe.claim import ClaimFile
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.record_files import RecordFiles
from ef_slurm.formats.codec import encode
from ef_slurm.model import JobState
from ef_slurm.queue.errors import DaemonRunningError
from ef_slurm.queue.owner import DaemonLock
from ef_slurm.queue.store import Queue
from ef_slurm.siteconfig.tables import DaemonTable, JobsTable, QueueTable, Serves, SiteConfig
from ef_slurm.slurm.errors import SlurmUnavailableError
from ef_slurm.slurm.types import Observation, SlurmJob
from tests.unit.daemon.world import World


class Site:
    """A site whose daemon has just died, with a job that was promised something."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = SiteConfig(
            queue=QueueTable(path=directory / "queue.sqlite"),
            jobs=JobsTable(order_root=directory / "orders"),
        )
        OrderFiles(self.config.order_root).make_root()
        self.claim = ClaimFile(self.config.order_root)
        self.world = World(self.config.queue.path, records=RecordFiles(self.config.order_root))
        self.silent = False
        self.job = self.world.submit(3_000, deadline=9000.0)
        self.world.run_until(lambda: self.world.state(self.job) is JobState.RUNNING)
        self.world.queue.close()
        monkeypatch.setattr(rebuilding, "CommandSlurm", lambda _runner: self)

    def observe(self) -> Observation:
        if self.silent:
            raise SlurmUnavailableError("Unable to contact slurm controller")
        return self.world.slurm.observe()

    def ended(self, _ids: Sequence[int]) -> dict[int, SlurmJob]:
        return {}

    def lose(self) -> None:
        for path in self.config.queue.path.parent.glob("queue.sqlite*"):
            path.unlink()

    def rebuild(
        self, *, replace: bool = False, dry_run: bool = False, take_over: bool = False
    ) -> ExitCode:
        return make_anew(
            self.config, backup=None, replace=replace, dry_run=dry_run, take_over=take_over
        )

    def elsewhere(self) -> None:
        """A daemon of another host acts."""
        mine = self.claim.take("theirs", Path("/there"), pid=7)
        self.claim.path.write_bytes(encode(replace(mine, host="otherhost")))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_a_lost_queue(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.lose()
    assert site.rebuild(dry_run=True) is ExitCode.OK
    assert "Nothing was written" in capsys.readouterr().out
    assert not site.config.queue.path.exists()
    assert site.rebuild() is ExitCode.OK
    said = capsys.readouterr().out
    assert f"{site.job.request.slurm_job_id} user1 train: running, promise open" in said
    assert "1 jobs, 1 of them with a promise that stands" in said
    assert "lost: events" in said
    with Queue.open(site.config.queue.path) as queue:
        found = site.claim.read()
        assert found is not None
        assert found.queue == queue.identity()


def test_a_queue_that_is_there_needs_a_word(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="--replace") as refused:
        site.rebuild()
    assert refused.value.code is ExitCode.NO_ANSWER
    assert site.rebuild(replace=True) is ExitCode.OK
    assert "before-rebuild-" in capsys.readouterr().out


def test_while_a_daemon_runs_nothing_is_rebuilt(site: Site) -> None:
    with DaemonLock(site.config.queue.path), pytest.raises(DaemonRunningError):
        site.rebuild(replace=True)


def test_without_slurm_nothing_changes(site: Site) -> None:
    site.silent = True
    site.elsewhere()
    before = site.claim.read()
    for take_over in (False, True):
        site.claim.path.write_bytes(encode(replace(before, stopped=None if take_over else 5.0)))  # type: ignore[type-var]
        with pytest.raises(CommandError, match="Unable to contact") as refused:
            site.rebuild(replace=True, take_over=take_over)
        assert refused.value.code is ExitCode.SLURM
    # Nor is the other daemon stopped for what cannot be done.
    assert site.claim.read() == before
    assert not list(site.config.queue.path.parent.glob("*rebuild*"))


def test_another_hosts_daemon_is_not_passed_over(site: Site) -> None:
    site.lose()
    site.elsewhere()
    with pytest.raises(UsageError, match="otherhost"):
        site.rebuild()
    assert site.rebuild(take_over=True) is ExitCode.OK
    found = site.claim.read()
    assert found is not None
    assert (found.host != "otherhost", found.pid) == (True, 0)


def test_what_could_not_be_rebuilt_is_in_the_exit_code(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.lose()
    (site.config.order_root / "records/active/9.json").write_text("{}")
    assert site.rebuild() is ExitCode.INCOMPLETE
    assert "NOT REBUILT: the record active/9.json is none: " in capsys.readouterr().out


def test_nothing_to_rebuild_from(site: Site) -> None:
    empty = replace(site.config, jobs=JobsTable(order_root=site.config.order_root.parent / "no"))
    for config in (empty,):
        with pytest.raises(CommandError, match="no"):
            make_anew(config, backup=None, replace=True, dry_run=True, take_over=False)


def test_a_service_is_the_daemons_user_only(site: Site) -> None:
    theirs = replace(site.config, daemon=DaemonTable(serves=Serves.EVERYONE, user="somebody"))
    with pytest.raises(UsageError, match="sudo -u somebody"):
        make_anew(theirs, backup=None, replace=True, dry_run=False, take_over=False)
    with pytest.raises(UsageError, match="sudo -u somebody"):
        copy(theirs, site.config.queue.path.with_name("backup"))


def test_a_backup(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy(site.config, tmp_path / "backup") is ExitCode.OK
    assert "MB" in capsys.readouterr().out
