"""The ranks of this node, seen from the server: forked, watched, ended together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from forkserver import child

TERM_SECONDS = 30.0
"""Between TERM and KILL for the ranks that are left when one has failed, as torchrun has it."""
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_WATCHED = frozenset({signal.SIGCHLD, *_ENDS})
_STARTED_WITH = {signal.SIGINT: signal.default_int_handler}


@dataclass(frozen=True)
class Failure:
    """The rank that failed first on this node.

    Args:
        rank: -1 for the store of the ranks, which ends with none of them.
        status: exit code, or minus the signal that ended it.
        message: what `torch.distributed.elastic`'s `record` has written; "" for nothing.
    """

    rank: int
    status: int
    message: str = ""

    @property
    def code(self) -> int:
        """The exit code that counts."""
        return self.status if self.status > 0 else 128 - self.status

    def __str__(self) -> str:
        how = f"exit code {self.status}" if self.status > 0 else f"signal {-self.status}"
        if self.rank < 0:
            return f"the store of the ranks has ended, {how}"
        return f"rank {self.rank} failed first, {how}" + (self.message and f": {self.message}")


@dataclass
class Ranks:
    """Processes of one launch.

    Args:
        first: rank of the first one.
        handlers: of signals, as a program is started with them.
        store: pid of the process that holds their store; 0 for none.
    """

    first: int
    handlers: Mapping[int, Any]
    store: int = 0
    _running: dict[int, int] = field(default_factory=dict)
    _reports: str = ""

    @classmethod
    def prepare(cls, first: int, store: int) -> Ranks:
        """Watch signals from here on: none of them is lost, and none interrupts anything."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        handlers: dict[int, Any] = {}
        for number in _WATCHED:
            before = signal.signal(number, signal.SIG_DFL)
            # Under torchrun, which handles them, nothing stays ignored that its caller ignored.
            if before == signal.SIG_IGN:
                before = _STARTED_WITH.get(number, signal.SIG_DFL)
            handlers[int(number)] = before
        return cls(first, handlers, store)

    def fork(
        self, environments: Sequence[Mapping[str, str]], close: Callable[[], None]
    ) -> int | None:
        """Fork one rank for each environment.

        Args:
            environments: of each rank, all of it but where `record` reports.
            close: closes in a rank what is the server's. By the objects that own it: they would
                close whatever has the same number when the rank ends.

        Returns:
            In a rank its number on this node; None in the server.
        """
        with suppress(OSError):  # a full disk is no reason not to train
            self._reports = tempfile.mkdtemp(prefix="ef-ranks-")
        server = os.getpid()
        for local_rank, environment in enumerate(environments):
            pid = os.fork()
            if pid == 0:
                child.die_with(server)
                close()
                report = {"TORCHELASTIC_ERROR_FILE": self._report(local_rank)}
                more = report if self._reports else {}
                child.become_rank({**environment, **more}, self.handlers)
                return local_rank
            self._running[pid] = local_rank
        return None

    def wait(self) -> Failure | int:
        """Return when no rank is left.

        Returns:
            Who failed first; or else 0, or 128 plus the signal that ended this server.
        """
        failure: Failure | None = None
        ended_by, deadline = 0, float("inf")
        while self._running:
            left = deadline - time.monotonic()
            if left <= 0:
                self._signal(signal.SIGKILL)
                deadline = float("inf")
                continue
            told = signal.sigtimedwait(_WATCHED, min(left, 5.0))
            if told is not None and told.si_signo in _ENDS:
                # Slurm's KillWait says how long they may take: a checkpoint may be on its way.
                ended_by = told.si_signo
                self._signal(ended_by)
            failed = self._reap()
            if failed is not None and failure is None and not ended_by:
                failure = failed
                deadline = time.monotonic() + TERM_SECONDS
                self._signal(signal.SIGTERM)
        if self._reports:
            shutil.rmtree(self._reports, ignore_errors=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        if failure is not None:
            return failure
        return 128 + ended_by if ended_by else 0

    def _reap(self) -> Failure | None:
        """Take note of who has ended; the first one that failed."""
        first = None
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            local_rank = self._running.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if pid == self.store and first is None:
                first = Failure(-1, code or 1)
            if code and first is None and local_rank is not None:
                first = Failure(self.first + local_rank, code, self._message(local_rank))
        return first

    def _signal(self, number: int) -> None:
        for pid in self._running:
            with suppress(ProcessLookupError):
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:  # it has not got so far
                    os.kill(pid, number)

    def _report(self, local_rank: int) -> str:
        return os.path.join(self._reports, f"{local_rank}.json")  # noqa: PTH118

    def _message(self, local_rank: int) -> str:
        try:
            with open(self._report(local_rank), encoding="utf-8") as file:  # noqa: PTH123
                message = json.load(file)["message"]
            text = message["message"] if isinstance(message, dict) else message
            return " ".join(str(text).split())[:500]
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def say(text: str) -> None:
    """A line for the job's log."""
    print(f"ef-slurm: {text}", file=sys.stderr, flush=True)


def on_exit(action: Callable[[], None]) -> None:
    """Do something when this rank ends as programs end."""
    import atexit

    def act() -> None:
        with suppress(Exception):  # nothing that the script is to hear of
            action()

    atexit.register(act)
