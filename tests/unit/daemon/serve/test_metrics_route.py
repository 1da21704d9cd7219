"""`/metrics` on the daemon's sockets, and on a port of its own for Prometheus."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.daemon.check_metrics import check_metrics
from ef_slurm.daemon.findings import Level
from ef_slurm.daemon.serve import exposition, metrics_listener
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.metrics_listener import MOST_CONNECTIONS
from ef_slurm.model import Event
from ef_slurm.queue.events import Events
from tests.unit.daemon.exported import Samples, samples, value
from tests.unit.daemon.serve.stub import Stub, asked, is_closed, serving

LIMITS = ServeLimits(request_seconds=0.5, idle_seconds=1.0)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with serving(tmp_path, LIMITS) as stub:
        yield stub


def get(
    stream: socket.socket, path: str = "/metrics", host: str = "localhost", method: str = "GET"
) -> tuple[int, str, str]:
    """Status, type and text of an answer."""
    stream.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = http.client.HTTPResponse(stream, method=method)
    answer.begin()
    text = answer.read().decode()
    return answer.status, answer.headers["Content-Type"], text


def exported(stub: Stub) -> Samples:
    with stub.connect() as stream:
        status, kind, text = get(stream)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return samples(text)


def prometheus(stub: Stub) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stub.metrics_port), 5.0)


def test_on_the_unix_socket(stub: Stub) -> None:
    found = exported(stub)
    assert value(found, "ef_slurm_queue_bytes", file="database") > 0
    assert value(found, "ef_slurm_promises_given_total") == 0


def test_over_tcp_it_wants_a_credential_as_everything_does(stub: Stub) -> None:
    with stub.connect_tcp() as stream:
        assert get(stream)[0] == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9830", "LocalHost"])
def test_prometheus_reads_it_on_a_port_of_its_own(stub: Stub, host: str) -> None:
    with prometheus(stub) as stream:
        status, kind, text = get(stream, host=host)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "ef_slurm_since_tick_seconds" in text
        assert get(stream, host=host)[0] == 200  # on the same connection


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:x", "", "::1"]
)
def test_a_page_elsewhere_gets_nothing_through_somebodys_browser(stub: Stub, host: str) -> None:
    with prometheus(stub) as stream:
        assert get(stream, host=host)[0] == 403


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/v1/jobs", "GET", 404),
        ("/v1/openapi.json", "GET", 404),
        ("/metrics/", "GET", 404),
        ("/metrics", "DELETE", 405),
    ],
)
def test_nothing_else_is_there(stub: Stub, path: str, method: str, status: int) -> None:
    with prometheus(stub) as stream:
        assert get(stream, path, method=method)[0] == status


def test_who_drips_or_is_silent_is_not_waited_for(stub: Stub) -> None:
    with prometheus(stub) as silent, prometheus(stub) as dripping:
        dripping.sendall(b"GET /met")
        assert b"408" in dripping.recv(1000)
        assert is_closed(silent)
        with prometheus(stub) as stream:
            assert get(stream)[0] == 200


def test_only_so_many_connections(stub: Stub) -> None:
    """Those that ask nothing make room for one that may."""
    with contextlib.ExitStack() as stack:
        dripping = [stack.enter_context(prometheus(stub)) for _ in range(MOST_CONNECTIONS)]
        for one in dripping:
            one.sendall(b"GET /")
        with prometheus(stub) as one_more:
            assert get(one_more)[0] == 200
        assert b"429" in dripping[0].recv(1000)
        assert stub.ping() == "ok"


def test_who_does_not_read_answers_is_not_waited_for(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_listener, "SEND_SECONDS", 1.0)
    monkeypatch.setattr(metrics_listener, "MOST_CONNECTIONS", 1)

    def status() -> int:
        with prometheus(stub) as stream:
            return get(stream)[0]

    with contextlib.ExitStack() as stack:
        while True:  # between two of its requests it makes room
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", stub.metrics_port))
            deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
            time.sleep(0.3)
            if status() == 429:
                break
        end = time.monotonic() + 30.0
        while status() != 200:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_what_is_asked_makes_no_labels(stub: Stub) -> None:
    for path in ("/v1/ping", "/v1/jobs?user=ann", "/v1/jobs/7", "/ann's-job", "/v1/jobs/7/story"):
        with stub.connect() as stream:
            asked(stream, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    with stub.connect() as stream:
        asked(stream, b"BREW /v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
    found = exported(stub)
    requests = "ef_slurm_http_requests_total"
    routes = {dict(labels)["route"] for name, labels in found if name == requests}
    assert routes == {"ping", "list", "await", "explain", "none"}
    assert value(found, requests, route="ping", status="200") == 1
    assert value(found, requests, route="none", status="404") == 1


def test_asking_often_reads_the_queue_once(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    plain = Events.all

    def counting(events: Events, **options: Any) -> tuple[Event, ...]:
        reads.append(1)
        return plain(events, **options)

    monkeypatch.setattr(Events, "all", counting)
    with prometheus(stub) as stream:
        for _ in range(50):
            assert get(stream)[0] == 200
    assert len(reads) <= 3


def test_without_its_queue_it_still_tells_what_it_knows(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "FRESH_SECONDS", 0.0)
    exported(stub)
    stub.path.with_name("queue.sqlite").write_bytes(b"no database")
    with prometheus(stub) as stream:
        status, _, text = get(stream)
    assert status == 200
    assert "ef_slurm_since_tick_seconds" in text


def test_the_check_says_where_it_is(stub: Stub) -> None:
    found = check_metrics(stub.metrics_port, stub.path, here=True)
    assert (found.level, found.subject) == (Level.OK, "metrics")
    assert found.text == f"http://127.0.0.1:{stub.metrics_port}/metrics answers"
    off = check_metrics(0, stub.path, here=True)
    assert off.level is Level.OK
    assert f"curl --unix-socket {stub.path} http://localhost/metrics" in off.text
    assert "on the daemon's host" in check_metrics(9830, stub.path, here=False).text


def test_the_check_says_that_nobody_or_another_is_there(stub: Stub) -> None:
    other = check_metrics(stub.port, stub.path, here=True)
    assert other.level is Level.WARNING
    assert "another program answers" in other.text
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    nobody = check_metrics(port, stub.path, here=True)
    assert nobody.level is Level.WARNING
    assert "systemctl restart ef-schedd" in nobody.text
