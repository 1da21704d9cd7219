"""What goes wrong at the daemon's writes and commands, and when."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ef_slurm.contract import Order
from ef_slurm.model import QueueJob
from ef_slurm.queue.errors import QueueFullError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import (
    RefusedError,
    SlurmTimeoutError,
    UnexpectedOutputError,
    UpdateIncompleteError,
)
from ef_slurm.slurm.types import JobUpdate
from tests.fakes.memory_slurm import MemorySlurm

HANG_SECONDS = 30.0
"""How long a command that does not answer is waited for ([slurm] timeout)."""

MOST_COMMANDS = 400
"""Commands of one tick, beyond which it is taken for one that does not end."""

ACTS = frozenset({"hold", "update", "release", "resize", "requeue", "signal", "cancel", "submit"})
ASKS = frozenset({"observe", "job", "nodes", "configuration", "partitions", "licenses", "ended"})


class ViolationError(AssertionError):
    """The daemon broke one of its rules."""


class Killed(BaseException):
    """The daemon's process is gone: no handler may stop it."""


class CommandFault(enum.Enum):
    """What can become of a command."""

    HANGS = "hangs"
    HANGS_DONE = "hangs, and was done"
    REFUSED = "refused"
    HALF_DONE = "half done"
    DONE_REFUSED = "done, and reported as failed"
    GARBLED = "answers in words that nobody knows"


class Point(enum.Enum):
    """Where a kill may be."""

    WRITE = "write"
    PROMISE = "promise"  # a write, from the next promise on
    COMPANION = "companion"  # the write of the n-th companion
    COMMAND = "command"
    ORDER = "order"


@dataclass(slots=True)
class _Kill:
    point: Point
    countdown: int
    after: bool
    command: str = ""


@dataclass(slots=True)
class Faults:
    """What is due at the daemon's next writes and commands.

    Args:
        pass_time: lets so many seconds pass.
    """

    pass_time: Callable[[float], None]
    disk_full: bool = False
    orders_fail: bool = False
    commands: int = 0
    in_transaction: Callable[[], bool] = lambda: False
    _kills: list[_Kill] = field(default_factory=list)
    _command_faults: list[tuple[int, CommandFault]] = field(default_factory=list)
    _act_faults: list[tuple[str, CommandFault]] = field(default_factory=list)
    _during: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def kill_at(self, point: Point, countdown: int, *, after: bool, command: str = "") -> None:
        """The daemon dies there, at the n-th time from now; `command`: of that name only."""
        self._kills.append(_Kill(point, countdown, after, command))

    def promise_begins(self) -> None:
        """A promise is about to be written, and with it all that the plan gives its job."""
        for kill in self._kills:
            if kill.point is Point.PROMISE:
                kill.point = Point.WRITE

    def companion_begins(self) -> None:
        """What is known of a companion is about to be written."""
        for kill in self._kills:
            if kill.point is Point.COMPANION:
                kill.countdown -= 1
                if kill.countdown < 0:
                    kill.point, kill.countdown = Point.WRITE, 0

    def fail_act(self, command: str, fault: CommandFault) -> None:
        """The next command of that name fails."""
        self._act_faults.append((command, fault))

    def fail_command(self, countdown: int, fault: CommandFault) -> None:
        self._command_faults.append((countdown, fault))

    def during(self, countdown: int, what: Callable[[], None]) -> None:
        """Have something happen before the n-th command from now."""
        self._during.append((countdown, what))

    def begin_tick(self) -> None:
        self.commands = 0

    def forget(self) -> None:
        """Nothing of what is still to come comes."""
        self._kills.clear()
        self._command_faults.clear()
        self._act_faults.clear()

    def overdue(self) -> list[Callable[[], None]]:
        """What was to come in the midst of a tick, of which there was none."""
        left, self._during = [what for _, what in self._during], []
        return left

    def around(self, point: Point, work: Callable[[], Any], command: str = "") -> Any:
        """Do something at which the daemon may die."""
        due = None
        for kill in self._kills:
            if kill.point is point and kill.command in ("", command):
                kill.countdown -= 1
                if kill.countdown < 0:
                    due = kill
        if due is not None:
            self._kills.remove(due)
            if not due.after:
                raise Killed
        result = work()
        if due is not None:
            raise Killed
        return result

    def next_fault(self, command: str) -> CommandFault | None:
        """What becomes of the command that is given now."""
        self.commands += 1
        if self.commands > MOST_COMMANDS:
            raise ViolationError(f"more than {MOST_COMMANDS} commands in one tick")
        if self.in_transaction():
            raise ViolationError("a command inside a transaction: nobody else can write")
        waiting, self._during = [(count - 1, what) for count, what in self._during], []
        for count, what in waiting:
            if count > 0:
                self._during.append((count, what))
            else:
                what()
        found = None
        left = []
        for count, fault in self._command_faults:
            if count <= 0 and found is None:
                found = fault
            else:
                left.append((count - 1, fault))
        self._command_faults = left
        aimed = next((each for each in self._act_faults if each[0] == command), None)
        if found is None and aimed is not None:
            self._act_faults.remove(aimed)
            found = aimed[1]
        return found


