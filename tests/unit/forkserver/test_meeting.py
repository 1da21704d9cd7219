"""How the servers of a launch come together, and whom they believe."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from forkserver import meeting

from tests.unit.forkserver.launching import SECRET, Launching, fake_torch, free_ports


@pytest.fixture
def host() -> Iterator[meeting.Host]:
    port = free_ports()
    made = meeting.Host(meeting.listen(port, SECRET), 3, SECRET, ("n1", "n2", "n3"))
    yield made
    made.close()


def port_of(host: meeting.Host) -> int:
    return int(host.listener.getsockname()[1]) - 1


def at_once(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def act() -> None:
        try:
            results.append(action())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    return thread, results


def attending(
    port: int, node: int, obstacle: str = "", seconds: float = 20
) -> tuple[threading.Thread, list[Any]]:
    return at_once(lambda: meeting.attend("127.0.0.1", port, node, SECRET, obstacle, seconds))


def test_all_hear_the_same_and_the_last_to_leave_is_awaited(host: meeting.Host) -> None:
    port = port_of(host)
    others = [attending(port, 1), attending(port, 2, "no")]
    assert host.gather(20) == {1: "", 2: "no"}
    agreed = meeting.Agreed("", 4711, False)
    host.tell(agreed)
    for thread, results in others:
        thread.join()
        assert results[0][0] == agreed

    def leave() -> None:
        time.sleep(0.3)
        for _, results in others:
            results[0][1].close()

    leaver, _ = at_once(leave)
    began = time.monotonic()
    host.await_leave(20)
    assert 0.2 < time.monotonic() - began < 15
    leaver.join()


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\n", b"x" * 100_000, b"\xff\n", b"a {}\n"])
def test_strangers_are_shown_out(host: meeting.Host, text: bytes) -> None:
    port = port_of(host)
    with socket.create_connection(("127.0.0.1", port + 1)) as stranger:
        with suppress(OSError):
            stranger.sendall(text)
        others = [attending(port, 1), attending(port, 2)]
        assert host.gather(20) == {1: "", 2: ""}
        host.tell(meeting.Agreed())
        for thread, results in others:
            thread.join()
            assert results[0][0] == meeting.Agreed()
            results[0][1].close()


def test_who_does_not_know_the_secret_is_not_believed(host: meeting.Host) -> None:
    port = port_of(host)
    wrong, results = at_once(lambda: meeting.attend("127.0.0.1", port, 1, "other", "", 1))
    with pytest.raises(meeting.NoMeetingError, match="after 2 s no word of 2 of 3 nodes: n2, n3; "):
        host.gather(2)
    wrong.join()
    assert isinstance(results[0], meeting.NoMeetingError)


def test_a_first_node_that_does_not_know_the_secret_is_not_believed() -> None:
    port = free_ports()
    said = json.dumps({"obstacle": "", "port": 1, "agent_store": True})
    with socket.create_server(("127.0.0.1", port + 1)) as listener:

        def pretend() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"nonce\n")
                connection.recv(65536)
                connection.sendall(f"{'0' * 64} {said}\n".encode())

        pretender, _ = at_once(pretend)
        with pytest.raises(meeting.NoMeetingError, match="the first node was not found at 127"):
            meeting.attend("127.0.0.1", port, 1, SECRET, "", 1)
        pretender.join()


def impostor(port: int, stack: ExitStack) -> socket.socket:
    """Somebody who greets as the first node does, and then says nothing."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", port)))

    def pretend() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                stack.callback(connection.close)
                connection.sendall(b"nonce\n")

    at_once(pretend)
    return listener


def test_who_greets_and_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_PATIENCE", 0.5)
    port = free_ports()
    with ExitStack() as stack:
        for taken in (port, port + 1):
            stack.callback(impostor(taken, stack).shutdown, socket.SHUT_RDWR)
        host = meeting.Host(meeting.listen(port, SECRET), 2, SECRET, ("n1", "n2"))
        assert host.listener.getsockname()[1] in meeting.places(port, SECRET)[2:]
        thread, results = attending(port, 1)
        assert host.gather(20) == {1: ""}
        host.tell(meeting.Agreed())
        thread.join()
        assert results[0][0] == meeting.Agreed()
        results[0][1].close()
        host.close()


def test_who_stands_between_is_not_waited_for() -> None:
    port = free_ports()
    with socket.create_server(("127.0.0.1", port + 1)) as listener:
        host = meeting.Host(meeting.listen(port, SECRET), 2, SECRET, ("n1", "n2"))
        assert host.listener.getsockname()[1] == port

        def stand_between() -> None:
            """Passes on both ends' proofs, and nothing after them."""
            node, _ = listener.accept()
            listener.close()
            with node, socket.create_connection(("127.0.0.1", port)) as first:
                node.sendall(first.recv(65536))
                first.sendall(node.recv(65536))
                if said := first.recv(65536):
                    node.sendall(said)
                    time.sleep(5.0)

        between, _ = at_once(stand_between)
        thread, results = attending(port, 1)
        assert host.gather(20) == {1: ""}
        host.tell(meeting.Agreed())
        for one in (between, thread):
            one.join()
        assert results[0][0] == meeting.Agreed()
        results[0][1].close()
        host.close()


