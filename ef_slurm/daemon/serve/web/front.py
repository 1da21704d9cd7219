"""Answers browsers: within the same bounds as the API, and reading only."""

from __future__ import annotations

import gzip
import hashlib
import logging
import pwd
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from ef_slurm.api.identity import Caller, Transport
from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.problems import STATUS
from ef_slurm.api.routes import TARGET_LIMIT, RequestError, shown
from ef_slurm.charts import library, page
from ef_slurm.daemon.serve.answer import Answer
from ef_slurm.daemon.serve.charging import Charged
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.failures import failure_of
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.daemon.serve.web.access import Asker, Peer, WebSettings, asker, check_page
from ef_slurm.daemon.serve.web.site import PAGES, Site, refusal_page
from ef_slurm.daemon.serve.workers import FairWorkers
from ef_slurm.queue.store import Queue

FRESH_SECONDS = 2.0
"""For how long a page is good for the next one who sees the same."""
_MOST_KEPT = 64
_SECURITY = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_HTML = "text/html; charset=utf-8"

_log = logging.getLogger(__name__)

ViewerOf = Callable[[Caller], Awaitable[Viewer]]


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file of the page's. Its name has its content's digest, so that it may be kept for ever."""

    media_type: str
    body: bytes
    packed: bytes
    digest: str


def _asset(media_type: str, text: str) -> _Asset:
    body = text.encode()
    return _Asset(media_type, body, gzip.compress(body, 6), hashlib.sha256(body).hexdigest()[:12])


class Front:
    """Belongs to the server's event loop.

    Args:
        readers, askers: threads that read the queue, and that ask Slurm and the user database.
        viewer_of: what a user may see.
        queue: a reader's own view of the queue.
    """

    def __init__(
        self,
        context: ServerContext,
        settings: WebSettings,
        charged: Charged,
        readers: FairWorkers,
        askers: FairWorkers,
        viewer_of: ViewerOf,
        queue: Callable[[], Queue],
    ) -> None:
        self._context = context
        self._settings = settings
        self._charged = charged
        self._readers = readers
        self._askers = askers
        self._viewer_of = viewer_of
        self._queue = queue
        self._assets: dict[str, _Asset] = {
            "page.css": _asset("text/css; charset=utf-8", page.stylesheet()),
            "draw.js": _asset("text/javascript; charset=utf-8", page.draw_script()),
            "live.js": _asset("text/javascript; charset=utf-8", Site.live_script()),
        }
        self._charts_sought = False
        self._kept: dict[tuple[str, Viewer | None], tuple[float, bytes]] = {}

    async def answer(self, peer: Peer, request: web.BaseRequest) -> Answer:
        """What a browser gets."""
        try:
            check_page(request.method, request.headers)
            header = self._settings.user_header
            said = request.headers.getall(header, []) if header else []
            visitor = asker(peer, said, self._settings)
            self._charged.take(visitor.key)
            return await self._asked(visitor, request)
        except Exception as error:
            failure = error.failure if isinstance(error, RequestError) else failure_of(error)
            if failure is None:
                _log.exception("%s %s", request.method, shown(request.raw_path))
                words = "ef-schedd failed on this request: see its log"
                failure = Failure(FailureCode.INTERNAL, words)
            return self._refused(failure)

    async def _asked(self, visitor: Asker, request: web.BaseRequest) -> Answer:
        target = request.raw_path
        if len(target) > TARGET_LIMIT:
            raise RequestError(FailureCode.TOO_LARGE, f"a path of {len(target)} characters")
        # Not urlsplit: a path may begin with what looks like a host.
        path, _, query = target.partition("?")
        # Relative, so that a site's proxy may have the pages below any path.
        beside = {"/": "web/now", "/web": "web/now", "/web/": "now"}.get(path)
        if beside is not None:
            return Answer(302, b"", _HTML, (*_SECURITY, ("Location", beside)))
        name = path.removeprefix("/web/")
        if name == path or name not in {*PAGES, *self._assets, "vega.js"}:
            raise RequestError(FailureCode.NO_SUCH_PATH, f"there is no page {shown(path)}")
        if name not in PAGES:
            return await self._asset(visitor, name, request)
        viewer, who = await self._viewer(visitor)
        await self._seek_charts(visitor)
        return await self._page(visitor, viewer, who, name, query)

    async def _viewer(self, visitor: Asker) -> tuple[Viewer, str]:
        """What they may see, and what they are called."""
        visibility = self._context.visibility
        if visitor.uid is None and visitor.name is None:
            return await self._charged.run(visitor.key, self._askers, visibility.anonymous), ""
        uid = visitor.uid
        if uid is None:
            uid = await self._charged.run(
                visitor.key, self._askers, lambda: _uid_of(visitor.name or "")
            )
        caller, name = Caller(uid, -1, Transport.WEB), visitor.name
        if name is None:
            name = await self._charged.run(visitor.key, self._askers, lambda: caller.name)
        return await self._viewer_of(caller), name

    async def _page(
        self, visitor: Asker, viewer: Viewer, who: str, name: str, query: str
    ) -> Answer:
        # Whoever sees all sees the same.
        kept = (f"{name}?{query}", None if viewer.sees_all else viewer)
        now = time.monotonic()
        found = self._kept.get(kept)
        if found is not None and 0.0 <= now - found[0] < FRESH_SECONDS:
            main = found[1]
        else:
            main = await self._charged.run(
                visitor.key,
                self._readers,
                lambda: Site(self._context, self._queue(), viewer).main(name, query),
            )
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[kept] = (now, main)
        whole = Site.frame(
            main,
            active=name,
            who=who,
            cluster=self._context.cluster,
            version=self._context.version,
            assets={key: asset.digest for key, asset in self._assets.items()},
        )
        return Answer(200, whole, _HTML, _SECURITY)

    async def _seek_charts(self, visitor: Asker) -> None:
        """Fetch what draws the charts from its package, once; without it there are the tables."""
        if self._charts_sought:
            return
        self._charts_sought = True
        try:
            # The package's own time, not the visitor's.
            text = await self._askers.run(visitor.key, library.javascript)
        except library.ChartsError as error:
            _log.warning("the web page has tables and no charts: %s", error)
            return
        packed = await self._askers.run(
            visitor.key, lambda: _asset("text/javascript; charset=utf-8", text)
        )
        self._assets["vega.js"] = packed

    async def _asset(self, visitor: Asker, name: str, request: web.BaseRequest) -> Answer:
        if name == "vega.js":
            await self._seek_charts(visitor)
        found = self._assets.get(name)
        if found is None:
            raise RequestError(FailureCode.NO_SUCH_PATH, f"there is no {name} here")
        headers = [*_SECURITY, ("Vary", "Accept-Encoding")]
        if request.query_string == found.digest:
            headers.append(("Cache-Control", "private, max-age=31536000, immutable"))
        body = found.body
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers.append(("Content-Encoding", "gzip"))
            body = found.packed
        return Answer(200, body, found.media_type, tuple(headers))

    def _refused(self, failure: Failure) -> Answer:
        headers = list(_SECURITY)
        if failure.code in (FailureCode.TOO_MANY, FailureCode.BUSY):
            headers.append(("Retry-After", "1"))
        style = self._assets["page.css"].digest
        return Answer(
            STATUS[failure.code], refusal_page(failure.message, style), _HTML, tuple(headers)
        )


def _uid_of(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise RequestError(
            FailureCode.DENIED, f"the proxy says that you are {name}, whom this host does not know"
        ) from None
