"""From an HTTP request to its answer: who asks, whether they may now, what they get."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from aiohttp import web

from ef_slurm.api import credentials, routes
from ef_slurm.api.client import reached
from ef_slurm.api.credentials import CredentialError, ReplayGuard
from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import (
    MAX_WAIT_SECONDS,
    ActOnJob,
    Await,
    Cancel,
    ChangeJob,
    Failure,
    FailureCode,
    Judge,
    Ping,
    Register,
    Registered,
    Request,
    Response,
)
from ef_slurm.api.munge import Munge, MungeError
from ef_slurm.api.problems import MEDIA_TYPE, STATUS, write_problem
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.serve.answer import NO_ROUTE, Answer
from ef_slurm.daemon.serve.charging import Charged
from ef_slurm.daemon.serve.connections import Connections
from ef_slurm.daemon.serve.exposition import MEDIA_TYPE as METRICS_MEDIA_TYPE
from ef_slurm.daemon.serve.exposition import METRICS_PATH, Exposition
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.limits import Buckets, ServeLimits
from ef_slurm.daemon.serve.openapi import DESCRIPTION_PATH, description
from ef_slurm.daemon.serve.requests import Dispatch, RecycledIdError, ServerContext, failure_of
from ef_slurm.daemon.serve.scheduler_calls import TooManyCallsError
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.daemon.serve.watch import QueueWatch
from ef_slurm.daemon.serve.web.access import Peer, WebSettings, check_api, check_host, is_a_page
from ef_slurm.daemon.serve.web.front import Front
from ef_slurm.daemon.serve.workers import FairWorkers
from ef_slurm.formats.codec import encode
from ef_slurm.model import JobDetail, QueueJob

NAME = "ef-schedd"
"""What answers call their sender."""
VERDICT_SECONDS = 12.0
"""How long the scheduler's thread may take over a what-if."""
SEND_SECONDS = 30.0
"""How long a peer may take to receive an answer."""
UNSENT_LIMIT = 128 << 20
"""Bytes of answers that one user has asked for and not received yet."""
_SMALL = 1 << 14
"""Bytes of a body that is read at once; longer ones are a worker's."""
_SOON_SECONDS = 2.0
_LATER_SECONDS = 0.5
"""Whoever waits for longer than the former is told of changes this much later at most."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Handler:
    """Answers aiohttp's requests. Belongs to the server's event loop.

    Args:
        daemon: "host:port" for which TCP credentials must be made.
        pages: who may see the page for browsers.
    """

    def __init__(
        self,
        context: ServerContext,
        munge: Munge,
        connections: Connections,
        limits: ServeLimits,
        daemon: str,
        exposition: Exposition,
        pages: WebSettings,
    ) -> None:
        self._exposition = exposition
        self._context = context
        self._munge = munge
        self._connections = connections
        self._limits = limits
        self._daemon = daemon
        self._guard = ReplayGuard()
        self._charged = Charged(limits)
        self._looks = Buckets(limits.requests_per_second, limits.burst)
        per_second = limits.what_ifs_per_minute / 60.0
        self._what_ifs = Buckets(per_second, max(1.0, limits.what_ifs_per_minute / 3.0))
        # Reading the queue is this process's own time, which the scheduler needs as well.
        self._readers = FairWorkers("reader", threads=2, at_once=1)
        self._askers = FairWorkers("slurm", threads=8, at_once=2)
        self._credentials = FairWorkers("munge", threads=4, at_once=3)
        self._watch = QueueWatch(context.open_queue)
        self._local = threading.local()
        self._unsent: Counter[int] = Counter()
        self._asking: dict[int, asyncio.Task[Viewer]] = {}
        self._pages = pages
        self._front = Front(
            context,
            pages,
            self._charged,
            self._readers,
            self._askers,
            self._viewer,
            lambda: self._dispatch().rows,
        )

    def close(self) -> None:
        """Answer nothing more."""
        for workers in (self._readers, self._askers, self._credentials):
            workers.close()
        self._watch.close()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        gate = self._connections.gate_of(request.protocol)
        began = time.monotonic()
        answer = await self._answer(gate, request)
        seconds = time.monotonic() - began
        self._context.metrics.answered(answer.route, answer.status, seconds)
        try:
            return await self._send(gate, request, answer)
        finally:
            gate.answered()

    # Who asks, and may they

    async def _answer(self, gate: Gate, request: web.BaseRequest) -> Answer:
        nonce, sent, route = None, 0, NO_ROUTE
        try:
            body = await request.content.read()
            target = request.raw_path
            if gate.kind is not Transport.TCP:
                peer = Peer(gate.kind, gate.uid, gate.address)
                check_host(request.headers, self._pages)
                if gate.kind is Transport.WEB or is_a_page(target):
                    return replace(await self._front.answer(peer, request), route="page")
                check_api(request.headers, peer, self._pages)
            if gate.kind is Transport.TCP:
                nonce, sent = await self._identify(gate, request, target, body)
            caller = _caller(gate)
            self._charged.take(caller.uid)
            if nonce is not None:  # what is refused by then need not be remembered
                self._guard.check(caller.uid, nonce, sent, time.time())
            self._right_version(request)
            if (request.method, target) == ("GET", DESCRIPTION_PATH):
                return Answer(200, description(), nonce=nonce, route="openapi")
            if (request.method, target) == ("GET", METRICS_PATH):
                text = await self._exposition.text()
                return Answer(200, text, METRICS_MEDIA_TYPE, nonce=nonce, route="metrics")
            asked = await self._read(caller, request.method, target, body)
            route = routes.route_of(asked).name
            response = await self._respond(caller, asked)
        except (RequestError, CredentialError) as error:
            return self._refusal(gate, error.failure, nonce, route)
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                _log.exception("%s %s", request.method, routes.shown(request.raw_path))
                words = "ef-schedd failed on this request: see its log"
                failure = Failure(FailureCode.INTERNAL, words)
            return self._refusal(gate, failure, nonce, route)
        return replace(_success(response, encode(response), nonce), route=route)

    async def _identify(
        self, gate: Gate, request: web.BaseRequest, target: str, body: bytes
    ) -> tuple[str, int]:
        """See whose TCP connection it is; the request's nonce, and when it was sent."""
        given = request.headers.getall("Authorization", [])
        if len(given) > 1:
            raise CredentialError(FailureCode.UNAUTHENTICATED, "more than one credential")
        value = given[0] if given else None
        identity, signed = await self._credentials.run(
            gate.address, lambda: credentials.read_authorization(value, self._munge)
        )
        digest = credentials.request_digest(request.method, target, body)
        credentials.check_request(signed, digest, self._daemon)
        self._right_cluster(signed.cluster)
        failure = self._connections.identified(gate, identity.uid, identity.gid)
        if failure is not None:
            raise CredentialError(failure.code, failure.message)
        return signed.nonce, signed.sent

    def _right_version(self, request: web.BaseRequest) -> None:
        version = request.headers.get(routes.VERSION_HEADER)
        if version is not None and version != str(routes.VERSION):
            raise RequestError(
                FailureCode.OTHER_VERSION,
                f"the command is of another release than ef-schedd (protocol "
                f"{routes.shown(version)}, ef-schedd's is {routes.VERSION}): install the same one "
                "on both hosts; nothing was done, and jobs go on meanwhile",
            )
        self._right_cluster(request.headers.get(routes.CLUSTER_HEADER, ""))

    def _right_cluster(self, cluster: str) -> None:
        ours = self._context.cluster
        if cluster and ours and cluster != ours:
            raise RequestError(
                FailureCode.BAD_REQUEST,
                f"this ef-schedd serves cluster {ours}, not {routes.shown(cluster)}",
            )

    # What they get

    async def _read(self, caller: Caller, method: str, target: str, body: bytes) -> Request:
        if len(body) <= _SMALL:
            return routes.read(method, target, body)
        return await self._work(caller, lambda: routes.read(method, target, body))

    async def _respond(self, caller: Caller, asked: Request) -> Response:
        if isinstance(asked, Ping):
            viewer = Viewer(caller.uid, sees_all=False)  # whoever is alive says so at once
        else:
            viewer = await self._viewer(caller)
        match asked:
            case Await():
                return await self._wait(caller, viewer, asked)
            case Judge():
                return await self._judge(caller, viewer, asked)
            case ChangeJob():
                return await self._change(caller, viewer, asked)
            case ActOnJob():
                return await self._act(caller, viewer, asked)
            case Register():
                return await self._register(caller, viewer, asked)
            case Cancel():
                workers = self._askers
            case _:
                workers = self._readers
        work = lambda: self._dispatch().answer(caller, viewer, asked)  # noqa: E731
        return await self._work(caller, work, workers)

    async def _work(
        self, caller: Caller, work: Callable[[], T], workers: FairWorkers | None = None
    ) -> T:
        """Have something done by a worker; the caller is charged for what it costs."""
        return await self._charged.run(caller.uid, workers or self._readers, work)

    async def _viewer(self, caller: Caller) -> Viewer:
        """What the caller may see; asked of Slurm again while what is known still does."""
        visibility, uid = self._context.visibility, caller.uid
        viewer, ask = visibility.known(uid)
        if viewer is not None and (not ask or uid in self._asking):
            return viewer
        asking = asyncio.create_task(self._askers.run(uid, lambda: visibility.ask(uid)))
        self._asking[uid] = asking
        asking.add_done_callback(lambda _: self._asking.pop(uid, None))
        return await asyncio.shield(asking) if viewer is None else viewer

    async def _wait(self, caller: Caller, viewer: Viewer, asked: Await) -> Response:
        now = asyncio.get_running_loop().time
        began = now()
        end = began + min(max(asked.seconds, 0.0), MAX_WAIT_SECONDS)
        while True:
            seen = self._watch.version()
            detail = await self._work(
                caller, lambda: self._dispatch().answer(caller, viewer, asked)
            )
            assert isinstance(detail, JobDetail)
            if reached(detail, asked.until) or now() >= end:
                return detail
            if now() - began > _SOON_SECONDS:
                await asyncio.sleep(min(_LATER_SECONDS, max(0.0, end - now())))
            await self._watch.changed(seen, max(0.0, end - now()))
            # However many of a user's requests wait, together they look so often.
            while pause := self._looks.take(caller.uid, time.monotonic()):
                if now() >= end:
                    break
                await asyncio.sleep(min(max(pause, _LATER_SECONDS), max(0.0, end - now())))

    async def _register(self, caller: Caller, viewer: Viewer, asked: Register) -> Response:
        work = lambda: self._dispatch().answer(caller, viewer, asked)  # noqa: E731
        try:
            return await self._work(caller, work, self._askers)
        except RecycledIdError as error:
            # What the scheduler is about to do with the older job must not reach this one.
            scheduler, older = self._context.scheduler, error.job_id
        await self._scheduled(caller, lambda: scheduler.lose(older))
        return await self._work(caller, work, self._askers)

    def _charge_for_a_verdict(self, caller: Caller) -> None:
        seconds = self._what_ifs.take(caller.uid, time.monotonic())
        if seconds:
            raise RequestError(
                FailureCode.TOO_MANY,
                f"more than {self._limits.what_ifs_per_minute:g} what-ifs a minute: try again in "
                f"{math.ceil(seconds)} s",
            )

    async def _judge(self, caller: Caller, viewer: Viewer, asked: Judge) -> Response:
        self._charge_for_a_verdict(caller)
        names_jobs = asked.job.dependency.conditions or asked.job.array is not None
        workers = self._askers if names_jobs else self._readers
        request = await self._work(
            caller, lambda: self._dispatch().what_if(caller, viewer, asked.job), workers
        )
        scheduler = self._context.scheduler
        answer, words = await self._scheduled(caller, lambda: scheduler.judge(request))
        return await self._work(caller, lambda: self._dispatch().judged(viewer, answer, words))

    async def _change(self, caller: Caller, viewer: Viewer, asked: ChangeJob) -> Response:
        self._charge_for_a_verdict(caller)
        scheduler, change = self._context.scheduler, asked.change
        row = await self._may_change(caller, viewer, asked.job_id)
        await self._work(
            caller,
            lambda: self._dispatch().check_waiting(viewer, asked.job_id, change),
            self._askers,
        )
        changed = await self._scheduled(
            caller, lambda: scheduler.change(row.id, change, caller.name)
        )
        self._context.calls.wake()
        return await self._work(
            caller, lambda: self._dispatch().job_changes.changed(viewer, asked.job_id, changed)
        )

    async def _act(self, caller: Caller, viewer: Viewer, asked: ActOnJob) -> Response:
        row = await self._may_change(caller, viewer, asked.job_id)
        scheduler = self._context.scheduler
        by_owner = await self._work(
            caller,
            lambda: self._dispatch().job_changes.acts_as_owner(caller, row, asked.action),
            self._askers,
        )
        words = await self._scheduled(
            caller, lambda: scheduler.act(row.id, asked.action, caller.name, by_owner=by_owner)
        )
        self._context.calls.wake(refresh=True)
        return await self._work(
            caller, lambda: self._dispatch().job_changes.acted(viewer, asked.job_id, words)
        )

    async def _may_change(self, caller: Caller, viewer: Viewer, job_id: int) -> QueueJob:
        work = lambda: self._dispatch().job_changes.allowed(caller, viewer, job_id)  # noqa: E731
        return await self._work(caller, work, self._askers)

    async def _scheduled(self, caller: Caller, work: Callable[[], T]) -> T:
        """Have something done by the scheduler's thread."""
        try:
            future = self._context.calls.what_if(caller.uid, work)
        except TooManyCallsError:
            words = "you wait for other what-ifs already: try again"
            raise RequestError(FailureCode.TOO_MANY, words) from None
        with self._context.metrics.what_if_seconds.time():
            return await asyncio.wait_for(asyncio.wrap_future(future), VERDICT_SECONDS)

    def _dispatch(self) -> Dispatch:
        """This worker's own."""
        own: _Own | None = getattr(self._local, "own", None)
        if own is None:
            own = self._local.own = _Own(Dispatch(self._context))
        return own.dispatch

    # How it goes back

    def _refusal(self, gate: Gate, failure: Failure, nonce: str | None, route: str) -> Answer:
        _log.debug("refused for uid %s: %s", gate.uid, failure.message)
        headers: list[tuple[str, str]] = []
        if failure.code in (FailureCode.TOO_MANY, FailureCode.BUSY):
            headers.append(("Retry-After", "1"))
        if STATUS[failure.code] == 401:
            headers.append(("WWW-Authenticate", credentials.SCHEME))
        return Answer(
            STATUS[failure.code], write_problem(failure), MEDIA_TYPE, tuple(headers), nonce, route
        )

    async def _send(
        self, gate: Gate, request: web.BaseRequest, answer: Answer
    ) -> web.StreamResponse:
        headers = {
            "Content-Type": answer.media_type,
            routes.VERSION_HEADER: str(routes.VERSION),
            "Cache-Control": "no-store",
            "Server": NAME,
            **dict(answer.headers),
        }
        if gate.kind is Transport.TCP:
            headers.update(await self._signature(gate, answer))
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if gate.kind is Transport.TCP and answer.nonce is None:
            response.force_close()
        uid = -1 if gate.uid is None else gate.uid
        self._unsent[uid] += len(answer.body)
        try:
            if self._unsent[uid] > UNSENT_LIMIT + len(answer.body):
                gate.abort()
            async with asyncio.timeout(SEND_SECONDS):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            gate.abort()
        finally:
            self._unsent[uid] -= len(answer.body)
            if not self._unsent[uid]:
                del self._unsent[uid]
        return response

    async def _signature(self, gate: Gate, answer: Answer) -> list[tuple[str, str]]:
        nonce = answer.nonce
        if nonce is None:
            return []  # nobody is known to whom anything could be promised
        sign: Callable[[], str] = lambda: credentials.answer_credential(  # noqa: E731
            answer.status, answer.body, nonce, self._munge
        )
        try:
            return [(credentials.ANSWER_HEADER, await self._credentials.run(gate.address, sign))]
        except MungeError as error:
            _log.warning("an answer could not be signed: %s", error)
            return []


class _Own:
    """A worker's own view of the queue, closed by its thread when that ends."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch

    def __del__(self) -> None:
        self.dispatch.close()


def _caller(gate: Gate) -> Caller:
    assert gate.uid is not None
    assert gate.gid is not None
    return Caller(gate.uid, gate.gid, gate.kind)


def _success(response: Response, body: bytes, nonce: str | None) -> Answer:
    if isinstance(response, Registered):
        location = (("Location", f"{routes.PREFIX}/jobs/{response.job_id}"),)
        return Answer(201 if response.created else 200, body, headers=location, nonce=nonce)
    return Answer(200, body, nonce=nonce)
