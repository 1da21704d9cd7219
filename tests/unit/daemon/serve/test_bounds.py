"""However much somebody asks, and however slowly, others are answered."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api import routes
from ef_slurm.api.identity import Transport
from ef_slurm.api.messages import Judge
from ef_slurm.api.routes import BODY_LIMIT, TARGET_LIMIT
from ef_slurm.daemon.serve import charging, frames
from ef_slurm.daemon.serve.gate import HEAD_LIMIT
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.formats.codec import decode
from ef_slurm.model import Json
from tests.fakes.patience import PATIENCE
from tests.unit.api.fakes import REQUEST, FakeMunge
from tests.unit.daemon.serve.stub import ME, PING, Stub, answered, asked, is_closed, serving

LIMITS = ServeLimits(
    connections=6,
    connections_per_user=5,
    reserved_per_user=2,
    unauthenticated_per_address=3,
    request_seconds=1.0,
    idle_seconds=1.5,
    requests_per_second=50.0,
    burst=20.0,
)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with serving(tmp_path, LIMITS) as stub:
        yield stub


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Stub]:
    """With the bounds that a site has."""
    with serving(tmp_path, ServeLimits()) as stub:
        yield stub


class Users:
    """Whose the next connections on the UNIX socket are."""

    def __init__(self) -> None:
        self.uid = ME
        self.seen = 0

    def peer_of(self, _: object) -> tuple[int, int]:
        self.seen += 1
        return self.uid, self.uid

    def connect(self, stub: Stub, uid: int, number: int) -> list[socket.socket]:
        """Connections of a user, once the daemon has seen all of them."""
        self.uid, wanted = uid, self.seen + number
        streams = [stub.connect() for _ in range(number)]
        end = time.monotonic() + PATIENCE
        while self.seen < wanted and time.monotonic() < end:
            time.sleep(0.01)
        return streams


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Users:
    users = Users()
    monkeypatch.setattr("ef_slurm.daemon.serve.connections.peer_of", users.peer_of)
    return users


class TestSize:
    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"hello\r\n\r\n", "bad-request"),
            (b"\r\n\r\n", "bad-request"),
            (b"GET /v1/ping HTTP/2\r\n\r\n", "bad-request"),
            (b"GET /v1/ping\r\n\r\n", "bad-request"),
            (b"GET  /v1/ping HTTP/1.1\r\n\r\n", "bad-request"),
            (b"GET /v1/p\xffng HTTP/1.1\r\n\r\n", "bad-request"),
            (b"GET /v1/ping HTTP/1.1\r\nHost x\r\n\r\n", "bad-request"),
            (b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\n y\r\n\r\n", "bad-request"),
            (b"GET /v1/ping HTTP/1.1\r\nHost: x\ny: z\r\n\r\n", "bad-request"),
            (b"GET /v1/ping HTTP/1.1\r\nHost: \0\r\n\r\n", "bad-request"),
            (b"CONNECT x:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", "no-such-method"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad-request"),
            (b"GET http://x/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", "no-such-path"),
            (b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n\r\n", "bad-request"),
            (b"GET /v1/ping HTTP/1.1\r\n\r\n", "bad-request"),
            (
                b"POST /v1/what-if HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                "bad-request",
            ),
            (b"POST /v1/what-if HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "bad-request"),
            (b"POST /v1/what-if HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", "bad-request"),
            (
                b"POST /v1/what-if HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                "bad-request",
            ),
            (
                b"POST /v1/what-if HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                % (BODY_LIMIT + 1),
                "too-large",
            ),
            (
                b"POST /v1/what-if HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % 10**17,
                "too-large",
            ),
            (b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n", "bad-request"),
            (b"GET /v1/jobs HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT + b"\r\n\r\n", "too-large"),
            (b"GET /v1/jobs HTTP/1.1\r\n" + b"X: a\r\n" * 5000 + b"\r\n", "too-large"),
            (b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", "bad-request"),
            (
                b"GET /v1/jobs?user=%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * TARGET_LIMIT),
                "too-large",
            ),
            (b"a" * (HEAD_LIMIT + 1), "too-large"),
        ],
    )
    def test_what_is_no_request_or_too_large(
        self, patient: Stub, data: bytes, problem: str
    ) -> None:
        with patient.connect() as stream:
            assert asked(stream, data) == problem
        assert patient.ping() == "ok"

    def test_a_body_as_long_as_may_be(self, patient: Stub) -> None:
        text = b'{"job_ids": [], "why": "' + b"a" * (BODY_LIMIT - 26) + b'"}'
        assert len(text) == BODY_LIMIT
        head = b"POST /v1/cancellations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        with patient.connect() as stream:
            assert asked(stream, head % BODY_LIMIT + text) == "ok"
            assert asked(stream, PING) == "ok"

    def test_many_job_ids(self, patient: Stub) -> None:
        body = b'{"job_ids": [%s]}' % b",".join(b"%d" % number for number in range(1, 102))
        head = b"POST /v1/cancellations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        with patient.connect() as stream:
            assert asked(stream, head % len(body) + body) == "too-large"
            body = b'{"job_ids": [%s]}' % b",".join([b"7"] * 100_000)
            assert asked(stream, head % len(body) + body) == "unknown-job"

    def test_a_request_that_is_sent_ahead_is_answered_next(self, patient: Stub) -> None:
        with patient.connect() as stream:
            stream.sendall(PING * 5)
            reader = stream.makefile("rb")
            assert [self.status(reader) for _ in range(5)] == [200] * 5

    def test_a_flood_that_is_sent_ahead(self, patient: Stub) -> None:
        with patient.connect() as stream, contextlib.suppress(OSError):
            for _ in range(200):
                stream.sendall(PING * 1000)
        assert patient.ping() in ("ok", "too-many-requests")  # whose requests they were

    def status(self, reader: object) -> int:
        line = reader.readline()  # type: ignore[attr-defined]
        length = 0
        while (field := reader.readline().strip()) != b"":  # type: ignore[attr-defined]
            if field.lower().startswith(b"content-length:"):
                length = int(field.split(b":")[1])
        reader.read(length)  # type: ignore[attr-defined]
        return int(line.split()[1])


class TestTime:
    @pytest.mark.parametrize(
        "said",
        [
            b"G",
            b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\n",
            b"POST /v1/what-if HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
        ],
    )
    def test_a_request_that_does_not_arrive(self, stub: Stub, said: bytes) -> None:
        with stub.connect() as stream:
            assert asked(stream, said) == "too-slow"
            assert is_closed(stream)

    def test_a_request_that_drips(self, stub: Stub) -> None:
        began = time.monotonic()
        with stub.connect() as stream:
            with contextlib.suppress(OSError):
                for letter in itertools.cycle([b"a"]):
                    stream.sendall(letter)
                    time.sleep(0.05)
                    if time.monotonic() - began > 2.5:
                        break
            assert answered(stream) == "too-slow"

    def test_a_connection_that_says_nothing(self, stub: Stub) -> None:
        began = time.monotonic()
        with stub.connect() as stream:
            assert is_closed(stream)
        assert time.monotonic() - began < 5
        with stub.connect() as stream:
            assert asked(stream, PING) == "ok"
            assert is_closed(stream)

    def test_the_time_is_of_each_request(self, stub: Stub) -> None:
        with stub.connect() as stream:
            for _ in range(5):
                assert asked(stream, PING) == "ok"
                time.sleep(0.4)

    def test_an_answer_that_nobody_receives(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel's buffers are full; after a while the places are free again."""
        monkeypatch.setattr("ef_slurm.daemon.serve.sending.SEND_SECONDS", 0.5)
        limits = replace(LIMITS, connections_per_user=3, requests_per_second=1e6, burst=1e6)
        with serving(tmp_path, limits) as stub:
            streams = [stub.connect() for _ in range(3)]
            for stream in streams:
                stream.setblocking(False)
                with contextlib.suppress(OSError):
                    for _ in range(300):
                        stream.send(b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stub.ping() == "too-many-requests"
            end = time.monotonic() + PATIENCE
            while stub.ping() != "ok":
                assert time.monotonic() < end
                time.sleep(0.1)
            for stream in streams:
                stream.close()


class TestPlaces:
    def test_of_one_user(self, stub: Stub) -> None:
        held = [stub.connect() for _ in range(LIMITS.connections_per_user)]
        for stream in held:
            assert asked(stream, PING) == "ok"
        with stub.connect() as stream:
            assert answered(stream) == "too-many-requests"
        held.pop().close()
        time.sleep(0.1)
        assert stub.ping() == "ok"
        for stream in held:
            stream.close()

    def test_others_come_in_beside_many(self, stub: Stub, users: Users) -> None:
        most = LIMITS.connections_per_user + 3
        held = [each for uid in (5001, 5002, 5003) for each in users.connect(stub, uid, most)]
        users.uid = 5004
        assert stub.ping() == "ok"
        for stream in held:
            stream.close()

    def test_dripping_connections_do_not_keep_others_out(self, stub: Stub, users: Users) -> None:
        held = users.connect(stub, 5001, 250)
        for stream in held:
            with contextlib.suppress(OSError):
                stream.sendall(b"G")
        users.uid = 5002
        began = time.monotonic()
        assert stub.ping() == "ok"
        assert time.monotonic() - began < 2
        for stream in held:
            stream.close()

    def test_over_tcp_the_one_that_says_nothing_makes_room(self, stub: Stub) -> None:
        held = [stub.connect_tcp() for _ in range(LIMITS.unauthenticated_per_address)]
        time.sleep(0.1)
        with stub.connect_tcp() as stream:
            assert asked(stream, PING) == "unauthenticated"  # it was read
        assert answered(held[0]) == "busy"
        for stream in held:
            stream.close()

    def test_over_tcp_this_hosts_addresses_are_one(self, stub: Stub) -> None:
        places = range(LIMITS.unauthenticated_per_address)
        held = [stub.connect_tcp(source=f"127.0.0.{2 + place}") for place in places]
        time.sleep(0.1)
        with stub.connect_tcp(source="127.0.1.1") as stream:
            assert asked(stream, PING) == "unauthenticated"
        assert answered(held[0]) == "busy"
        for stream in held:
            stream.close()

    def test_over_tcp_who_has_many_addresses_keeps_nobody_out(
        self, stub: Stub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As if they were other hosts'.
        monkeypatch.setattr("ef_slurm.daemon.serve.connections.is_loopback", lambda _: False)
        each = LIMITS.unauthenticated_per_address
        sources = [f"127.0.0.{2 + place % 2}" for place in range(LIMITS.connections)]
        assert len(sources) == 2 * each
        held = [stub.connect_tcp(source=source) for source in sources]
        time.sleep(0.1)
        with stub.connect_tcp() as stream:
            assert asked(stream, PING) == "unauthenticated"
        assert answered(held[0]) == "busy"
        for stream in held:
            stream.close()

    def test_over_tcp_silence_is_short(self, stub: Stub) -> None:
        with stub.connect_tcp() as stream:
            assert is_closed(stream)


class Standing:
    """Time by which requests are counted: it stands, and nothing that is done takes any."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return 0.0


@pytest.fixture
def time_of_requests(monkeypatch: pytest.MonkeyPatch) -> Standing:
    standing = Standing()
    monkeypatch.setattr(charging, "time", standing)
    return standing


class TestRate:
    def test_of_one_user(self, time_of_requests: Standing, stub: Stub, users: Users) -> None:
        burst = int(LIMITS.burst)
        with stub.connect() as stream:
            answers = [asked(stream, PING) for _ in range(burst + 10)]
        assert answers == ["ok"] * burst + ["too-many-requests"] * 10
        users.uid = 5001
        assert stub.ping() == "ok"
        users.uid = ME
        assert stub.ping() == "too-many-requests"
        time_of_requests.now += 1.5 / LIMITS.requests_per_second
        assert [stub.ping(), stub.ping()] == ["ok", "too-many-requests"]

    def test_what_costs_the_daemon_more_counts_more(self, tmp_path: Path) -> None:
        limits = replace(LIMITS, requests_per_second=0.1, burst=20.0, cheap_seconds=1e-8)
        with serving(tmp_path, limits) as stub:
            answers = [stub.ping() for _ in range(15)]
        assert answers[0] == "ok"
        assert answers[-1] == "too-many-requests"

    @pytest.mark.usefixtures("time_of_requests")
    def test_whoever_is_refused_is_told_when_to_come_again(self, stub: Stub) -> None:
        told = b""
        with stub.connect() as stream:
            stream.sendall(PING * (int(LIMITS.burst) + 1))
            while b"Retry-After: 1" not in told:
                more = stream.recv(1 << 16)
                assert more, told
                told += more


class TestFrames:
    @pytest.mark.parametrize("kind", [Transport.UNIX, Transport.TCP])
    def test_an_older_command_is_told_so(self, stub: Stub, kind: Transport) -> None:
        connect = stub.connect if kind is Transport.UNIX else stub.connect_tcp
        with connect() as stream:
            stream.sendall(struct.pack("!I", 2) + b"{}")
            (length,) = struct.unpack("!I", stream.recv(4, socket.MSG_WAITALL))
            said = decode(dict[str, Json], stream.recv(length, socket.MSG_WAITALL))
            if kind is Transport.TCP:
                identity = FakeMunge().decode(str(said["credential"]))
                assert identity.payload.startswith("ef-slurm/1 ")
                said = decode(dict[str, Json], str(said["message"]))
            assert said["kind"] == "failure"
            body = said["body"]
            assert isinstance(body, dict)
            assert body == {"code": "bad-request", "message": frames.SENTENCE}
            assert is_closed(stream)


def test_a_slow_scheduler_is_no_reason_to_wait_for_ever(
    patient: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers what-ifs here: they end in time, and only so many wait."""
    monkeypatch.setattr("ef_slurm.daemon.serve.handler.VERDICT_SECONDS", 2.0)
    wish = replace(
        REQUEST, slurm_job_id=0, submitted=time.time(), deadline=time.time() + 3600, grace=0.0
    )
    sent = routes.write(Judge(wish))
    head = f"{sent.method} {sent.target} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(sent.body)}"
    data = head.encode() + b"\r\n\r\n" + sent.body
    streams = [patient.connect() for _ in range(10)]
    for stream in streams:
        stream.sendall(data)
    assert patient.ping() == "ok"
    answers = sorted(answered(stream) for stream in streams)
    assert answers == ["busy"] * 4 + ["too-many-requests"] * 6
    for stream in streams:
        stream.close()
