"""`ef-schedd check`, what a service needs: what holds, and the line to change where it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api.client import Client, UnreachableError
from ef_slurm.api.messages import Pong, Request, Response
from ef_slurm.daemon.check_service import (
    check_address,
    check_daemon,
    check_guard,
    check_order_root,
    check_queue,
    check_rights,
    check_site_file,
    check_state_root,
)
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.reader import read
from ef_slurm.siteconfig.tables import DaemonTable, JobsTable, QueueTable, Serves, SiteConfig
from ef_slurm.slurm.commands.accounting import AdminLevel
from ef_slurm.slurm.guard import Guard
from ef_slurm.slurm.site_types import SlurmConfiguration

NOW = 1_000_000.0
ME = Account.own()
SERVICE = """
[daemon]
serves = "everyone"
socket = "/run/ef-slurm/ef-schedd.sock"
[jobs]
state_root = "/shared/jobs"
order_root = "/shared/orders"
"""


def config(tmp_path: Path, serves: Serves = Serves.EVERYONE, user: str = ME.name) -> SiteConfig:
    return SiteConfig(
        daemon=DaemonTable(serves=serves, user=user, socket=tmp_path / "ef-schedd.sock"),
        queue=QueueTable(path=tmp_path / "queue.sqlite"),
        jobs=JobsTable(state_root=tmp_path / "jobs", order_root=tmp_path / "orders"),
        path=tmp_path / "ef-slurm.toml",
    )


@pytest.fixture(autouse=True)
def open_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest's own directories let nobody in: only those of a test count."""

    def below(account: Account, path: Path) -> Path | None:
        own = [one for one in path.parents if tmp_path in (one, *one.parents)]
        return next((one for one in own if not account.may(one.stat(), os.X_OK)), None)

    tmp_path.chmod(0o755)
    monkeypatch.setattr(Account, "stopped_at", below)


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


class TestSiteFile:
    def test_everybody_reads_the_sites(self, tmp_path: Path) -> None:
        system = tmp_path / "site.toml"
        system.write_text(SERVICE)
        finding = only(check_site_file(read(system), ME, system))
        assert (finding.level, finding.subject) == (Level.OK, "configuration")
        system.chmod(0o600)
        finding = only(check_site_file(read(system), ME, system))
        assert finding.level is Level.ERROR
        assert f"chmod a+rX {system}" in finding.text

    def test_a_file_that_others_do_not_find(self, tmp_path: Path) -> None:
        mine, system = tmp_path / "mine.toml", tmp_path / "site.toml"
        mine.write_text(SERVICE)
        finding = only(check_site_file(read(mine), ME, system))
        assert finding.level is Level.ERROR
        assert f"install -D -m 0644 {mine} {system}" in finding.text
        system.write_text(f"# the same\n{SERVICE}")
        assert only(check_site_file(read(mine), ME, system)).level is Level.OK
        system.write_text(f'{SERVICE}[slurm]\npartition = "other"\n')
        assert "says something else" in only(check_site_file(read(mine), ME, system)).text
        system.write_text("[slurm\n")
        assert "other users' commands fail" in only(check_site_file(read(mine), ME, system)).text

    def test_a_copied_example_serves_nobody(self, tmp_path: Path) -> None:
        system = tmp_path / "site.toml"
        system.write_text('[daemon]\nserves = "me"\n')
        site = read(system)
        for user in (Account("root", 0, frozenset()), Account("ef-slurm", 7, frozenset())):
            finding = only(check_site_file(site, user, system))
            assert (finding.level, finding.subject) == (Level.ERROR, "configuration")
            assert 'serves = "everyone"' in finding.text
            assert "ef-schedd setup --service" in finding.text
        alice = Account("alice", 8, frozenset())
        assert only(check_site_file(site, alice, system)).level is Level.OK

    def test_a_persons_own_file_hides_the_sites(self, tmp_path: Path) -> None:
        mine, system = tmp_path / "mine.toml", tmp_path / "site.toml"
        mine.write_text("")
        system.write_text(SERVICE)
        finding = only(check_site_file(read(mine), Account("alice", 8, frozenset()), system))
        assert finding.level is Level.WARNING
        assert "does not see" in finding.text