def test_no_secret_is_none(tmp_path: Path) -> None:
    variables = {**fake_torch(tmp_path), "EF_LAUNCH_SECRET": ""}
    launching = Launching(tmp_path, nodes=2, ranks=1, variables=variables)
    server = launching.begin(launching.script("import torch"))
    assert "EF_LAUNCH_SECRET is not set" in server.end()[2]


def test_a_node_counts_once(host: meeting.Host) -> None:
    port = port_of(host)
    first, twice = attending(port, 1, seconds=3), attending(port, 1, seconds=3)
    with pytest.raises(meeting.NoMeetingError, match="no word of 1 of 3 nodes: n3;"):
        host.gather(1)
    host.tell(meeting.Agreed())
    host.close()
    for thread, _ in (first, twice):
        thread.join()
    met = [results[0] for _, results in (first, twice) if isinstance(results[0], tuple)]
    assert len(met) == 1
    met[0][1].close()


ADDS = """
    import gc, json, os, socket
    import torch
    gc.unfreeze()
    sockets = [o for o in gc.get_objects() if isinstance(o, socket.socket) and o.fileno() >= 0]
    torch.distributed.init_process_group("gloo")
    x = torch.ones(1)
    torch.distributed.all_reduce(x)
    torch.distributed.destroy_process_group()
    print(json.dumps({
        "rank": int(os.environ["RANK"]), "sum": x.item(), "port": os.environ["MASTER_PORT"],
        "sockets": len(sockets),
    }))
"""


def test_two_nodes_add_up_though_the_port_of_the_rendezvous_is_taken(tmp_path: Path) -> None:
    launching = Launching(tmp_path, nodes=2, ranks=1)
    with socket.create_server(("", launching.port)):
        found = launching.says(ADDS)
    assert [found[rank]["sum"] for rank in (0, 1)] == [2.0, 2.0]
    assert found[0]["port"] == found[1]["port"] != str(launching.port)
    assert [found[rank]["sockets"] for rank in (0, 1)] == [0, 0]


@pytest.mark.parametrize(
    "taken", [(), (0,), (1,), (0, 1)], ids=["none", "rendezvous", "meeting", "both"]
)
def test_two_nodes_meet_whatever_port_is_taken(tmp_path: Path, taken: tuple[int, ...]) -> None:
    launching = Launching(tmp_path, nodes=2, ranks=1, variables=fake_torch(tmp_path))
    text = """
        import json, os
        print(json.dumps({"rank": int(os.environ["RANK"]), "port": os.environ["MASTER_PORT"]}))
    """
    with ExitStack() as stack:
        for which in taken:
            stack.enter_context(socket.create_server(("", launching.port + which)))
        found = launching.says(text)
    assert found[0]["port"] == found[1]["port"]
    assert (found[0]["port"] == str(launching.port)) == (not taken)


def test_no_port_at_all(tmp_path: Path) -> None:
    launching = Launching(tmp_path, nodes=2, ranks=1, variables=fake_torch(tmp_path))
    ports = meeting.places(launching.port, SECRET)
    with ExitStack() as stack:
        for port in ports:
            with suppress(OSError):  # somebody has it already
                stack.enter_context(socket.create_server(("", port)))
        code, _, errors = launching.begin(launching.script("import torch")).end()
    assert code == 1
    assert f"ports {', '.join(map(str, ports))} are taken: " in errors


def test_the_store_outlives_the_ranks_of_the_first_node(tmp_path: Path) -> None:
    """As torchrun's agent does: nobody else on the node may be left when it is asked again."""
    text = """
        import json, os, time
        import torch
        rank = int(os.environ["RANK"])
        store, _, _ = next(torch.distributed.rendezvous("env://"))
        if rank == 0:
            store.set("gone", "yes")
        else:
            store.wait(["gone"])
            time.sleep(1)
            assert store.get("gone") == b"yes"
        print(json.dumps({"rank": rank}))
    """
    Launching(tmp_path, nodes=2, ranks=1).says(text)


def test_a_server_ends_at_once_while_it_waits(tmp_path: Path) -> None:
    launching = Launching(tmp_path, nodes=2, ranks=1, variables=fake_torch(tmp_path))
    launched = launching.begin(launching.script("import torch"))
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", launching.port + 1)):
            break
        time.sleep(0.05)
    os.kill(launched.process.pid, signal.SIGTERM)
    assert launched.end()[0] == -signal.SIGTERM
