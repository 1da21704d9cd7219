"""The store of the rendezvous, in a process of its own: the server has no threads.

torchrun's agent on the first node holds it, so that it outlives every rank; so does this process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from forkserver import child


@dataclass(frozen=True)
class Store:
    """Where ranks meet.

    Args:
        port: where it listens, or rank 0 is to.
        pid: of the process that holds it; 0 where rank 0 is to.
    """

    port: int
    pid: int = 0

    @property
    def by_agent(self) -> bool:
        """Whether no rank has to hold it."""
        return self.pid != 0

    def close(self) -> None:
        """End the process."""
        if self.pid:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)


def open_store(port: int) -> Store:
    """Begin to listen at the port, or at any other where that one is taken.

    Builds of torch without libuv cannot have it outside of a rank: torch then heeds USE_LIBUV only
    of the store that rank 0 holds.

    Raises:
        OSError: there is no port at all.
    """
    reading, writing = os.pipe()
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            child.die_with(server)
            child.rename_process(["ef-slurm: store of the ranks"])
            _hold(port, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.readline().strip()
    if said:
        return Store(int(said), pid)
    Store(0, pid).close()
    return Store(free_port(port))


def free_port(port: int) -> int:
    """This port, or any other where somebody listens at it."""
    for wanted in (port, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("", wanted))
                return int(probe.getsockname()[1])
    raise OSError("no port is free")


def _hold(port: int, pipe: int) -> None:
    store = _make(port) or _make(0)
    if store is None:
        return
    os.write(pipe, b"%d\n" % store.port)
    os.close(pipe)
    while True:
        signal.pause()


def _make(port: int) -> Any:
    kind: Any = sys.modules["torch.distributed"]
    # What it says of a port that is taken is no concern of the job's log.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        return kind.TCPStore("localhost", port, is_master=True, wait_for_workers=False)
    except RuntimeError:
        return None