class Daemon:
    """A daemon that answers with this, or does not."""

    def __init__(self, pong: Pong | None) -> None:
        self._pong = pong

    def ask(self, request: Request) -> Response:
        if self._pong is None:
            raise UnreachableError(f"nobody answers {request}")
        return self._pong

    def close(self) -> None:
        pass


def daemon(pong: Pong | None) -> Callable[[], Client]:
    return lambda: Daemon(pong)


PONG = Pong("1.0", "c", 7, "ef-slurm", False, NOW - 100, NOW - 3, ("gpu",))


class TestDaemon:
    @pytest.mark.parametrize(
        ("pong", "level", "said"),
        [
            (PONG, Level.OK, "ef-schedd 1.0 of ef-slurm answers"),
            (replace(PONG, advisory=True), Level.WARNING, "acts on nothing"),
            (replace(PONG, last_tick=None), Level.ERROR, "does not get to its work"),
            (replace(PONG, last_tick=NOW - 900), Level.ERROR, "does not get to its work"),
            (None, Level.ERROR, "systemctl enable --now ef-schedd"),
        ],
    )
    def test_it_answers(self, tmp_path: Path, pong: Pong | None, level: Level, said: str) -> None:
        finding = only(check_daemon(config(tmp_path), daemon(pong), NOW))
        assert finding.level is level
        assert said in finding.text

    def test_ones_own_may_be_started_later(self, tmp_path: Path) -> None:
        finding = only(check_daemon(config(tmp_path, Serves.ME), daemon(None), NOW))
        assert finding.level is Level.WARNING
        assert "ef-schedd run" in finding.text

    def test_a_socket_that_only_some_get_to(self, tmp_path: Path) -> None:
        site = config(tmp_path)
        site.socket.touch()
        site.socket.chmod(0o666)
        _, finding = check_daemon(site, daemon(PONG), NOW)
        assert finding.level is Level.OK
        for path, mode in ((site.socket, 0o660), (tmp_path, 0o750)):
            before = path.stat().st_mode
            path.chmod(mode)
            _, finding = check_daemon(site, daemon(PONG), NOW)
            path.chmod(before)
            assert finding.level is Level.ERROR
            assert f"does not get through {path}" in finding.text


@pytest.mark.parametrize(
    ("host", "level"),
    [("", None), ("192.0.2.7", None), ("localhost", Level.ERROR), ("127.0.1.1", Level.ERROR),
     ("no-such-host.invalid", Level.ERROR)],
)  # fmt: skip
def test_a_name_that_other_hosts_cannot_reach(
    tmp_path: Path, host: str, level: Level | None
) -> None:
    site = config(tmp_path)
    found = list(check_address(replace(site, daemon=replace(site.daemon, host=host))))
    assert [one.level for one in found] == ([] if level is None else [level])
    assert all('write host = "NAME"' in one.text for one in found)


def said(settings: dict[str, str], plugins: tuple[str, ...] = ()) -> SlurmConfiguration:
    return SlurmConfiguration((24, 11, 5), "c", 30.0, 300.0, True, plugins, settings)


