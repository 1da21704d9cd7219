"""The connections of one process to the other ranks: rank 0 listens, all others connect to it.

They are served by one background thread with an event loop.
"""

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, Protocol

from ef_slurm.training import messages
from ef_slurm.training.messages import Channel, Link, RefusedError

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""Seconds that a closing rank waits until the others have what it sent."""
MAX_STRANGERS = 64
"""Connections that have not proved anything yet; one more ends the oldest of them."""
_RETRY_SECONDS = 0.2
_COMPLAIN_SECONDS = 60.0

Deliver = Callable[[int, Any], None]
"""Called with (rank of the sender, message), on the background thread."""


class Links(Protocol):
    """What the two ends have in common."""

    def send(self, message: Any) -> None:
        """Send to the other end; to all of them from rank 0. Any thread; does not block."""

    def lost_seconds(self, rank: int) -> float:
        """Seconds since the connection to a rank was lost; 0 while it stands or never did."""

    def close(self) -> None:
        """Wait until the others have everything, for a while; then end all connections."""


class _Thread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        # A daemon: a process that fails must not wait for ranks that are gone.
        self._thread = threading.Thread(target=self._run, name="ef-slurm-messages", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until it ends or the thread does. On the loop's thread only."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def soon(self, action: Callable[..., object], *arguments: Any) -> None:
        """Call on the loop's thread; nothing once it has stopped."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action, *arguments)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run on the loop's thread and wait for the result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        """End all that was spawned, and the thread."""
        if self._loop.is_closed():
            return
        self.wait(self._cancel())
        self.soon(self._loop.stop)
        self._thread.join(timeout=FLUSH_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _cancel(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Hub:
    """Rank 0's end.

    Args:
        host: the one address to listen on.
        admits: whether others than those of the world may come, who know the secret.

    Raises:
        OSError: nothing can be bound there.
    """

    def __init__(
        self, host: str, world_size: int, secret: bytes, deliver: Deliver, *, admits: bool = False
    ):
        self._secret = secret
        self._deliver = deliver
        self._admits = admits
        self._expected = range(1, world_size)
        self._links = {rank: Link(partial(deliver, rank)) for rank in self._expected}
        # In the order in which they came.
        self._strangers: dict[asyncio.StreamWriter, None] = {}
        self._complaints = _Complaints()
        self._closed = False
        self._thread = _Thread()
        try:
            self._server: asyncio.Server = self._thread.wait(self._listen(host))
        except OSError:
            self._thread.stop()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def complete(self) -> bool:
        """Whether all ranks have connected."""
        return all(self._links[rank].ever_connected for rank in self._expected)

    @property
    def known(self) -> list[int]:
        """Who has ever connected, or is expected to."""
        return list(self._links)

    def send(self, message: Any) -> None:
        self.send_to(self.known, message)

    def send_to(self, ranks: Collection[int], message: Any) -> None:
        """Send to some ranks. Any thread; does not block."""
        text = _dump(message)
        for rank in ranks:
            if (link := self._links.get(rank)) is not None:
                self._thread.soon(link.send, text)

    def lost_seconds(self, rank: int) -> float:
        link = self._links.get(rank)
        return link.lost_seconds if link is not None and link.ever_connected else 0.0

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._thread.wait(_flush(list(self._links.values())))
        self._thread.soon(self._server.close)  # its own thread counts who is connected
        for link in self._links.values():
            self._thread.soon(link.drop)
        self._thread.stop()

    async def _listen(self, host: str) -> asyncio.Server:
        return await asyncio.start_server(self._accept, host, 0, backlog=1024)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._thread.spawn(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        self._strangers[writer] = None
        if len(self._strangers) > MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.close()
        try:
            async with asyncio.timeout(messages.HANDSHAKE_SECONDS):
                channel = await messages.answer(reader, writer, self._secret, self._received)
            self._strangers.pop(writer, None)
            await self._links[channel.rank].serve(channel)
        except RefusedError as error:
            self._complaints.add(f"refused a connection from {peer[0]}: {error}")
        except TimeoutError:
            self._complaints.add(f"a connection from {peer[0]} proved nothing in time")
        except (OSError, asyncio.IncompleteReadError):
            pass  # it ended; a rank comes again
        finally:
            self._strangers.pop(writer, None)
            writer.close()

    def _received(self, rank: int) -> int:
        if rank not in self._links:
            if not self._admits:
                raise RefusedError(f"there is no rank {rank}")
            self._links[rank] = Link(partial(self._deliver, rank))
        return self._links[rank].received


class Spoke:
    """The end of any other rank."""

    def __init__(self, host: str, port: int, rank: int, secret: bytes, deliver: Deliver):
        self._address = host, port
        self._rank = rank
        self._secret = secret
        self._link = Link(partial(deliver, 0))
        self._complaints = _Complaints()
        self._closed = False
        self._thread = _Thread()
        self._thread.soon(lambda: self._thread.spawn(self._run()))

    def send(self, message: Any) -> None:
        self._thread.soon(self._link.send, _dump(message))

    def lost_seconds(self, _rank: int) -> float:
        return self._link.lost_seconds

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._thread.wait(_flush([self._link]))
        self._thread.soon(self._link.drop)
        self._thread.stop()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(messages.HANDSHAKE_SECONDS):
                    channel = await self._connect()
                await self._link.serve(channel)
            except RefusedError as error:
                self._complaints.add(f"rank 0 at {self._address[0]} is not believed: {error}")
            except (OSError, asyncio.IncompleteReadError):
                pass  # TimeoutError is an OSError
            await asyncio.sleep(_RETRY_SECONDS)

    async def _connect(self) -> Channel:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            return await messages.connect(
                reader, writer, self._secret, self._rank, self._link.received
            )
        except BaseException:
            writer.close()
            raise


class _Complaints:
    """Lines for the log, of which a stranger cannot cause more than one a minute."""

    def __init__(self) -> None:
        self._last = -_COMPLAIN_SECONDS
        self._more = 0

    def add(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last < _COMPLAIN_SECONDS:
            self._more += 1
            return
        more = f" (and {self._more} more times since the last such line)" if self._more else ""
        self._last, self._more = now, 0
        logger.warning("%s%s; training goes on", text, more)


async def _flush(links: list[Link]) -> None:
    """Wait until all peers have all; not for those that are gone."""
    end = time.monotonic() + FLUSH_SECONDS
    while time.monotonic() < end and not all(link.flushed or link.lost_seconds for link in links):
        await asyncio.sleep(0.005)


def _dump(message: Any) -> bytes:
    text = json.dumps(message, separators=(",", ":")).encode()
    if len(text) > messages.MAX_BYTES:
        raise ValueError(f"a message of {len(text)} bytes to the other ranks")
    return text
