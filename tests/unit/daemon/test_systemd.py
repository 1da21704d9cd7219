"""What systemd hears of the daemon, and what its unit allows."""

from __future__ import annotations

import configparser
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.systemd import Notifier
from ef_slurm.resources import site_config_dir

UNIT = site_config_dir() / "systemd" / "ef-schedd.service"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stream.settimeout(0.2)
    abstract = request.param == "abstract"
    stream.bind(f"\0{tmp_path}/notify" if abstract else str(tmp_path / "notify"))
    yield stream
    stream.close()


def environment(listener: socket.socket, **more: str) -> dict[str, str]:
    name = listener.getsockname()
    return {"NOTIFY_SOCKET": f"@{name[1:].decode()}" if isinstance(name, bytes) else name, **more}


def heard(listener: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(listener.recv(100).decode())
        except TimeoutError:
            return said


def test_ready_and_stopping(listener: socket.socket) -> None:
    notifier = Notifier(environment(listener), Clock())
    notifier.ready()
    notifier.alive()  # nobody watches
    notifier.stopping()
    assert heard(listener) == ["READY=1", "STOPPING=1\nSTATUS=stopping"]


def test_what_it_does_is_told_when_it_changes(listener: socket.socket) -> None:
    clock, said = Clock(), ["1 jobs run"] * 3 + ["2 jobs run\nREADY=0\x1b[2J"]
    notifier = Notifier(environment(listener), clock)
    for _ in range(50):  # a second each; it is asked for the words as rarely as it tells them
        notifier.does(lambda: said.pop(0))
        clock.now += 0.7
    assert heard(listener) == ["STATUS=1 jobs run", "STATUS=2 jobs run\\nREADY=0\\x1b[2J"]
    assert not said


def test_a_status_that_nobody_reads_is_not_made() -> None:
    Notifier({}, Clock()).does(lambda: pytest.fail("nobody asked"))


def test_signs_of_life_are_few_and_in_time(listener: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(environment(listener, WATCHDOG_USEC="40000000"), clock)
    for _ in range(400):  # a second each
        notifier.alive()
        clock.now += 0.1
    assert heard(listener) == ["WATCHDOG=1"] * 4
    clock.now = 1.0  # set back: better once too often
    notifier.alive()
    assert heard(listener) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "given", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/where", "WATCHDOG_USEC": "1"}]
)
def test_without_a_systemd_nothing_happens(given: dict[str, str]) -> None:
    notifier = Notifier(given, Clock())
    notifier.ready()
    notifier.alive()
    notifier.stopping()


def test_a_watchdog_of_no_number() -> None:
    Notifier({"NOTIFY_SOCKET": "/no/where", "WATCHDOG_USEC": "soon"}, Clock()).alive()


def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_the_unit_takes_what_the_daemon_gives() -> None:
    service = unit()
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 60
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    for bound in ("MemoryMax", "TasksMax", "LimitNOFILE", "ReadWritePaths"):
        assert service[bound]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
class TestAnalyzed:
    def analyze(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", *words, str(UNIT)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_it_is_a_unit(self) -> None:
        # Which manual pages this machine has says nothing of the unit.
        done = self.analyze("verify", "--recursive-errors=no", "--man=no")
        assert done.returncode == 0, done.stderr
        assert UNIT.name not in done.stderr  # an unknown key is told as a warning

    def test_it_exposes_little(self) -> None:
        done = self.analyze("security", "--offline=yes", "--no-pager")
        level = re.search(r"Overall exposure level for .*?: ([\d.]+)", done.stdout)
        assert level is not None, done.stdout + done.stderr
        assert float(level[1]) <= 2.0
