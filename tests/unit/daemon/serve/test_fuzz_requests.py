"""Mutated requests to the real readers: an answer or a refusal each, no exception, no hang.

`EF_LONG=1` plays ten times as many, and asks the running server as well.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import time
from pathlib import Path

import pytest

from ef_slurm.api import routes
from ef_slurm.api.credentials import CredentialError, authorization, read_authorization
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.serve.gate import whole_size
from ef_slurm.daemon.serve.limits import ServeLimits
from tests.unit.api.fakes import FakeMunge
from tests.unit.api.test_credentials import SIGNED
from tests.unit.api.test_routes import REQUESTS
from tests.unit.daemon.serve.stub import answered, serving

LONG = bool(os.environ.get("EF_LONG"))
ROUNDS = 1_000_000 if LONG else 60_000
HEAD = "{0.method} {0.target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1}\r\n\r\n"
SEEDS = [
    HEAD.format(sent, len(sent.body)).encode() + sent.body
    for sent in (routes.write(request) for request, _ in REQUESTS)
]
PIECES = (
    *(b"", b"\0", b"\xff\xfe", b"\r\n", b"\r\n\r\n", b"\n", b"%00", b"%ff", b"&", b"=", b"?", b"/"),
    *(b"..", b"NaN", b"Infinity", b'"inf"', b"1e400", b"1" * 400, b"-1", b"null", b"true", b"{}"),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b'"',
        b"\\ud800",
        b'"\\udfff"',
        b"[]",
        b"0",
        b"9" * 19,
        b"1e30",
    ),
    *(
        b"Content-Length: 7\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"HTTP/1.0",
        b"GET ",
        b"\x1b[2J",
    ),
)


GONE = (ConnectionError, http.client.BadStatusLine)  # the latter: what began as a frame


def mutated(random_: random.Random) -> bytes:
    """One of the requests with a few bytes, numbers or pieces exchanged."""
    data = bytearray(random_.choice(SEEDS))
    for _ in range(random_.randint(1, 4)):
        at, to = sorted(random_.randint(0, len(data)) for _ in range(2))
        match random_.randrange(6):
            case 0:
                data[at : at + 1] = bytes([random_.randrange(256)])
            case 1:
                data[at:at] = random_.choice(PIECES)
            case 2:
                data[at : at + random_.randint(1, 20)] = random_.choice(PIECES)
            case 3:
                del data[at : min(to, at + 30)]
            case 4:
                data[at:at] = data[at : min(to, at + 60)]
            case 5:
                other = random_.choice(SEEDS)
                data[at:] = other[random_.randint(0, len(other)) :]
    return bytes(data)


def read(data: bytes) -> str:
    """What the daemon's readers make of it; as the gate, aiohttp and the handler pass it on."""
    try:
        size = whole_size(data)
        if not size or size > len(data):
            return "unfinished"
        head, _, body = data[:size].partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        request = routes.read(method, target, body)
    except RequestError as error:
        failure = error.failure
    else:
        sent = routes.write(request)
        if len(sent.target) <= routes.TARGET_LIMIT:
            assert routes.read(sent.method, sent.target, sent.body) == request
        return "ok"
    assert failure.message.isprintable(), failure.message
    assert len(failure.message) < 1000
    return failure.code.value


def test_mutated_requests_are_read_or_refused() -> None:
    random_ = random.Random(int(time.time()) if LONG else 12)
    found: dict[str, int] = {}
    slowest = 0.0
    for _ in range(ROUNDS):
        data = mutated(random_)
        began = time.thread_time()  # not what others on this machine take
        kind = read(data)
        slowest = max(slowest, time.thread_time() - began)
        found[kind] = found.get(kind, 0) + 1
    print(ROUNDS, found, f"slowest {slowest:.3f} s")
    assert found.keys() >= {"ok", "unfinished", "bad-request", "no-such-path", "no-such-method"}
    assert found["ok"] > ROUNDS / 100
    assert slowest < 2.0


def test_mutated_credentials_are_believed_or_refused() -> None:
    random_, munge = random.Random(13), FakeMunge()
    whole = authorization(SIGNED, munge)
    payloads = ['{"digest":"x","sent":1,"nonce":"n","daemon":"d"}', whole]
    refused = 0
    for _ in range(ROUNDS // 10):
        text = list(random_.choice(payloads))
        for _ in range(random_.randint(1, 3)):
            text[random_.randrange(len(text))] = random_.choice(
                ["", "\0", "é", "NaN", "1e400", "[", '"', ":", " "]
            )
        said = "".join(text)
        given = said if random_.random() < 0.5 else f"MUNGE {munge.encode(said)}"
        try:
            read_authorization(given, munge)
        except CredentialError:
            refused += 1
    assert refused > ROUNDS / 20


@pytest.mark.parametrize("rounds", [20_000 if LONG else 400])
def test_the_server_outlives_them(tmp_path: Path, rounds: int) -> None:
    limits = ServeLimits(requests_per_second=1e6, burst=1e6, request_seconds=0.3)
    random_ = random.Random(14)
    with serving(tmp_path, limits) as stub:
        for _ in range(rounds):
            with stub.connect(5.0) as stream, contextlib.suppress(*GONE):
                stream.sendall(mutated(random_))
                if random_.random() < 0.1:
                    answered(stream)
        assert stub.ping() == "ok"
