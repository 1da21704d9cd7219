"""Both ways to the queue give the same answers, and say so when there is none."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest

from ef_slurm.api import credentials, routes
from ef_slurm.api.client import (
    FailureError,
    TcpEndpoint,
    UnixEndpoint,
    UnreachableError,
    await_status,
    expect,
)
from ef_slurm.api.http_client import HttpClient
from ef_slurm.api.messages import (
    Await,
    Cancel,
    Cancelled,
    Explain,
    Failure,
    FailureCode,
    ListJobs,
    NotCancelled,
    Ping,
    Pong,
    Register,
    Registered,
    Request,
    Response,
    Until,
    Withdraw,
)
from ef_slurm.api.problems import STATUS, write_problem
from ef_slurm.cli.common.local_client import QueueClient
from ef_slurm.formats.codec import encode
from ef_slurm.model import (
    JobList,
    JobState,
    Outcome,
    Reason,
    ReasonCode,
    Story,
    Verdict,
    planner_id,
)
from ef_slurm.queue.errors import DuplicateJobError, QueueMissingError
from ef_slurm.queue.store import Queue
from tests.unit.api.fakes import REQUEST, SCRIPT, FakeMunge

PONG = Pong("0.1", "mini", 1, "ef-slurm", False, 1.0, 2.0, ("gpu",))


class Server:
    """Answers every request with one function, and says who it is as the daemon does."""

    def __init__(self, listener: socket.socket, munge: FakeMunge | None = None) -> None:
        self.listener, self.munge = listener, munge
        self.answer: Callable[[Request], Response] = lambda _: PONG
        self.version = str(routes.VERSION)
        self.connections = 0
        self.streams: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.streams.append(stream)
            threading.Thread(target=self._one, args=(stream,), daemon=True).start()

    def _one(self, stream: socket.socket) -> None:
        with stream, stream.makefile("rb") as lines, contextlib.suppress(OSError):
            while line := lines.readline():
                method, target, _ = line.decode().split()
                fields = http.client.parse_headers(lines)
                body = lines.read(int(fields.get("Content-Length", "0")))
                stream.sendall(self._answer(routes.read(method, target, body), fields))

    def _answer(self, request: Request, fields: Message) -> bytes:
        response = self.answer(request)
        failed = isinstance(response, Failure)
        body = write_problem(response) if isinstance(response, Failure) else encode(response)
        status = STATUS[response.code] if isinstance(response, Failure) else 200
        kind = "application/problem+json" if failed else "application/json"
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        head += f"{routes.VERSION_HEADER}: {self.version}\r\n"
        if self.munge is not None:
            _, signed = credentials.read_authorization(fields["Authorization"], FakeMunge())
            credential = credentials.answer_credential(status, body, signed.nonce, self.munge)
            head += f"{credentials.ANSWER_HEADER}: {credential}\r\n"
        return head.encode() + b"\r\n" + body

    def drop(self) -> None:
        for stream in self.streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
        self.streams.clear()


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Server]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    yield Server(listener)
    listener.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[HttpClient]:
    with HttpClient(UnixEndpoint(tmp_path / "s"), FakeMunge(), patience=2.0) as client:
        yield client


def test_unix(unix: Server, client: HttpClient) -> None:
    assert client.ask(Ping()) == PONG
    assert client.ask(Ping()) == PONG
    assert unix.connections == 1


def test_a_daemon_that_restarted_is_asked_again(unix: Server, client: HttpClient) -> None:
    client.ask(Ping())
    unix.drop()
    assert client.ask(Ping()) == PONG
    assert unix.connections == 2


def test_a_failure_is_raised(unix: Server, client: HttpClient) -> None:
    unix.answer = lambda _: Failure(FailureCode.DENIED, "not yours")
    with pytest.raises(FailureError, match="not yours") as error:
        client.ask(Ping())
    assert error.value.code is FailureCode.DENIED


@pytest.mark.parametrize("code", [FailureCode.TOO_MANY, FailureCode.BUSY])
def test_a_daemon_without_room_is_asked_again(
    unix: Server, client: HttpClient, code: FailureCode
) -> None:
    answers: list[Response] = [PONG, Failure(code, "not now")]
    unix.answer = lambda _: answers.pop()
    assert client.ask(Ping()) == PONG
    unix.answer = lambda _: Failure(code, "never")
    with pytest.raises(FailureError, match="never"):
        client.ask(Ping())


def test_nobody_there(tmp_path: Path) -> None:
    client = HttpClient(UnixEndpoint(tmp_path / "none"), FakeMunge())
    with pytest.raises(UnreachableError, match="none: No such file"):
        client.ask(Ping())


def test_another_version_is_said_so(unix: Server, client: HttpClient) -> None:
    unix.version = "99"
    with pytest.raises(UnreachableError, match=r"another release .*protocol 99, .* jobs go on"):
        client.ask(Ping())


@pytest.mark.usefixtures("unix")
def test_somebody_else_listens_there(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ef_slurm.api.http_client.peer_of", lambda _: (4711, 4711))
    with pytest.raises(UnreachableError, match="4711 listens there, who is neither root"):
        client.ask(Ping())
    trusting = HttpClient(UnixEndpoint(client._endpoint.path, frozenset({4711})), FakeMunge())  # type: ignore[union-attr]
    with trusting:
        assert trusting.ask(Ping()) == PONG


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (b'\0\0\0\x0d{"version":2}', "older than this command, .* install the same release"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "whoever answers is not ef-schedd"),
        (b"", "without an answer"),
    ],
)
def test_whoever_speaks_something_else(tmp_path: Path, said: bytes, match: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def speak() -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = listener.accept()
                with stream:
                    stream.recv(4)
                    stream.sendall(said)

    threading.Thread(target=speak, daemon=True).start()
    with (
        listener,
        HttpClient(UnixEndpoint(tmp_path / "s"), FakeMunge()) as client,
        pytest.raises(UnreachableError, match=match),
    ):
        client.ask(Ping())


@pytest.fixture
def tcp() -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    yield Server(listener, FakeMunge(0))
    listener.close()


@pytest.mark.parametrize(("uid", "believed"), [(0, True), (990, True), (3001, False)])
def test_tcp_believes_only_the_daemons_user(tcp: Server, uid: int, believed: bool) -> None:
    tcp.munge = FakeMunge(uid)
    port = tcp.listener.getsockname()[1]
    with HttpClient(TcpEndpoint("127.0.0.1", port, frozenset({990})), FakeMunge()) as client:
        if believed:
            assert client.ask(Ping()) == PONG
        else:
            with pytest.raises(UnreachableError, match="signed by uid 3001"):
                client.ask(Ping())


@pytest.fixture
def queue_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue.sqlite"


class Nobody:
    def ask(self, request: Request) -> Response:
        raise UnreachableError(f"nobody answers {request}")

    def close(self) -> None:
        pass


@pytest.fixture
def embedded(queue_path: Path) -> Iterator[QueueClient]:
    client = QueueClient(queue_path, Nobody(), lambda job_id: job_id == 7)
    yield client
    client.close()


def judge(path: Path, outcome: Outcome, state: JobState) -> None:
    with Queue.open(path) as queue:
        job = queue.jobs.of_slurm(7)
        assert job is not None
        verdict = Verdict(planner_id(job.id), outcome, Reason(ReasonCode.STARTED), 1, 4000.0)
        queue.promises.record(verdict, at=101.0, explanation="yes")
        queue.jobs.move(job.id, state, at=101.0, actor="ef-schedd", why="judged")


def test_embedded_registers_once(embedded: QueueClient) -> None:
    assert embedded.ask(Register(REQUEST, SCRIPT)) == Registered(7, created=True)
    assert embedded.ask(Register(REQUEST, SCRIPT)) == Registered(7, created=False)


def test_embedded_leaves_it_to_the_daemon_whose_the_slurm_job_is(embedded: QueueClient) -> None:
    embedded.ask(Register(REQUEST, SCRIPT))
    with pytest.raises(DuplicateJobError):
        embedded.ask(Register(replace(REQUEST, state_dir="/shared/other"), SCRIPT))


def test_embedded_sees_the_verdict_as_soon_as_it_is_written(
    embedded: QueueClient, queue_path: Path
) -> None:
    embedded.ask(Register(REQUEST, SCRIPT))
    assert await_status(embedded, 7, Until.VERDICT, 0.0).job.verdict is None
    timer = threading.Timer(0.2, judge, (queue_path, Outcome.PROMISED, JobState.ADMITTED))
    timer.start()
    started = time.monotonic()
    status = await_status(embedded, 7, Until.VERDICT, 20.0)
    assert time.monotonic() - started < 15
    assert status.job.verdict is not None
    assert status.job.verdict.outcome is Outcome.PROMISED
    timer.join()


def test_embedded_lists_and_explains(embedded: QueueClient, queue_path: Path) -> None:
    embedded.ask(Register(REQUEST, SCRIPT))
    other = replace(REQUEST, slurm_job_id=8, owner="user2", state_dir="/shared/y")
    embedded.ask(Register(other, SCRIPT))
    judge(queue_path, Outcome.PROMISED, JobState.ADMITTED)

    def ids(request: ListJobs) -> list[int]:
        return [job.job_id for job in expect(JobList, embedded.ask(request)).jobs]

    assert ids(ListJobs()) == [7, 8]
    assert ids(ListJobs(users=("user2",))) == [8]
    assert ids(ListJobs(states=(JobState.ADMITTED,))) == [7]
    assert ids(ListJobs(job_ids=(8, 99))) == [8]
    story = expect(Story, embedded.ask(Explain(7)))
    assert story.promise is not None
    assert next(event.message for event in story.events) == "submitted as Slurm job 7"


def test_embedded_cancels_what_slurm_has_cancelled(embedded: QueueClient) -> None:
    embedded.ask(Register(REQUEST, SCRIPT))
    embedded.ask(Register(replace(REQUEST, slurm_job_id=8, state_dir="/shared/y"), SCRIPT))
    answer = expect(Cancelled, embedded.ask(Cancel((7, 8))))
    assert answer == Cancelled((7,), (NotCancelled(8, "Slurm has not cancelled it"),))
    listed = expect(JobList, embedded.ask(ListJobs(job_ids=(7, 8))))
    assert [job.state for job in listed.jobs] == [JobState.CANCELLED, JobState.NEW]


def test_embedded_withdraws_only_before_the_verdict(
    embedded: QueueClient, queue_path: Path
) -> None:
    embedded.ask(Register(REQUEST, SCRIPT))
    judge(queue_path, Outcome.PROMISED, JobState.ADMITTED)
    embedded.ask(Withdraw(7))
    status = await_status(embedded, 7, Until.VERDICT, 0.0)
    assert status.job.state is JobState.ADMITTED


def test_embedded_asks_the_daemon_what_the_file_does_not_know(embedded: QueueClient) -> None:
    with pytest.raises(UnreachableError, match="nobody"):
        embedded.ask(Ping())


def test_embedded_without_a_queue_makes_none(embedded: QueueClient, queue_path: Path) -> None:
    with pytest.raises(QueueMissingError):
        embedded.ask(ListJobs())
    assert not queue_path.exists()


def test_embedded_does_not_know_the_job(embedded: QueueClient) -> None:
    embedded.ask(Register(REQUEST, SCRIPT))
    with pytest.raises(FailureError, match="job 99 is not in ef-slurm's queue"):
        embedded.ask(Await(99, Until.END, 0.0))