class TestRights:
    @pytest.mark.parametrize(
        ("user", "level", "settings", "expected", "text"),
        [
            ("daemon", AdminLevel.OPERATOR, {}, Level.OK, "may update, hold, release"),
            ("daemon", AdminLevel.NONE, {}, Level.ERROR, "set adminlevel=Operator"),
            ("daemon", AdminLevel.NONE, {"SlurmUser": "daemon(1)"}, Level.OK, "everything"),
            ("root", None, {}, Level.OK, "everything"),
            ("daemon", None, {}, Level.WARNING, "does not tell"),
            ("daemon", None, {"AccountingStorageType": "accounting_storage/none",
                              "SlurmUser": "slurm(1)"}, Level.ERROR, 'user = "slurm"'),
            ("no-such-user", AdminLevel.OPERATOR, {}, Level.ERROR, "useradd --system"),
        ],
    )  # fmt: skip
    def test_of_the_daemons_user(
        self,
        tmp_path: Path,
        user: str,
        level: AdminLevel | None,
        settings: dict[str, str],
        expected: Level,
        text: str,
    ) -> None:
        finding = only(check_rights(config(tmp_path, user=user), level, said(settings)))
        assert finding.level is expected
        assert text in finding.text

    @pytest.mark.parametrize(
        ("serves", "plugins", "guard", "level", "text"),
        [
            (Serves.EVERYONE, ("lua",), Guard.CURRENT, Level.OK, "guards ef"),
            (Serves.EVERYONE, ("lua",), Guard.OLDER, Level.WARNING, "setup --service"),
            (Serves.EVERYONE, ("lua",), Guard.UNKNOWN, Level.WARNING, "could not be seen"),
            (Serves.EVERYONE, ("lua",), Guard.NOBODY, Level.WARNING, "PARTITIONS and SERVICE_USER"),
            (Serves.EVERYONE, (), Guard.NOBODY, Level.WARNING, "JobSubmitPlugins=lua"),
            (Serves.ME, (), Guard.NOBODY, Level.WARNING, "JobSubmitPlugins=lua"),
            (Serves.ME, ("lua",), Guard.CURRENT, Level.ERROR, 'write partition = "NAME"'),
            (Serves.ME, ("lua",), Guard.OLDER, Level.ERROR, 'write partition = "NAME"'),
        ],
    )
    def test_who_guards_the_partition(
        self,
        tmp_path: Path,
        serves: Serves,
        plugins: tuple[str, ...],
        guard: Guard,
        level: Level,
        text: str,
    ) -> None:
        finding = check_guard(config(tmp_path, serves), said({}, plugins), guard)
        assert finding.level is level
        assert text in finding.text


class TestPlaces:
    def test_the_state_root_of_a_service(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = config(tmp_path)
        root = site.jobs.state_root
        alice = Account("alice", 1234, frozenset({os.getegid()}))
        monkeypatch.setattr(Account, "named", lambda _: alice)
        make = f"install -d -o root -g {site.daemon.user} -m 3777 {root}"
        finding = only(check_state_root(site))
        assert (finding.level, make in finding.text) == (Level.ERROR, True)
        root.mkdir()
        for mode, why in (
            (0o2770, "users cannot make"),
            (0o1777, "does not pass a group"),
            (0o3777, ""),
        ):
            root.chmod(mode)
            finding = only(check_state_root(site))
            assert finding.level is (Level.ERROR if why else Level.OK)
            assert why in finding.text
        tmp_path.chmod(0o750)
        assert f"chmod a+x {tmp_path}" in only(check_state_root(site)).text
        tmp_path.chmod(0o755)
        monkeypatch.setattr(Account, "named", lambda _: replace(alice, gids=frozenset({9999999})))
        assert "does not pass a group" in only(check_state_root(site)).text

    def test_the_order_root_of_a_service(self, tmp_path: Path) -> None:
        site = config(tmp_path)
        assert "No such file" in check_order_root(site).text
        site.order_root.mkdir(mode=0o711)
        site.order_root.chmod(0o711)
        assert check_order_root(site).level is Level.OK
        for mode in (0o777, 0o731, 0o700):
            site.order_root.chmod(mode)
            finding = check_order_root(site)
            assert finding.level is Level.ERROR
            assert f"install -d -o {ME.name} -m 0711 {site.order_root}" in finding.text

    def test_the_queue_is_the_daemons_business(self, tmp_path: Path) -> None:
        site = config(tmp_path)
        assert only(check_queue(site, ME)).level is Level.OK
        other = Account("alice", ME.uid + 1, frozenset())
        assert list(check_queue(site, other)) == []
        elsewhere = replace(site, daemon=replace(site.daemon, host="no-such-host"))
        assert list(check_queue(elsewhere, ME)) == []

    def test_a_queue_that_the_daemon_cannot_write(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Account, "named", lambda _: Account("alice", 1234, frozenset()))
        finding = only(check_queue(config(tmp_path), Account("root", 0, frozenset())))
        assert finding.level is Level.ERROR
        assert f"install -d -o alice -m 0700 {tmp_path}" in finding.text
