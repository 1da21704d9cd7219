"""Requests over real sockets to a daemon whose Slurm is in memory."""

from __future__ import annotations

import http.client
import os
import pwd
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.api import credentials, routes
from ef_slurm.api.client import (
    FailureError,
    TcpEndpoint,
    UnixEndpoint,
    UnreachableError,
)
from ef_slurm.api.credentials import SignedRequest
from ef_slurm.api.http_client import HttpClient
from ef_slurm.api.messages import (
    MOST_RATES,
    AddRates,
    Await,
    Cancel,
    Cancelled,
    DeleteRates,
    Explain,
    FailureCode,
    FindCurves,
    Judge,
    Judged,
    KnownCurves,
    ListJobs,
    ListRates,
    Ping,
    Pong,
    Rates,
    RatesChanged,
    Register,
    Registered,
    Request,
    Response,
    Until,
    Withdraw,
)
from ef_slurm.api.problems import read_problem
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.server import Server, ServerError
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.model import (
    ArrayMember,
    JobDetail,
    JobKind,
    JobList,
    JobRequest,
    JobState,
    MeasuredRate,
    Outcome,
    ProfileKey,
    QueueLimits,
    Story,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import HoldKind, SlurmJob
from tests.fakes.patience import PATIENCE
from tests.unit.api.fakes import FakeMunge
from tests.unit.daemon.make import SCRIPT
from tests.unit.daemon.world import CURVE, World

ME = os.getuid()


class OwnedSlurm:
    """The world's Slurm, in which jobs belong to somebody."""

    def __init__(self, slurm: Slurm) -> None:
        self._slurm = slurm
        self.uid = ME
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._slurm, name)

    def job(self, job_id: int) -> SlurmJob:
        self.asked += 1
        return replace(self._slurm.job(job_id), uid=self.uid, user="owner")

    def jobs(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        self.asked += 1
        return self._slurm.jobs(job_ids)


@dataclass
class Site:
    """A daemon's loop in a thread, and its sockets."""

    world: World
    slurm: OwnedSlurm
    server: Server
    calls: SchedulerCalls
    socket: Path
    port: int
    munge: FakeMunge

    def ask(self, request: Request) -> Response:
        with HttpClient(UnixEndpoint(self.socket), self.munge) as client:
            return client.ask(request)

    def refused(self, request: Request) -> FailureCode:
        client = HttpClient(UnixEndpoint(self.socket), self.munge, patience=0.0)
        with client, pytest.raises(FailureError) as caught:
            client.ask(request)
        return caught.value.code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    path = tmp_path / "queue.sqlite"
    World(path, now=time.time()).queue.close()
    stop, ready = threading.Event(), threading.Event()
    calls = SchedulerCalls()
    worlds: list[World] = []

    def loop() -> None:
        world = World(path, now=time.time())
        worlds.append(world)
        ready.set()
        while not stop.is_set():
            world.clock.now = time.time()
            if calls.begin_tick():
                world.scheduler.refresh_soon()
            world.bench.advance()
            world.scheduler.tick()
            calls.answer_one()
            calls.wait(0.05)
        world.queue.close()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    world = worlds[0]
    slurm = OwnedSlurm(world.slurm)
    munge, port = FakeMunge(ME), free_port()
    context = ServerContext(
        scheduler=world.scheduler,
        calls=calls,
        slurm=slurm,  # type: ignore[arg-type]
        open_queue=lambda: Queue.open(path, create=False),
        cluster="memory",
        partition="ef",
        limits=QueueLimits(jobs_per_user=3, gpus_per_job=8),
        user="ef-slurm",
        version="1",
        started=time.time(),
        advisory=False,
        visibility=Visibility(world.slurm.configuration, lambda _: None),
    )
    where = tmp_path / "sock"
    server = Server(context, munge, path=where, mode=0o600, address=("127.0.0.1", port))
    yield Site(world, slurm, server, calls, where, port, munge)
    server.close()
    stop.set()
    thread.join()


def request(site: Site, **other: object) -> JobRequest:
    """A job that was submitted held. Its row is given to nobody: uid 0 is what memory says."""
    slurm = site.world.cluster.add_job("owner", "train", now=time.time())
    values: dict[str, object] = {
        "slurm_job_id": slurm.job_id,
        "owner": "somebody else",
        "uid": 4711,
        "name": "train",
        "submitted": time.time(),
        "kind": JobKind.DEADLINE,
        "iterations": 1000,
        "global_batch_size": 32,
        "curves": (("gpu", CURVE),),
        "state_dir": f"/nowhere/{slurm.job_id}",
        "deadline": time.time() + 3600,
        **other,
    }
    return JobRequest(**values)  # type: ignore[arg-type]


def test_ping(site: Site) -> None:
    pong = site.ask(Ping())
    assert isinstance(pong, Pong)
    assert (pong.cluster, pong.user) == ("memory", "ef-slurm")


class TestRegister:
    def test_the_owner_is_who_slurm_says(self, site: Site) -> None:
        job = request(site)
        assert site.ask(Register(job, SCRIPT)) == Registered(job.slurm_job_id, created=True)
        assert site.ask(Register(job, SCRIPT)) == Registered(job.slurm_job_id, created=False)
        listed = site.ask(ListJobs())
        assert isinstance(listed, JobList)
        assert [one.owner for one in listed.jobs] == ["owner"]

    def test_nobody_registers_anothers_job(self, site: Site) -> None:
        site.slurm.uid = ME + 1
        assert site.refused(Register(request(site), SCRIPT)) is FailureCode.DENIED

    def test_nobody_joins_anothers_array(self, site: Site) -> None:
        array = ArrayMember(site.world.cluster.add_job("x", "y", now=0.0).job_id, 1, 2, 0, 1)
        job = replace(request(site), array=replace(array, job_id=9999))
        assert site.refused(Register(job, SCRIPT)) is FailureCode.BAD_REQUEST
        assert site.refused(Judge(replace(job, slurm_job_id=0))) is FailureCode.BAD_REQUEST
        assert site.ask(Register(replace(job, array=array), SCRIPT))

    def test_unknown_job(self, site: Site) -> None:
        job = replace(request(site), slurm_job_id=999)
        assert site.refused(Register(job, SCRIPT)) is FailureCode.SLURM

    def test_a_job_that_is_not_held(self, site: Site) -> None:
        job = request(site)
        site.world.cluster.jobs[job.slurm_job_id].hold = HoldKind.NONE
        assert site.refused(Register(job, SCRIPT)) is FailureCode.BAD_REQUEST

    def test_a_deadline_in_the_past(self, site: Site) -> None:
        job = request(site, deadline=time.time() - 60)
        assert site.refused(Register(job, SCRIPT)) is FailureCode.BAD_REQUEST

    def test_an_id_that_slurm_has_used_again(self, site: Site, tmp_path: Path) -> None:
        hour = time.time() + 3600  # until then nobody releases it
        first = request(site, begin=hour, deadline=hour + 3600)
        cluster, number = site.world.cluster, first.slurm_job_id
        cluster.jobs[number].uid = ME
        assert site.ask(Register(first, SCRIPT)) == Registered(number, created=True)
        other = replace(first, state_dir="/nowhere/else")
        assert site.refused(Register(other, SCRIPT)) is FailureCode.UNKNOWN_JOB
        cluster.jobs[number].submitted = time.time() + 60.0
        assert site.ask(Register(other, SCRIPT)) == Registered(number, created=True)
        with Queue.open(tmp_path / "queue.sqlite", create=False) as queue:
            newest = queue.jobs.of_slurm(number)
            assert newest is not None
            assert newest.request.state_dir == "/nowhere/else"
            (old,) = [job for job in queue.jobs.all(JobState) if job.id != newest.id]
        # The next tick submits it again, and may have done so.
        assert old.state is JobState.LOST or old.request.slurm_job_id != number

    def test_limits(self, site: Site) -> None:
        for _ in range(3):
            site.ask(Register(request(site), SCRIPT))
        assert site.refused(Register(request(site), SCRIPT)) is FailureCode.BAD_REQUEST


class TestJudge:
    def test_it_writes_nothing(self, site: Site) -> None:
        judged = site.ask(Judge(replace(request(site), slurm_job_id=0)))
        assert isinstance(judged, Judged)
        assert judged.verdict is not None
        assert judged.verdict.outcome is Outcome.PROMISED
        assert judged.schedule
        listed = site.ask(ListJobs(all=True))
        assert isinstance(listed, JobList)
        assert not listed.jobs

    def test_the_site_limit_counts(self, site: Site) -> None:
        hopeless = request(site, iterations=60 * 3600, deadline=time.time() + 3600)
        judged = site.ask(Judge(replace(hopeless, slurm_job_id=0)))  # 16 GPUs would do it
        assert isinstance(judged, Judged)
        assert judged.verdict is not None
        assert judged.verdict.outcome is Outcome.REJECTED


class TestQuestions:
    def test_await_a_verdict(self, site: Site) -> None:
        # The memory's jobs are uid 0's for the tick; only root's rows pass its check.
        job = request(site)
        site.ask(Register(job, SCRIPT))
        answer = site.ask(Await(job.slurm_job_id, Until.VERDICT, 10.0))
        assert isinstance(answer, JobDetail)
        assert answer.job.verdict is not None or answer.job.state is JobState.FAILED

    def test_await_gives_up_in_time(self, site: Site) -> None:
        job = request(site)
        site.ask(Register(job, SCRIPT))
        began = time.monotonic()
        site.ask(Await(job.slurm_job_id, Until.END, 0.3))
        assert time.monotonic() - began < 10

    def test_explain(self, site: Site) -> None:
        job = request(site)
        site.ask(Register(job, SCRIPT))
        story = site.ask(Explain(job.slurm_job_id))
        assert isinstance(story, Story)
        assert story.events
        assert site.refused(Explain(999)) is FailureCode.UNKNOWN_JOB

    def test_cancel_believes_slurm_only(self, site: Site) -> None:
        job = request(site)
        site.ask(Register(job, SCRIPT))
        answer = site.ask(Cancel((job.slurm_job_id,)))
        assert isinstance(answer, Cancelled)
        if answer.refused:
            site.world.cluster.cancel(site.world.cluster.jobs[job.slurm_job_id], time.time())
            answer = site.ask(Cancel((job.slurm_job_id,)))
            assert isinstance(answer, Cancelled)
        assert answer.job_ids == (job.slurm_job_id,)

    def test_however_many_are_cancelled_slurm_is_asked_once(self, site: Site) -> None:
        jobs = [request(site) for _ in range(3)]
        for job in jobs:
            site.ask(Register(job, SCRIPT))
        before = site.slurm.asked
        answer = site.ask(Cancel(tuple(job.slurm_job_id for job in jobs)))
        assert isinstance(answer, Cancelled)
        assert len(answer.refused) == 3
        assert site.slurm.asked == before + 1

    def test_another_cluster_is_refused(self, site: Site) -> None:
        client = HttpClient(UnixEndpoint(site.socket), site.munge, "other")
        with client, pytest.raises(FailureError) as caught:
            client.ask(Ping())
        assert caught.value.code is FailureCode.BAD_REQUEST


def test_withdraw_is_the_owners(site: Site, tmp_path: Path) -> None:
    with Queue.open(tmp_path / "queue.sqlite") as queue:
        mine = queue.jobs.add(replace(request(site), uid=ME, cluster="memory"), SCRIPT, actor="me")
        queue.jobs.move(mine.id, JobState.HELD, at=time.time(), actor="me", why="test")
    assert site.refused(Withdraw(mine.request.slurm_job_id)) is FailureCode.BAD_REQUEST
    assert site.refused(Withdraw(999)) is FailureCode.UNKNOWN_JOB


class TestTcp:
    def client(self, site: Site, munge: FakeMunge, trusted: int = ME) -> HttpClient:
        endpoint = TcpEndpoint("127.0.0.1", site.port, frozenset({trusted}))
        return HttpClient(endpoint, munge)

    def test_a_credential_in_every_request(self, site: Site) -> None:
        with self.client(site, site.munge) as client:
            assert isinstance(client.ask(Ping()), Pong)
            assert isinstance(client.ask(Ping()), Pong)

    def test_the_credential_says_who_asks(self, site: Site) -> None:
        other = FakeMunge(ME + 1)
        with self.client(site, other) as client, pytest.raises(FailureError) as caught:
            client.ask(Register(request(site), SCRIPT))
        assert caught.value.code is FailureCode.DENIED

    def test_an_answer_of_another_user_is_not_believed(self, site: Site) -> None:
        site.munge.uid = ME + 1
        client = self.client(site, FakeMunge(ME))
        with client, pytest.raises(UnreachableError, match="signed by"):
            client.ask(Ping())

    def test_a_connection_is_one_users(self, site: Site) -> None:
        with socket.create_connection(("127.0.0.1", site.port)) as stream:
            assert exchange(stream, "GET", "/v1/ping", self.signed(site))[0] == 200
            status, said = exchange(stream, "GET", "/v1/ping", self.signed(site, uid=ME + 1))
        assert (status, read_problem(said).code) == (401, FailureCode.UNAUTHENTICATED)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"sent": int(time.time()) - 3600}, FailureCode.STALE),
            ({"sent": 2**62}, FailureCode.STALE),
            ({"nonce": ""}, FailureCode.UNAUTHENTICATED),
            ({"daemon": "127.0.0.1:1"}, FailureCode.UNAUTHENTICATED),
            ({"cluster": "other"}, FailureCode.BAD_REQUEST),
            ({"digest": "0" * 64}, FailureCode.UNAUTHENTICATED),
        ],
    )
    def test_it_is_fresh_and_for_this_request_and_daemon(
        self, site: Site, change: dict[str, Any], code: FailureCode
    ) -> None:
        assert self.refused(site, "/v1/ping", self.signed(site, **change)) is code

    def test_it_is_good_once(self, site: Site) -> None:
        authorization = self.signed(site)
        with socket.create_connection(("127.0.0.1", site.port)) as stream:
            assert exchange(stream, "GET", "/v1/ping", authorization)[0] == 200
        assert self.refused(site, "/v1/ping", authorization) is FailureCode.REPLAYED
        # munged forgets after a while, and the daemon does not.
        site.munge.decoded.clear()
        assert self.refused(site, "/v1/ping", authorization) is FailureCode.REPLAYED

    def test_it_is_good_for_one_path(self, site: Site) -> None:
        authorization = self.signed(site)
        assert self.refused(site, "/v1/jobs", authorization) is FailureCode.UNAUTHENTICATED

    @pytest.mark.parametrize("authorization", [None, "Basic dTpw", "MUNGE x", "MUNGE MUNGE:AAAA:"])
    def test_without_a_credential(self, site: Site, authorization: str | None) -> None:
        assert self.refused(site, "/v1/ping", authorization) is FailureCode.UNAUTHENTICATED

    def signed(self, site: Site, uid: int = ME, **change: Any) -> str:
        digest = credentials.request_digest("GET", "/v1/ping", b"")
        signed = SignedRequest(
            digest, int(time.time()), credentials.new_nonce(), f"127.0.0.1:{site.port}"
        )
        return credentials.authorization(replace(signed, **change), FakeMunge(uid))

    def refused(self, site: Site, target: str, authorization: str | None) -> FailureCode:
        with socket.create_connection(("127.0.0.1", site.port)) as stream:
            status, body = exchange(stream, "GET", target, authorization)
        assert status >= 400
        return read_problem(body).code


