"""Frames, and who is believed to have sent them."""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ef_slurm.api.messages import (
    Await,
    Failure,
    FailureCode,
    Judged,
    ListJobs,
    Ping,
    Pong,
    Register,
    Until,
)
from ef_slurm.api.munge import Identity, MungeError, MungeProblem
from ef_slurm.api.wire import (
    FRESH_SECONDS,
    REQUEST_LIMIT,
    VERSION,
    DisconnectedError,
    Envelope,
    ReplayGuard,
    Transport,
    WireError,
    new_nonce,
    read_request,
    read_response,
    write_request,
    write_response,
)
from ef_slurm.model import (
    BatchScript,
    IfInfeasible,
    JobKind,
    JobRequest,
    JobState,
    OtherJob,
    Outcome,
    Overhead,
    Reason,
    ReasonCode,
    ThroughputCurve,
    Verdict,
)

REQUEST = JobRequest(
    slurm_job_id=7,
    owner="user1",
    uid=3001,
    name="trän",
    submitted=100.5,
    kind=JobKind.SOFT_DEADLINE,
    iterations=1000,
    global_batch_size=64,
    curves=(("a100", ThroughputCurve.of({1: 2.0, 2: 3.5})),),
    state_dir="/shared/x",
    deadline=5000.0,
    grace=10.0,
    if_infeasible=IfInfeasible.WAIT,
    overhead=Overhead.constant(5.0),
)
SCRIPT = BatchScript("#!/bin/sh\ntrue\n", options=("--account=a b",))
JUDGED = Judged(
    Verdict("0000000001", Outcome.REJECTED, Reason(ReasonCode.REJECTED, until=float("inf"))),
    (),
    "no",
    (OtherJob(1, 7, "user1"),),
)


class FakeMunge:
    """Credentials as munged would make and believe them; `uid` is who makes them."""

    def __init__(self, uid: int = 3001) -> None:
        self.uid = uid
        self.decoded: set[str] = set()
        self.problem: MungeProblem | None = None

    def encode(self, payload: str) -> str:
        return f"MUNGE:{self.uid}:{payload}"

    def decode(self, credential: str) -> Identity:
        if self.problem is not None:
            raise MungeError(self.problem, f"unmunge: {self.problem.value}")
        if credential in self.decoded:
            raise MungeError(MungeProblem.REPLAYED, "unmunge: Replayed credential")
        self.decoded.add(credential)
        mark, uid, payload = credential.split(":", 2)
        if mark != "MUNGE":
            raise MungeError(MungeProblem.INVALID, "unmunge: Invalid credential")
        return Identity(int(uid), 100, payload)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for stream in (ours, theirs):
        stream.settimeout(2)
    yield ours, theirs
    ours.close()
    theirs.close()


def envelope(request: Ping | Register | Await | ListJobs) -> Envelope:
    return Envelope(new_nonce(), 123.5, "mini", request)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize(
    "request_",
    [
        Ping(),
        Register(REQUEST, SCRIPT),
        Await(7, Until.VERDICT, 2.5),
        ListJobs(("a",), (JobState.NEW,), (1, 2), True),
    ],
)
def test_requests_come_as_they_went(
    pair: tuple[socket.socket, socket.socket],
    transport: Transport,
    request_: Ping | Register | Await | ListJobs,
) -> None:
    sent = envelope(request_)
    write_request(pair[0], transport, sent, FakeMunge())
    got = read_request(pair[1], transport, FakeMunge())
    assert got is not None
    caller, came = got
    assert came == sent
    assert caller.transport is transport
    assert caller.uid == (3001 if transport is Transport.TCP else os.getuid())


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize(
    "response",
    [
        Pong("0.1", "mini", 5, "ef-slurm", False, 1.0, None, ("a100",)),
        Failure(FailureCode.DENIED, "no"),
        JUDGED,
    ],
)
def test_responses_come_as_they_went(
    pair: tuple[socket.socket, socket.socket],
    transport: Transport,
    response: Pong | Failure | Judged,
) -> None:
    write_response(pair[0], transport, "n1", response, FakeMunge(0))
    got, signer = read_response(pair[1], transport, "n1", FakeMunge())
    assert got == response
    assert signer == (0 if transport is Transport.TCP else None)


