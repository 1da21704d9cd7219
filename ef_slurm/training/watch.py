"""Noticing that training should stop or be saved, and agreeing on the iteration.

One background thread per rank; the thread that trains only compares two integers at the end of an
iteration. The agreement:

1. Rank 0 publishes request n (save, or stop).
2. Every rank's thread sees it, promises not to go beyond iteration h = the one in progress (for a
   save: a little later, so that nobody has to wait) and posts h.
3. Rank 0 publishes K, the greatest h. Every rank goes on to K and acts there.

A rank that reaches its h before K is known waits for it. No rank can be beyond K, since every h is
at least that rank's iteration in progress; and nobody waits for ever, since all posts are made by
threads that wait for no iteration.
"""

import enum
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

from ef_slurm.contract import Action, ContractError, Order, StateDir
from ef_slurm.training import term_ignored
from ef_slurm.training.next_launch import NextLaunch
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks, wait_until

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.1
"""Seconds between two looks at orders, signals and requests."""
SAVE_MARGIN_SECONDS = 0.5
"""Seconds ahead at which a save is agreed, so that all ranks know before they get there."""
TERM_WAIT_SECONDS = 8.0
"""Seconds after TERM in which the ranks agree or have died: it takes them a few polls."""


class Kind(enum.Enum):
    """What is asked of the training."""

    SAVE = "save"
    STOP = "stop"
    FINISH = "finish"  # the script wants no more iterations
    RESIZE = "resize"  # go on in another process group


@dataclass(frozen=True, slots=True)
class Request:
    """What is to happen, and why.

    Args:
        plan: with `RESIZE`: how to go on, as plain data (`roster.Plan`).
    """

    kind: Kind
    reason: str
    plan: Any = None


class Changes(Protocol):
    """On rank 0: what live changes there are to be.

    Whatever looks at files may raise `OSError`, and is asked again.
    """

    def look(self, iteration: int, at: float) -> None:
        """Called several times a second.

        Args:
            iteration: iterations done.
            at: monotonic seconds when the last of them ended.
        """

    def due(self, order: Order | None) -> Request | None:
        """The change that is due now; None for none that can be made.

        Args:
            order: to change the size, if there is one.
        """

    def without(self, members: Sequence[int]) -> Request | None:
        """The change that goes on without members that Slurm ends; None: the launch ends."""


class Meeting:
    """Where the training thread and the watching thread of one rank meet."""

    def __init__(self, iteration: int):
        self._lock = threading.Lock()
        self._mark = iteration, time.monotonic()
        self._hold: float = math.inf
        self._decided: Request | None = None

    @property
    def mark(self) -> tuple[int, float]:
        """Iterations done, and monotonic seconds when the last of them ended."""
        return self._mark

    @property
    def busy(self) -> bool:
        """Whether a request is not yet acted on."""
        return self._hold != math.inf

    def arrive(self, iteration: int) -> Request | None:
        """Called by the training thread after each iteration: what to do now, mostly nothing.

        Raises:
            TimeoutError: the other ranks do not agree.
        """
        with self._lock:
            self._mark = iteration, time.monotonic()
            if iteration < self._hold:
                return None
        if not wait_until(lambda: self._decided is not None):
            raise TimeoutError("the ranks did not agree on an iteration to stop at")
        with self._lock:
            if iteration < self._hold:
                return None
            request, self._decided, self._hold = self._decided, None, math.inf
            return request

    def promise(self, margin: int) -> int:
        """Called by the watching thread: hold at a coming iteration, and which."""
        with self._lock:
            hold = self._mark[0] + 1 + margin
            self._hold = hold
            return hold

    def decide(self, iteration: int, request: Request) -> None:
        """Called by the watching thread: all ranks act at this iteration."""
        with self._lock:
            self._hold = iteration
            self._decided = request


class Signals:
    """What happens on a signal: TERM is noted, the contract's own is ignored.

    Rank 0 reads the order file more often than a signal could matter, and ignoring is what child
    processes inherit.

    Attributes:
        terminated_at: monotonic seconds of the first TERM; None before.
    """

    def __init__(self, stop_signal: str):
        self.terminated_at: float | None = None
        self._previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._set(signal.SIGTERM, self._on_term)
            term_ignored.by_fork_servers()
            own = getattr(signal, f"SIG{stop_signal}", None)
            if own is not None and own != signal.SIGTERM:
                self._set(own, signal.SIG_IGN)

    @property
    def terminated(self) -> bool:
        """Whether there was a TERM."""
        return self.terminated_at is not None

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _set(self, number: int, handler: Any) -> None:
        self._previous[number] = signal.signal(number, handler)

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        if self.terminated_at is None:
            self.terminated_at = time.monotonic()


