"""Which daemon acts, of all that could: the word that they leave each other beside the orders.

The queue's lock keeps two daemons of one host apart. Daemons of two hosts share the directory of
orders: in its `daemon.json` stands which one acts, and since which term. One that finds another
term there than its own ends before it does anything else; one that cannot read it does nothing
until it can.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.contract import replace_file
from ef_slurm.daemon.observe.own_directory import opened
from ef_slurm.daemon.observe.workers import Task, Workers
from ef_slurm.formats.codec import DecodeError, decode, encode
from ef_slurm.queue.errors import TakenOverError
from ef_slurm.slurm.errors import SlurmUnavailableError

NAME = "daemon.json"
SECONDS = 5.0
"""How long the file may take to be read."""
STALE_SECONDS = 3.0
"""After which a claim that somebody began and did not end is nobody's."""
MOST_BYTES = 4096

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Claim:
    """Which daemon acts.

    Args:
        term: counts them; who has the latest acts.
        queue: the id of its queue.
        path: where its queue is.
        host: where it runs; `pid` its process, 0 for none yet.
        since: UTC epoch seconds; `stopped` when it ended as it should, or None.
    """

    term: int
    queue: str
    path: str
    host: str
    pid: int
    since: float
    stopped: float | None = None
    version: int = 1

    @property
    def words(self) -> str:
        """Who that is, for people."""
        return f"the daemon of {self.host} (pid {self.pid}, queue {self.path})"


class ClaimFile:
    """The claim beside the orders.

    Args:
        root: of orders.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._workers: Workers[Claim | None] = Workers(patience=SECONDS, penance=0)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._root / NAME

    def read(self) -> Claim | None:
        """Who acts; None where nobody ever did.

        Raises:
            OSError: it cannot be read, or is none.
        """
        return self._workers.call(Task("claim", os.geteuid(), self._read))

    def take(self, queue: str, path: Path, *, pid: int) -> Claim:
        """Act from now on; whoever did before must not any more.

        Args:
            queue: the id of the queue; `path` where it is.
            pid: of the daemon; 0 for one that is still to start here.

        Raises:
            OSError: it cannot be written.
            TakenOverError: somebody else took it in this moment.
        """

        def work() -> Claim:
            before = self._read()
            term = 1 if before is None else before.term + 1
            host = socket.gethostname()
            claim = Claim(term, queue, str(path), host, pid, self._clock())
            with opened(self._root) as root:
                self._replace(root, claim)
            return claim

        taken = self._workers.call(Task("claim", os.geteuid(), work))
        assert taken is not None
        return taken

    def give_up(self, claim: Claim) -> None:
        """The daemon ends as it should. Never raises."""

        def work() -> None:
            if self._read() == claim:
                with opened(self._root) as root:
                    text = encode(replace(claim, stopped=self._clock())).decode()
                    replace_file(root, NAME, text, mode=0o600)

        with suppress(OSError):
            self._workers.call(Task("claim", os.geteuid(), work))

    def _replace(self, root: int, claim: Claim) -> None:
        """Put the claim there, unless the term is somebody else's already."""
        mark = f".daemon-{claim.term}"
        end = time.monotonic() + STALE_SECONDS
        while True:
            try:
                descriptor = os.open(mark, _NEW, 0o600, dir_fd=root)
                break
            except FileExistsError:
                if time.monotonic() >= end:  # of one that was killed
                    with suppress(FileNotFoundError):
                        os.unlink(mark, dir_fd=root)
                time.sleep(0.05)
            now = self._read()
            if now is not None and now.term >= claim.term:
                raise TakenOverError(f"{now.words} has just begun to act")
        os.close(descriptor)
        try:
            now = self._read()
            if now is not None and now.term >= claim.term:
                raise TakenOverError(f"{now.words} has just begun to act")
            replace_file(root, NAME, encode(claim).decode(), mode=0o600)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(mark, dir_fd=root)

    def _read(self) -> Claim | None:
        with opened(self._root) as root:
            try:
                descriptor = os.open(NAME, _READ, dir_fd=root)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                data = file.read(MOST_BYTES)
        try:
            return decode(Claim, data, str(self.path))
        except DecodeError as error:
            raise OSError(str(error)) from None


class Acting:
    """A daemon's right to act.

    Args:
        file: where it stands.
        claim: the daemon's own.
    """

    def __init__(self, file: ClaimFile, claim: Claim) -> None:
        self._file = file
        self.claim = claim

    def give_up(self) -> None:
        """The daemon ends as it should. Never raises."""
        self._file.give_up(self.claim)

    def check(self) -> None:
        """Look whether this daemon is still the one that acts.

        Raises:
            TakenOverError: another one is.
            SlurmUnavailableError: nobody can say, so that nothing may be done.
        """
        try:
            found = self._file.read()
        except OSError as error:
            raise SlurmUnavailableError(
                f"{self._file.path} does not say whether another daemon has taken over: {error}"
            ) from None
        if found is None:
            raise SlurmUnavailableError(
                f"{self._file.path} is gone: nobody can say whether another daemon has taken over"
            )
        if (found.term, found.queue) != (self.claim.term, self.claim.queue):
            raise TakenOverError(f"{found.words} has taken over: this one ends")
