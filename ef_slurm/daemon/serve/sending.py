"""How answers go back: with the headers that each has, signed on TCP, to peers that take them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from ef_slurm.api import credentials, routes
from ef_slurm.api.identity import Transport
from ef_slurm.api.munge import Munge, MungeError
from ef_slurm.daemon.serve.answer import Answer
from ef_slurm.daemon.serve.gate import Gate
from ef_slurm.daemon.serve.workers import FairWorkers

NAME = "ef-schedd"
"""What answers call their sender."""
SEND_SECONDS = 30.0
"""How long a peer may take to receive an answer."""
UNSENT_LIMIT = 128 << 20
"""Bytes of answers that one user has asked for and not received yet."""

_log = logging.getLogger(__name__)


class Sending:
    """Sends answers. Belongs to the server's event loop.

    Args:
        workers: call munge.
    """

    def __init__(self, munge: Munge, workers: FairWorkers) -> None:
        self._munge = munge
        self._credentials = workers
        self._unsent: Counter[int] = Counter()

    async def send(
        self, gate: Gate, request: web.BaseRequest, answer: Answer
    ) -> web.StreamResponse:
        """Send one, to peers on TCP with what shows that it is ours.

        A peer that takes none, or too little of what it has asked for, is cut off.
        """
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
