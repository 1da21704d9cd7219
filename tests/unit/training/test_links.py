"""Messages between ranks, over real connections, with somebody hostile who reaches the port."""

import logging
import os
import pickle
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.training import links, messages, ranks
from ef_slurm.training.links import Hub, Spoke
from ef_slurm.training.ranks import Ranks, RanksError, wait_until
from tests.unit.training.connected import connected

WORLD = 3


class Launch:
    """Connected ranks, and what a hostile process knows of them: the port."""

    def __init__(self) -> None:
        self.ranks, self.hub = connected(WORLD)
        self.first, self.second, self.third = self.ranks

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.hub.port), timeout=10)

    def works(self, key: str) -> None:
        """All that training needs: from rank 0 to all, and from all to rank 0, unaltered."""
        self.first.publish(key, {"who": key})
        for one in self.ranks:
            assert one.fetch(key) == {"who": key}
            one.post(f"{key}/of", one.rank * 10)
        assert self.first.gather(f"{key}/of") == [0, 10, 20]


@pytest.fixture
def launch() -> Iterator[Launch]:
    launch = Launch()
    yield launch
    for one in reversed(launch.ranks):
        one.close()


class Bomb:
    """What runs where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def read_to_the_end(connection: socket.socket) -> bytes:
    """What the other side says until it hangs up."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def test_messages_of_all_kinds(launch: Launch) -> None:
    for number in range(50):
        launch.works(f"round {number}")
    value = {"a": [1, 2.5, None, True, "ü\udc80"], "b": {"c": []}}
    launch.third.post("odd", value)
    for one in (launch.first, launch.second):
        one.post("odd", 0)
    assert launch.first.gather("odd") == [0, 0, value]
    assert not launch.first.posted("odd")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n" * 10, id="http"),
        pytest.param(b"\xff" * 100_000, id="bytes"),
        pytest.param(b"EFS1" + b"\0" * 76, id="no proof"),
        pytest.param(None, id="pickle"),
    ],
)
def test_strangers_are_refused_and_training_goes_on(
    launch: Launch, said: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executed = tmp_path / "executed"
    if said is None:
        said = pickle.dumps(Bomb(executed)) * 10
    with caplog.at_level(logging.WARNING), launch.dial() as stranger:
        if said:
            stranger.sendall(said)
        else:
            stranger.shutdown(socket.SHUT_WR)
        answered = read_to_the_end(stranger)
        launch.works("meanwhile")
    # A random number for the handshake and nothing else.
    assert len(answered) in (0, 36)
    assert not executed.exists()
    launch.works("afterwards")
    if said:
        assert "refused a connection from 127.0.0.1" in caplog.text
        assert "training goes on" in caplog.text


def test_no_store_of_torch_is_served(launch: Launch) -> None:
    """What the port used to be: anybody could set and delete its keys."""
    from datetime import timedelta

    import torch.distributed as dist

    store: Any = dist
    with pytest.raises((RuntimeError, ValueError)):
        store.TCPStore(
            "127.0.0.1",
            launch.hub.port,
            is_master=False,
            timeout=timedelta(seconds=1),
            use_libuv=False,
        ).set("request/1", b"stop")
    launch.works("still")


@pytest.mark.parametrize("rank", [0, WORLD, 2**32 - 1])
def test_other_secret_or_no_such_rank(launch: Launch, rank: int) -> None:
    received: list[Any] = []
    spoke = Spoke(
        "127.0.0.1",
        launch.hub.port,
        rank,
        secrets.token_bytes(32),
        lambda _, message: received.append(message),
    )
    spoke.send(["decision/1", 5])
    launch.works("meanwhile")
    time.sleep(0.5)
    assert not received
    assert not launch.first.posted("decision/1")
    spoke.close()


def test_strangers_who_wait_do_not_keep_a_rank_out(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_STRANGERS", 8)
    strangers = [launch.dial() for _ in range(40)]
    assert cut(launch.hub, 1)
    launch.works("after a new connection")
    gone = sum(not alive(stranger) for stranger in strangers)
    assert gone >= 30
    for stranger in strangers:
        stranger.close()


def test_handshake_has_a_time_limit(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "HANDSHAKE_SECONDS", 0.3)
    began = time.monotonic()
    with launch.dial() as stranger:
        stranger.sendall(b"EFS1")
        read_to_the_end(stranger)
    assert time.monotonic() - began < 5


def test_lost_connection_is_made_again_and_nothing_is_lost(launch: Launch) -> None:
    for number in range(20):
        assert cut(launch.hub, 1 + number % 2)
        launch.first.publish(f"key {number}", number)
        launch.second.post(f"from 1 {number}", number)
    for number in range(20):
        assert launch.second.fetch(f"key {number}") == number
        assert launch.third.fetch(f"key {number}") == number
        assert wait_until(lambda n=number: bool(launch.first.posted(f"from 1 {n}")))  # type: ignore[misc]


def cut(hub: Hub, rank: int) -> bool:
    """Break the connection to a rank, as a network does, once there is one."""
    link = hub._links[rank]
    if not wait_until(lambda: not link.lost_seconds):
        return False
    hub._thread.soon(link.drop)
    return True


def alive(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while part := connection.recv(1000):
            assert part
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


class Proxy:
    """Somebody between two ranks who changes, cuts or records what passes."""

    def __init__(self, port: int, damage: int | None = None):
        self._port = port
        self.damage = damage
        self.recorded = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pass, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, upwards: bool) -> None:
        done = 0
        with source, target:
            try:
                while data := source.recv(4096):
                    if upwards:
                        self.recorded += data
                        # The handshake is left alone: what follows is what it must protect.
                        if self.damage is not None and done <= self.damage < done + len(data):
                            at = self.damage - done
                            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                            self.damage = None
                        done += len(data)
                    target.sendall(data)
                target.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


HANDSHAKE = 4 + 12 + 32 + 32


HEADER = 20 + 32


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(20, id="handshake"),
        pytest.param(HANDSHAKE, id="length"),
        pytest.param(HANDSHAKE + 11, id="number"),
        pytest.param(HANDSHAKE + 30, id="code of the header"),
        pytest.param(HANDSHAKE + HEADER + 3, id="text"),
        pytest.param(HANDSHAKE + HEADER + 30, id="code of the text"),
    ],
)
def test_changed_messages_are_refused_and_sent_again(damage: int) -> None:
    secret = secrets.token_bytes(32)
    first, other = Ranks(0, 2), Ranks(1, 2)
    hub = Hub("127.0.0.1", 2, secret, first.receive)
    first.use(hub)
    proxy = Proxy(hub.port, damage)
    other.use(Spoke("127.0.0.1", proxy.port, 1, secret, other.receive))
    for number in range(5):
        other.post(f"key {number}", [number, "text"])
        first.post(f"key {number}")
    for number in range(5):
        assert first.gather(f"key {number}") == [None, [number, "text"]]
    assert proxy.damage is None
    other.close()
    first.close()
    proxy.close()