class Watcher:
    """The watching thread of one rank."""

    def __init__(
        self,
        ranks: Ranks,
        meeting: Meeting,
        signals: Signals,
        reporter: Reporter,
        state: StateDir,
        generation: int,
        save_due: Callable[[], bool],
        first_iteration_at: Callable[[], float | None],
        changes: Changes | None = None,
        next_launch: Path | None = None,
    ):
        self._changes = changes
        self._next_launch = NextLaunch(next_launch)
        self._ranks = ranks
        self._meeting = meeting
        self._signals = signals
        self._reporter = reporter
        self._state = state
        self._generation = generation
        self._save_due = save_due
        self._first_iteration_at = first_iteration_at
        self._closed = threading.Event()
        self._term_published = False
        self._complained = self._unseen = ""
        self._speed = _Speed()
        self._thread = threading.Thread(target=self._run, name="ef-slurm-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and wait for its end."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def finish(self, reason: str) -> None:
        """The script wants no more iterations: the ranks are to agree on the last one.

        Called by the training thread.

        Raises:
            TimeoutError: they do not.
        """
        self._ranks.post("finish", reason)
        # Otherwise a fast rank would go on for as long as the others need to hear of it.
        if not wait_until(lambda: self._meeting.busy or self._closed.is_set()):
            raise TimeoutError("the ranks did not agree on a last iteration")

    def _run(self) -> None:
        number = 1
        while not self._closed.wait(POLL_SECONDS):
            try:
                request = self._look(number)
                if request is not None:
                    number += 1
                    if request.kind is not Kind.SAVE:
                        return
            except Exception:
                self._lose_peers()
                return

    def _hopeless(self) -> bool:
        since = self._signals.terminated_at
        return self._closed.is_set() or (
            since is not None and time.monotonic() - since > TERM_WAIT_SECONDS
        )

    def _lose_peers(self) -> None:
        """Other ranks do not answer: they died, and torchrun or Slurm takes this one down too.

        After TERM nothing is left to wait for: the training thread may hang in a collective, and
        whoever sent TERM would wait for its own time-out before it kills.
        """
        if self._closed.is_set():
            return
        if self._signals.terminated_at is not None:
            os._exit(128 + signal.SIGTERM)
        logger.exception("other ranks do not answer; orders are no longer noticed")

    def _look(self, number: int) -> Request | None:
        """One round; the request that was agreed on, if any."""
        iteration, at = self._meeting.mark
        self._speed.see(time.monotonic(), iteration)
        if self._ranks.first:
            self._reporter.iterate(iteration, self._first_iteration_at())
            changes = self._changes
            if changes is not None:
                self._seen(lambda: changes.look(iteration, at))
        if self._signals.terminated_at is not None and not self._term_published:
            self._ranks.post("term")
            self._term_published = True
        if self._meeting.busy:
            return None
        key = f"request/{number}"
        if self._ranks.first:
            wanted = self._seen(self._wanted)
            if wanted is not None:
                self._ranks.publish(key, [wanted.kind.value, wanted.reason, wanted.plan])
        if not self._ranks.known(key):
            return None
        kind, reason, plan = self._ranks.fetch(key)
        request = Request(Kind(kind), str(reason), plan)
        self._agree(number, request)
        return request

    def _seen(self, look: Callable[[], T]) -> T | None:
        """What a look at the job's files tells; None while their disk is away, which passes."""
        try:
            return look()
        except OSError as error:
            if str(error) != self._unseen:
                logger.warning("the files of the job cannot be seen: %s", error)
                self._unseen = str(error)
            return None

    def _agree(self, number: int, request: Request) -> None:
        ahead = request.kind in (Kind.SAVE, Kind.RESIZE)
        margin = self._speed.iterations(SAVE_MARGIN_SECONDS) if ahead else 0
        self._ranks.post(f"hold/{number}", self._meeting.promise(margin))
        if self._ranks.first:
            holds = self._ranks.gather(f"hold/{number}", self._hopeless)
            self._ranks.publish(f"decision/{number}", max(holds))
        decision = self._ranks.fetch(f"decision/{number}", self._hopeless)
        if self._ranks.first and request.kind is Kind.RESIZE:
            self._reporter.note(change_iteration=int(decision))
        self._meeting.decide(int(decision), request)

    def _wanted(self) -> Request | None:
        """What rank 0 wants of all ranks now."""
        terminated = self._ranks.posted("term")
        if terminated:
            change = self._changes.without(terminated) if self._changes is not None else None
            return change or Request(Kind.STOP, "TERM from Slurm")
        if self._ranks.posted("finish"):
            return Request(Kind.FINISH, str(self._ranks.said("finish") or ""))
        try:
            order = self._state.read_order()
        except (ContractError, OSError) as error:
            if str(error) != self._complained:
                logger.warning("the order is not understood: %s", error)
                self._complained = str(error)
            order = None
        if order is not None and order.generation != self._generation:
            order = None
        awaited = self._next_launch.is_awaited(order)
        stops = order is not None and order.action in (Action.STOP, Action.RELAUNCH)
        if order is not None and stops and not awaited:
            return Request(Kind.STOP, order.reason or "order")
        if self._changes is not None:
            resize = order is not None and order.action is Action.RESIZE
            change = self._changes.due(order if resize else None)
            if change is not None:
                return change
        if self._save_due():
            return Request(Kind.SAVE, "interval")
        return None


class _Speed:
    """Iterations per second over about the last second."""

    def __init__(self) -> None:
        self._at = 0.0
        self._iteration = 0
        self._rate = 0.0

    def see(self, now: float, iteration: int) -> None:
        if now - self._at >= 1.0:
            if self._at:
                self._rate = (iteration - self._iteration) / (now - self._at)
            self._at, self._iteration = now, iteration

    def iterations(self, seconds: float) -> int:
        return math.ceil(self._rate * seconds)
