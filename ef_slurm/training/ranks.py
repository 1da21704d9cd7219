"""How the ranks of one launch talk beside the training itself.

Collectives would cost every iteration and must be issued by all ranks in the same order. A small
key-value store does neither: rank 0 serves it, every rank's background thread uses it.
"""

import contextlib
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ef_slurm.contract import Exit

RANK_WAIT_SECONDS = 1800.0
"""Seconds a rank waits for another (which may be reading a large checkpoint)."""


class Store(Protocol):
    """What is used of `torch.distributed.Store`."""

    def set(self, key: str, value: bytes) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...
    def delete_key(self, key: str) -> bool: ...


class LocalStore:
    """The store of a single process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def set(self, key: str, value: bytes) -> None:
        self._values[key] = value

    def get(self, key: str) -> bytes:
        return self._values[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)

    def delete_key(self, key: str) -> bool:
        return self._values.pop(key, None) is not None


class Ranks:
    """This process among its peers: rank, world size, and messages by key.

    Every key is written once. Safe to use from several threads.
    """

    def __init__(self, rank: int, world_size: int, store: Store):
        self.rank = rank
        self.world_size = world_size
        self._store = store
        self._lock = threading.Lock()

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def publish(self, key: str, value: Any = None) -> None:
        """Make `value` known to all ranks under `key`."""
        with self._lock:
            self._store.set(key, pickle.dumps(value))

    def known(self, key: str) -> bool:
        """Whether some rank has published `key`; does not block."""
        with self._lock:
            return self._store.check([key])

    def fetch(self, key: str, abort: Callable[[], bool] = lambda: False) -> Any:
        """The value of `key`, waited for until `abort()`.

        Raises:
            TimeoutError: it did not come within `RANK_WAIT_SECONDS`, or `abort` said so.
        """
        if not wait_until(lambda: self.known(key), abort):
            raise TimeoutError(f"rank {self.rank} waited in vain for {key!r}")
        with self._lock:
            return pickle.loads(self._store.get(key))  # noqa: S301

    def post(self, key: str, value: Any = None) -> None:
        """Publish this rank's own value under `key`."""
        self.publish(f"{key}/{self.rank}", value)

    def gather(self, key: str, abort: Callable[[], bool] = lambda: False) -> list[Any]:
        """Every rank's own value under `key`, in rank order; then they are forgotten.

        Raises:
            TimeoutError: as `fetch`.
        """
        values = [self.fetch(f"{key}/{rank}", abort) for rank in range(self.world_size)]
        for rank in range(self.world_size):
            with self._lock:
                self._store.delete_key(f"{key}/{rank}")
        return values


def wait_until(condition: Callable[[], bool], abort: Callable[[], bool] = lambda: False) -> bool:
    """Call `condition` until it holds (True), or `abort` does or too much time passed (False)."""
    end = time.monotonic() + RANK_WAIT_SECONDS
    pause = 0.001
    while not condition():
        if abort() or time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return True


def connect() -> Ranks:
    """The ranks of the default process group; a single rank where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks(0, 1, LocalStore())
    rank, world_size = dist.get_rank(), dist.get_world_size()
    if world_size == 1:
        return Ranks(0, 1, LocalStore())
    if not hasattr(TCPStore, "check"):
        print(
            "ef-slurm: training on several ranks needs torch 2.1 or newer, "
            f"this is {torch.__version__}",
            file=sys.stderr,
        )
        raise SystemExit(int(Exit.UNUSABLE))
    timeout = timedelta(seconds=RANK_WAIT_SECONDS)
    # A store of our own: a call that blocks on the default one would block the process group's use
    # of it. Its port is any free one; the process group carries the address to the other ranks.
    address: list[Any] = [None, None]
    store: Any = None
    if rank == 0:
        store = _new_store("localhost", 0, timeout, serve=True)
        address = [_own_address(), store.port]
    dist.broadcast_object_list(address, src=0)
    if rank != 0:
        store = _new_store(address[0], address[1], timeout, serve=False)
    return Ranks(rank, world_size, store)


def _new_store(host: str, port: int, timeout: timedelta, serve: bool) -> Any:
    new = partial(TCPStore, host, port, is_master=serve, timeout=timeout, wait_for_workers=False)
    try:
        return new()
    except RuntimeError as error:
        if "libuv" not in str(error):
            raise
        return new(use_libuv=False)  # a build without it, such as Debian's


def _own_address() -> str:
    """Where the other ranks reach this host: the rendezvous of rank 0 is known to work."""
    address = os.environ.get("MASTER_ADDR")
    if address:
        with contextlib.suppress(OSError):
            local = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
            given = {info[4][0] for info in socket.getaddrinfo(address, None)}
            if given & (local | {"127.0.0.1", "::1"}):
                return address
    return socket.gethostname()