class FaultySlurm:
    """The daemon's Slurm: what it does may fail, and the daemon may die of it."""

    def __init__(self, slurm: MemorySlurm, faults: Faults, clock: Callable[[], float]) -> None:
        self._slurm = slurm
        self._faults = faults
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._slurm, name)
        if name not in ACTS | ASKS:
            return method
        return lambda *arguments, **how: self._call(name, partial(method, **how), *arguments)

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        fault = self._faults.next_fault(name)
        acts = name in ACTS
        match fault:
            case CommandFault.HANGS:
                self._faults.pass_time(HANG_SECONDS)
                raise SlurmTimeoutError("no answer")
            case CommandFault.REFUSED if acts:
                raise RefusedError("Requested operation is presently disabled")
            case CommandFault.HALF_DONE if acts:
                self._half(name, *arguments)
            case CommandFault.GARBLED if not acts:
                raise UnexpectedOutputError("no JSON")
        result = self._faults.around(Point.COMMAND, lambda: method(*arguments), name)
        if fault is CommandFault.HANGS_DONE or (fault is CommandFault.HALF_DONE and not acts):
            self._faults.pass_time(HANG_SECONDS)
            raise SlurmTimeoutError("no answer")
        if fault is CommandFault.DONE_REFUSED and acts:
            raise RefusedError("Unspecified error")
        if name == "observe":
            return replace(result, at=self._clock())  # by the clock of whoever looks
        return result

    def _half(self, name: str, *arguments: Any) -> None:
        """A part of the effect, then an error."""
        if name == "update":
            job_id, update = arguments
            self._slurm.update(job_id, JobUpdate(shape=update.shape))
            words = "the rest was refused"
            raise UpdateIncompleteError(words, differences=(words,))
        if name == "requeue":
            self._slurm.requeue(arguments[0])
            self._slurm.release(arguments[0])  # requeued, and not held
        self._faults.pass_time(HANG_SECONDS)
        raise SlurmTimeoutError("no answer")


def watched(queue: Queue, faults: Faults) -> Queue:
    """The queue, at whose commits the daemon may die, and whose disk may be full."""
    database = queue._database
    plain = database._run

    def run(sql: str, values: Any = ()) -> Any:
        if sql.startswith("INSERT INTO promises"):
            faults.promise_begins()
        elif sql.startswith("UPDATE companions"):
            faults.companion_begins()
        if sql != "COMMIT":
            return plain(sql, values)
        if faults.disk_full:
            raise QueueFullError("no space left; nothing was written")
        return faults.around(Point.WRITE, lambda: plain(sql, values))

    database._run = run  # type: ignore[method-assign]
    return queue


def order(faults: Faults, write: Callable[[QueueJob, Order], None]) -> Any:
    """The daemon's way to leave an order, at which it may die, or fail."""

    def leave(job: QueueJob, order: Order) -> None:
        if faults.orders_fail:
            raise OSError(28, "No space left on device", job.request.state_dir)
        faults.around(Point.ORDER, lambda: write(job, order))

    return leave
