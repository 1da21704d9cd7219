"""How the ranks find each other: a file with a secret, and one address of this host."""

import json
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.training import connection_file, interface, patience, ranks
from ef_slurm.training.interface import launch_address
from ef_slurm.training.ranks import Ranks, RanksError
from tests.fakes.patience import PATIENCE


class Group:
    """The broadcast of a process group, between threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int):
        self._first = first
        self._both = threading.Barrier(2)
        self._data = b""
        monkeypatch.setattr(ranks, "_broadcast", self._broadcast)

    def _broadcast(self, data: bytes) -> bytes:
        if threading.get_ident() == self._first:
            self._data = data
        self._both.wait(PATIENCE)
        return self._data


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    return Group(monkeypatch, threading.get_ident())


def opened(directory: Path, problem: str = "") -> tuple[Ranks, Ranks, list[RanksError]]:
    """Two ranks after `open`, and what went wrong for them."""
    first, other = Ranks(0, 2), Ranks(1, 2)
    errors: list[RanksError] = []

    def join(rank: Ranks, said: str) -> None:
        try:
            rank.open(directory, said)
        except RanksError as error:
            errors.append(error)

    thread = threading.Thread(target=join, args=(other, ""))
    thread.start()
    join(first, problem)
    thread.join(timeout=20)
    return first, other, errors


@pytest.mark.usefixtures("group")
def test_secret_lies_in_a_file_of_the_owner_and_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, dict[str, Any]]] = []
    read = connection_file.read

    def spy(path: Path) -> str:
        text = read(path)
        seen.append((stat.S_IMODE(path.stat().st_mode), json.loads(text)))
        return text

    monkeypatch.setattr(connection_file, "read", spy)
    first, other, errors = opened(tmp_path)
    assert not errors
    [(mode, values)] = seen
    assert mode == 0o600
    assert values["host"] == "127.0.0.1"
    assert len(bytes.fromhex(values["secret"])) == 32
    assert not list(tmp_path.iterdir())
    first.publish("key", 1)
    assert other.fetch("key") == 1
    # Reachable there, and at no other address of this host.
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line
    }
    port = f"{values['port']:04X}"
    assert {place for place in listening if place.endswith(f":{port}")} == {f"0100007F:{port}"}
    other.close()
    first.close()


@pytest.mark.usefixtures("group")
def test_each_launch_has_a_secret_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = connection_file.write

    def spy(path: Path, values: dict[str, Any]) -> None:
        written.append(values["secret"])
        write(path, values)

    monkeypatch.setattr(connection_file, "write", spy)
    for _ in range(2):
        first, other, errors = opened(tmp_path)
        assert not errors
        other.close()
        first.close()
    assert len(set(written)) == 2


@pytest.mark.usefixtures("group")
def test_problem_of_rank_0_ends_all(tmp_path: Path) -> None:
    _, _, errors = opened(tmp_path, "the disk is full")
    assert sorted((error.told, str(error)) for error in errors) == [
        (False, "the disk is full"),
        (True, "rank 0 cannot use the state directory"),
    ]


@pytest.mark.usefixtures("group")
def test_directory_that_is_not_shared_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(path: Path) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(connection_file, "read", none)
    monkeypatch.setattr(ranks, "RANK_WAIT_SECONDS", 0.5)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)
    _, _, errors = opened(tmp_path)
    told = [str(error) for error in errors]
    assert any("must be on a file system that all nodes share" in text for text in told)
    assert "not all ranks have connected to rank 0" in told
    assert not list(tmp_path.iterdir())


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What hosts' names mean."""
    known: dict[str, list[str]] = {}
    monkeypatch.setattr(interface, "_addresses", lambda host: iter(known.get(host, [])))
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "EF_NODES"):
        monkeypatch.delenv(name, raising=False)
    return known


def own_address() -> str:
    """An address of this host that is not loopback, if it has one."""
    found = [
        text
        for text in (interface._way_to("192.0.2.1"), interface._way_to("198.51.100.1"))
        if text and not text.startswith("127.")
    ]
    if not found:
        pytest.skip("this host has no other interface than loopback")
    return found[0]


def test_one_host_is_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setenv("MASTER_ADDR", socket.gethostname())
    assert launch_address() == "127.0.0.1"


def test_address_of_the_rendezvous(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_address()
    monkeypatch.setenv("MASTER_ADDR", "n1")
    names["n1"] = ["127.0.1.1", own]
    assert launch_address() == own


def test_name_that_means_loopback_here_only(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's /etc/hosts gives a host's own name 127.0.1.1; the others do not see that."""
    own = own_address()
    monkeypatch.setenv("MASTER_ADDR", "n1")
    monkeypatch.setenv("EF_NODES", "n1,n2")
    names.update({"n1": ["127.0.1.1"], "n2": ["192.0.2.7"]})
    assert launch_address() == own


def test_all_nodes_on_this_host(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "n1")
    monkeypatch.setenv("EF_NODES", "n1,n2")
    names.update({"n1": ["127.0.1.1"], "n2": ["127.0.1.1"]})
    assert launch_address() == "127.0.1.1"


def test_unknown_name_is_told(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not names
    monkeypatch.setenv("MASTER_ADDR", "nowhere")
    with pytest.raises(OSError, match="nowhere is no address of this host"):
        launch_address()
    assert os.environ["MASTER_ADDR"] == "nowhere"