def exchange(
    stream: socket.socket, method: str, target: str, authorization: str | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer to a request without a body."""
    stream.settimeout(PATIENCE)
    more = "" if authorization is None else f"Authorization: {authorization}\r\n"
    stream.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
    answer = http.client.HTTPResponse(stream, method=method)
    answer.begin()
    return answer.status, answer.read()


def test_a_port_in_use_is_said_so(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="in use"):
        Server(
            site.server._context,
            site.munge,
            path=tmp_path / "other",
            mode=0o600,
            address=("127.0.0.1", site.port),
        )


def test_garbage_does_not_stop_it(site: Site) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(site.socket))
        stream.sendall(b"hello\r\n\r\n")
        stream.settimeout(PATIENCE)
        assert stream.recv(100).startswith(b"HTTP/1.1 400 ")
    assert isinstance(site.ask(Ping()), Pong)
    assert site.socket.stat().st_mode & 0o777 == 0o600


def test_a_command_of_another_release_is_told_so(site: Site) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(site.socket))
        stream.settimeout(PATIENCE)
        older = routes.VERSION - 1
        head = f"Host: localhost\r\n{routes.VERSION_HEADER}: {older}\r\n"
        stream.sendall(f"GET /v1/jobs HTTP/1.1\r\n{head}\r\n".encode())
        answer = http.client.HTTPResponse(stream, method="GET")
        answer.begin()
        problem = read_problem(answer.read())
    assert (answer.status, problem.code) == (400, FailureCode.OTHER_VERSION)
    assert f"protocol {older}, ef-schedd's is {routes.VERSION}" in problem.message
    assert "jobs go on" in problem.message


KEY = ProfileKey("bert", 64, "bf16", "gpu")
RATE = MeasuredRate(
    KEY, 1, 1, 10.0, 30.0, "whoever", "theirs", time.time(), job_id=7, source="a.csv"
)
ASKED = FindCurves("bert", 64, "bf16")


def test_rates_are_the_callers_own(site: Site) -> None:
    me = pwd.getpwuid(ME).pw_name
    others = replace(RATE, owner="somebody else")
    with Queue.open(site.world.path) as queue:
        queue.profiles.add(others)
        assert site.ask(ASKED) == KnownCurves(())
        assert site.ask(AddRates((RATE, replace(RATE, gpus=4, rate=36.0)))) == RatesChanged(2)
        listed = site.ask(ListRates())
        assert isinstance(listed, Rates)
        # Neither the owner nor the job is the message's to say.
        assert {(one.owner, one.account, one.job_id) for one in listed.rates} == {(me, "", None)}
        assert site.ask(ListRates(model_name="gpt")) == Rates(())
        found = site.ask(ASKED)
        assert isinstance(found, KnownCurves)
        (curve,) = found.curves
        assert curve.measured == ((1, 10.0), (4, 36.0))
        assert [gpus for gpus, _ in curve.promised.points] == [1, 2, 4, 8, 16]
        assert site.ask(DeleteRates("bert")) == RatesChanged(2)
        assert queue.profiles.list("somebody else") == (others,)
    assert site.ask(ASKED) == KnownCurves(())


def test_profile_requests_are_bounded(site: Site) -> None:
    assert site.refused(AddRates((RATE,) * (MOST_RATES + 1))) is FailureCode.BAD_REQUEST
    assert site.refused(FindCurves("a\nb", 64)) is FailureCode.BAD_REQUEST
    assert site.refused(FindCurves("a", 0)) is FailureCode.BAD_REQUEST


def test_the_cluster_must_have_been_seen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(site.world.scheduler), "cluster", property(lambda _: None))
    assert site.refused(ASKED) is FailureCode.BUSY
