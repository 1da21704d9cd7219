"""`http://127.0.0.1:PORT/metrics` for a Prometheus on the daemon's host.

It needs no credential: it tells nothing that anybody on the host may not know. It asks whom a
request is meant for, since a web page elsewhere can make somebody's browser here ask it.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket

from aiohttp import web

from ef_slurm.api.identity import Transport
from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.daemon.serve.exposition import MEDIA_TYPE, METRICS_PATH, Exposition
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.limits import ServeLimits

ADDRESS = "127.0.0.1"
MOST_CONNECTIONS = 16
"""One more takes the place of the one that has asked nothing for longest."""
SEND_SECONDS = 10.0
"""How long a peer may take over an answer."""
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.I)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "ef-schedd",
}


class MetricsListener:
    """Answers on its own port. Belongs to the server's event loop."""

    def __init__(self, exposition: Exposition, limits: ServeLimits) -> None:
        self._exposition = exposition
        self._limits = limits
        self._gates: dict[object, Gate] = {}
        self._manager = web.Server(self._answer)

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        """Answer whoever connects."""
        return await asyncio.get_running_loop().create_server(self._gate, sock=listener)

    async def close(self) -> None:
        """Close every connection at once."""
        for gate in tuple(self._gates.values()):
            gate.abort()
        await self._manager.shutdown(1.0)

    def _gate(self) -> Gate:
        inner = web.RequestHandler(
            self._manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            lingering_time=0.0,
        )
        return Gate(self, inner, Transport.TCP)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        gate = self._gates[request.protocol]
        try:
            response = await self._response(request)
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await response.prepare(request)
                    await response.write_eof()
            except (TimeoutError, ConnectionError):
                gate.abort()
        finally:
            gate.answered()
        return response

    async def _response(self, request: web.BaseRequest) -> web.Response:
        text = functools.partial(web.Response, headers=_HEADERS, content_type="text/plain")
        if not _HOST.fullmatch(request.headers.get("Host", "")):
            return text(status=403, text=f"ask for {ADDRESS}, by that name\n")
        if request.path != METRICS_PATH:
            return text(status=404, text=f"there is {METRICS_PATH} here, and nothing else\n")
        if request.method not in ("GET", "HEAD"):
            return text(status=405, text="GET it\n")
        body = await self._exposition.text()
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": MEDIA_TYPE})

    # What a gate asks

    @property
    def limits(self) -> ServeLimits:
        """How long a peer may take."""
        return self._limits

    def admit(self, gate: Gate, transport: asyncio.Transport) -> Failure | None:  # noqa: ARG002
        """A connection was made; None where it may stay."""
        if len(self._gates) >= MOST_CONNECTIONS:
            words = f"{MOST_CONNECTIONS} connections are open already"
            busy = Failure(FailureCode.TOO_MANY, words)
            oldest = next((one for one in self._gates.values() if one.is_reading), None)
            if oldest is None:
                return busy
            oldest.refuse(busy)
        self._gates[gate.inner] = gate
        return None

    def may_linger(self, gate: Gate) -> bool:
        """It is refused; it is told why, if it listens."""
        self.gone(gate)
        return True

    def gone(self, gate: Gate) -> None:
        """A connection is over."""
        self._gates.pop(gate.inner, None)

    def greet_frames(self, gate: Gate, transport: asyncio.Transport) -> None:  # noqa: ARG002
        """Nobody speaks frames here."""
        gate.abort()