def test_an_answer_to_another_request_is_not_taken(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pong = Pong("0.1", "mini", 5, "ef-slurm", False, 1.0, None)
    write_response(pair[0], Transport.UNIX, "other", pong, FakeMunge())
    with pytest.raises(WireError, match="belongs to another request"):
        read_response(pair[1], Transport.UNIX, "mine", FakeMunge())


def test_a_closed_connection_is_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert read_request(pair[1], Transport.UNIX, FakeMunge()) is None


def test_half_a_frame(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(struct.pack("!I", 10) + b"{}")
    pair[0].close()
    with pytest.raises(DisconnectedError):
        read_request(pair[1], Transport.UNIX, FakeMunge())


def test_a_peer_that_stalls(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].settimeout(0.01)
    pair[0].sendall(b"\0")
    with pytest.raises(DisconnectedError, match="too long"):
        read_request(pair[1], Transport.UNIX, FakeMunge())


def frame(value: object) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("!I", len(data)) + data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
GOOD = {"version": VERSION, "nonce": "n", "sent": 1.0, "cluster": "", "kind": "ping", "body": {}}


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (struct.pack("!I", REQUEST_LIMIT + 1), FailureCode.BAD_REQUEST, "at most"),
        (frame(b"\xff\xfe"), FailureCode.BAD_REQUEST, "not JSON"),
        (frame(b"[" * 100_000), FailureCode.BAD_REQUEST, "frame: expected keys and values"),
        (frame([]), FailureCode.BAD_REQUEST, "frame: expected keys and values, got a list of 0"),
        (frame(GOOD | {"version": 1}), FailureCode.BAD_REQUEST, "protocol version 1, this"),
        (frame(GOOD | {"kind": "rm -rf"}), FailureCode.BAD_REQUEST, "unknown message 'rm -rf'"),
        (frame(GOOD | {"kind": []}), FailureCode.BAD_REQUEST, "frame.kind: expected a text"),
        (frame(GOOD | {"nonce": ""}), FailureCode.BAD_REQUEST, "no nonce"),
        (
            frame(GOOD | {"sent": "now"}),
            FailureCode.BAD_REQUEST,
            "frame.sent: expected a number, got 'now'",
        ),
        (
            frame(GOOD | {"body": None}),
            FailureCode.BAD_REQUEST,
            "ping: expected keys and values, got null",
        ),
        (
            frame(GOOD | {"kind": "await", "body": {"job_id": "x", "until": "end", "seconds": 1}}),
            FailureCode.BAD_REQUEST,
            "await.job_id: expected a whole number, got 'x'",
        ),
        (
            frame(GOOD | {"kind": "await", "body": {"job_id": 1, "until": "then", "seconds": 1}}),
            FailureCode.BAD_REQUEST,
            "await.until: expected one of 'verdict', 'measuring', 'end', got 'then'",
        ),
        (
            frame(GOOD | {"kind": "await", "body": {"job_id": 1, "until": "end"}}),
            FailureCode.BAD_REQUEST,
            "await: seconds is missing",
        ),
    ],
)
def test_bad_frames(
    pair: tuple[socket.socket, socket.socket], data: bytes, code: FailureCode, message: str
) -> None:
    pair[0].sendall(data)
    with pytest.raises(WireError) as error:
        read_request(pair[1], Transport.UNIX, FakeMunge())
    assert error.value.code is code
    assert message in str(error.value)
    assert error.value.failure().code is code