def test_recorded_connection_cannot_be_played_again() -> None:
    secret = secrets.token_bytes(32)
    first, other = Ranks(0, 2), Ranks(1, 2)
    hub = Hub("127.0.0.1", 2, secret, first.receive)
    first.use(hub)
    proxy = Proxy(hub.port)
    other.use(Spoke("127.0.0.1", proxy.port, 1, secret, other.receive))
    other.post("once", 1)
    first.post("once", 0)
    assert first.gather("once") == [0, 1]
    with socket.create_connection(("127.0.0.1", hub.port)) as again:
        again.sendall(proxy.recorded)
        read_to_the_end(again)
    assert not first.posted("once")
    first.publish("still", 5)
    assert other.fetch("still") == 5
    other.close()
    first.close()
    proxy.close()


def test_who_answers_for_rank_0_without_the_secret_is_not_believed() -> None:
    received: list[Any] = []
    impostor = Hub("127.0.0.1", 2, secrets.token_bytes(32), lambda *_: None)
    impostor.send(["decision/1", 7])
    spoke = Spoke(
        "127.0.0.1",
        impostor.port,
        1,
        secrets.token_bytes(32),
        lambda _, message: received.append(message),
    )
    time.sleep(0.6)
    assert not received
    spoke.close()
    impostor.close()


def test_dead_rank_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "LOST_SECONDS", 0.5)
    launch = Launch()
    launch.third.close()
    launch.first.post("anything")
    launch.second.post("anything")
    with pytest.raises(RanksError, match="rank 2 cannot be reached"):
        launch.first.gather("anything")
    launch.first.close()
    with pytest.raises(RanksError, match="rank 0 cannot be reached"):
        launch.second.fetch("anything")
    with pytest.raises(RanksError, match="rank 0 cannot be reached"):
        launch.second.known("anything")
    launch.second.close()


def test_last_words_of_rank_0_reach_everybody() -> None:
    for _ in range(10):
        launch = Launch()
        launch.first.publish("the end", "goodbye")
        launch.first.close()
        assert launch.second.fetch("the end") == "goodbye"
        assert launch.third.fetch("the end") == "goodbye"
        launch.second.close()
        launch.third.close()
