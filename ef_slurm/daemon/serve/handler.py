"""From an HTTP request to its answer: who asks, whether they may now, what they get."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from aiohttp import web

from ef_slurm.api import routes
from ef_slurm.api.client import reached
from ef_slurm.api.credentials import CredentialError
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
    Request,
    Response,
)
from ef_slurm.api.munge import Munge
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.serve.answer import NO_ROUTE, Answer, refusal, success
from ef_slurm.daemon.serve.charging import Charged
from ef_slurm.daemon.serve.connections import Connections
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.exposition import MEDIA_TYPE as METRICS_MEDIA_TYPE
from ef_slurm.daemon.serve.exposition import METRICS_PATH, Exposition
from ef_slurm.daemon.serve.failures import failure_of
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.identification import Identification
from ef_slurm.daemon.serve.limits import Buckets, ServeLimits
from ef_slurm.daemon.serve.openapi import DESCRIPTION_PATH, description
from ef_slurm.daemon.serve.registration import RecycledIdError
from ef_slurm.daemon.serve.requests import Dispatch
from ef_slurm.daemon.serve.scheduler_calls import TooManyCallsError
from ef_slurm.daemon.serve.sending import Sending
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.daemon.serve.watch import QueueWatch
from ef_slurm.daemon.serve.web.access import Peer, WebSettings, check_api, check_host, is_a_page
from ef_slurm.daemon.serve.web.front import Front
from ef_slurm.daemon.serve.workers import FairWorkers
from ef_slurm.model import JobDetail, QueueJob

VERDICT_SECONDS = 12.0
"""How long the scheduler's thread may take over a what-if."""
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
        self._connections = connections
        self._limits = limits
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
        self._identification = Identification(
            munge, self._credentials, connections, daemon, context.cluster
        )
        self._sending = Sending(munge, self._credentials)
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
            return await self._sending.send(gate, request, answer)
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
                nonce, sent = await self._identification.identify(gate, request, target, body)
            caller = _caller(gate)
            self._charged.take(caller.uid)
            if nonce is not None:  # what is refused by then need not be remembered
                self._identification.once(caller.uid, nonce, sent)
            self._identification.check_version(request)
            if (request.method, target) == ("GET", DESCRIPTION_PATH):
                return Answer(200, description(), nonce=nonce, route="openapi")
            if (request.method, target) == ("GET", METRICS_PATH):
                text = await self._exposition.text()
                return Answer(200, text, METRICS_MEDIA_TYPE, nonce=nonce, route="metrics")
            asked = await self._read(caller, request.method, target, body)
            route = routes.route_of(asked).name
            response = await self._respond(caller, asked)
        except (RequestError, CredentialError) as error:
            return _refusal(gate, error.failure, nonce, route)
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                _log.exception("%s %s", request.method, routes.shown(request.raw_path))
                words = "ef-schedd failed on this request: see its log"
                failure = Failure(FailureCode.INTERNAL, words)
            return _refusal(gate, failure, nonce, route)
        return success(response, nonce, route)

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
        row, actor = await self._may_change(caller, viewer, asked.job_id)
        await self._work(
            caller,
            lambda: self._dispatch().check_waiting(viewer, asked.job_id, change),
            self._askers,
        )
        changed = await self._scheduled(caller, lambda: scheduler.change(row.id, change, actor))
        self._context.calls.wake()
        return await self._work(
            caller, lambda: self._dispatch().job_changes.changed(viewer, asked.job_id, changed)
        )

    async def _act(self, caller: Caller, viewer: Viewer, asked: ActOnJob) -> Response:
        row, actor = await self._may_change(caller, viewer, asked.job_id)
        scheduler = self._context.scheduler
        by_owner = await self._work(
            caller,
            lambda: self._dispatch().job_changes.acts_as_owner(caller, row, asked.action),
            self._askers,
        )
        words = await self._scheduled(
            caller, lambda: scheduler.act(row.id, asked.action, actor, by_owner=by_owner)
        )
        self._context.calls.wake(refresh=True)
        return await self._work(
            caller, lambda: self._dispatch().job_changes.acted(viewer, asked.job_id, words)
        )

    async def _may_change(
        self, caller: Caller, viewer: Viewer, job_id: int
    ) -> tuple[QueueJob, str]:
        """The job, and what whoever changes it is called.

        Asked here: no tick waits for the user database.
        """

        def work() -> tuple[QueueJob, str]:
            return self._dispatch().job_changes.allowed(caller, viewer, job_id), caller.name

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


class _Own:
    """A worker's own view of the queue, closed by its thread when that ends."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch

    def __del__(self) -> None:
        self.dispatch.close()


def _refusal(gate: Gate, failure: Failure, nonce: str | None, route: str) -> Answer:
    _log.debug("refused for uid %s: %s", gate.uid, failure.message)
    return refusal(failure, nonce, route)


def _caller(gate: Gate) -> Caller:
    assert gate.uid is not None
    assert gate.gid is not None
    return Caller(gate.uid, gate.gid, gate.kind)