def test_tcp_needs_a_credential(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(frame(GOOD))
    with pytest.raises(WireError, match="needs a MUNGE credential") as error:
        read_request(pair[1], Transport.TCP, FakeMunge())
    assert error.value.code is FailureCode.DENIED


def test_a_credential_for_another_message(pair: tuple[socket.socket, socket.socket]) -> None:
    munge = FakeMunge()
    outer = {"credential": munge.encode("ef-slurm/1 abc"), "message": json.dumps(GOOD)}
    pair[0].sendall(frame(outer))
    with pytest.raises(WireError, match="made for another message") as error:
        read_request(pair[1], Transport.TCP, munge)
    assert error.value.code is FailureCode.DENIED


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (MungeProblem.REPLAYED, FailureCode.REPLAYED),
        (MungeProblem.EXPIRED, FailureCode.STALE),
        (MungeProblem.REWOUND, FailureCode.STALE),
        (MungeProblem.INVALID, FailureCode.DENIED),
        (MungeProblem.UNAVAILABLE, FailureCode.INTERNAL),
    ],
)
def test_what_munged_refuses(
    pair: tuple[socket.socket, socket.socket], problem: MungeProblem, code: FailureCode
) -> None:
    munge = FakeMunge()
    write_request(pair[0], Transport.TCP, envelope(Ping()), munge)
    munge.problem = problem
    with pytest.raises(WireError) as error:
        read_request(pair[1], Transport.TCP, munge)
    assert error.value.code is code


def test_a_frame_sent_twice_is_a_replay(pair: tuple[socket.socket, socket.socket]) -> None:
    munge = FakeMunge()
    write_request(pair[0], Transport.TCP, envelope(Ping()), munge)
    data = pair[1].recv(1 << 16, socket.MSG_PEEK)
    pair[0].sendall(data)
    assert read_request(pair[1], Transport.TCP, munge) is not None
    with pytest.raises(WireError) as error:
        read_request(pair[1], Transport.TCP, munge)
    assert error.value.code is FailureCode.REPLAYED


def test_the_guard_lets_each_nonce_through_once() -> None:
    guard = ReplayGuard()
    guard.check("a", 100.0, 100.0)
    guard.check("b", 100.0, 101.0)
    with pytest.raises(WireError) as error:
        guard.check("a", 100.0, 100.0 + FRESH_SECONDS)
    assert error.value.code is FailureCode.REPLAYED


@pytest.mark.parametrize("age", [FRESH_SECONDS + 1, -FRESH_SECONDS - 1])
def test_the_guard_refuses_what_is_stale_or_from_the_future(age: float) -> None:
    with pytest.raises(WireError) as error:
        ReplayGuard().check("a", 1000.0, 1000.0 + age)
    assert error.value.code is FailureCode.STALE


def test_the_guard_forgets_only_what_is_refused_as_stale_anyway() -> None:
    guard = ReplayGuard()
    guard.check("a", 0.0, 0.0)
    for now in range(0, int(3 * FRESH_SECONDS), 50):
        with pytest.raises(WireError):
            guard.check("a", 0.0, float(now))


@pytest.mark.parametrize("transport", list(Transport))
@given(
    data=st.one_of(
        st.binary(max_size=60),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.builds(
            lambda changes: json.dumps(GOOD | changes).encode(),
            st.dictionaries(st.sampled_from(list(GOOD)), JSON),
        ),
        st.builds(
            lambda text: json.dumps({"credential": "MUNGE:0:x", "message": text}).encode(),
            st.text(st.characters(categories=("L", "Cs"))),
        ),
    )
)
@settings(deadline=None)
def test_any_frame_is_a_request_or_refused(transport: Transport, data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("!I", len(data)) + data)
        with contextlib.suppress(WireError):
            got = read_request(theirs, transport, FakeMunge())
            assert got is not None
            assert got[1].nonce


@pytest.mark.parametrize("transport", list(Transport))
def test_an_argument_that_is_no_utf8(
    pair: tuple[socket.socket, socket.socket], transport: Transport
) -> None:
    odd = b"caf\xe9.py".decode(errors="surrogateescape")
    sent = envelope(Register(REQUEST, replace(SCRIPT, arguments=(odd,))))
    write_request(pair[0], transport, sent, FakeMunge())
    got = read_request(pair[1], transport, FakeMunge())
    assert got is not None
    assert got[1] == sent
