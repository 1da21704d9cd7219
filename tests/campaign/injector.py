"""Does the faults, several at once, and heals each."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from mini import lifecycle

from tests.campaign.hosts import HostError, Hosts
from tests.campaign.kinds import SLURM, Fault
from tests.campaign.ledger import Done

AT_ONCE = 6
"""Faults in force at the same time."""
SET_ASIDE = 12
"""Faults that wait for what they take, while later ones are done."""
MOMENT_SECONDS = 45.0
"""For which a fault waits for its moment, before it is done all the same."""
POLL_SECONDS = 0.7
HEAL_SECONDS = 180.0
CARE_SECONDS = 20.0


class Injector:
    """One campaign's faults.

    Args:
        every: seconds from one fault to the next, on average.
        tell: is told of each fault once it is healed, and of what went wrong.
        moment: whether now is a moment for a fault; each waits for one, but not for long.
    """

    def __init__(
        self,
        hosts: Hosts,
        every: float,
        tell: Callable[[str, object], None],
        seed: int,
        moment: Callable[[], bool],
    ) -> None:
        self.hosts = hosts
        self.every = every
        self.tell = tell
        self.moment = moment
        self.dice = random.Random(seed)
        self.done: list[Done] = []
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def play(self, faults: Iterator[Fault]) -> None:
        """Do all faults; returns when the last is healed."""
        waiting: list[Fault] = []
        over = threading.Event()
        left = True
        next_at = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE + 1) as pool:
            pool.submit(self._care, over)
            running: set[Future[None]] = set()
            try:
                while left or waiting:
                    time.sleep(max(0.05, next_at - time.monotonic()))
                    self._await_moment()
                    running = {future for future in running if not future.done()}
                    while left and len(waiting) < SET_ASIDE:
                        fault = next(faults, None)
                        if fault is None:
                            left = False
                        else:
                            waiting.append(fault)
                    chosen = self._take(waiting) if len(running) < AT_ONCE else None
                    if chosen is None:
                        continue
                    waiting.remove(chosen)
                    running.add(pool.submit(self._one, chosen))
                    # Behind time, the faults come closer; never all at once.
                    wait = self.every * self.dice.uniform(0.5, 1.5)
                    next_at = max(next_at + wait, time.monotonic() + 0.2)
            finally:
                over.set()

    def _await_moment(self) -> None:
        deadline = time.monotonic() + MOMENT_SECONDS
        while not self.moment() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _take(self, waiting: list[Fault]) -> Fault | None:
        with self._lock:
            for fault in waiting:
                if not fault.takes & self._taken:
                    self._taken |= fault.takes
                    return fault
        return None

    def _one(self, fault: Fault) -> None:
        begun, error = time.time(), ""
        try:
            fault.do()
            time.sleep(fault.seconds)
        except HostError as problem:
            error = f"not done: {problem}"
        deadline = time.monotonic() + HEAL_SECONDS
        while True:
            try:
                fault.heal()
                break
            except HostError as problem:
                if error or time.monotonic() > deadline:
                    error = error or f"not healed: {problem}"
                    break
                time.sleep(1)
        done = Done(fault.kind, fault.where, begun, time.time(), tuple(sorted(fault.stops)), error)
        with self._lock:
            self._taken -= fault.takes
            self.done.append(done)
        self.tell("fault", done)

    def _care(self, over: threading.Event) -> None:
        """What an operator's service manager does: daemons that ended are started again."""
        while not over.wait(CARE_SECONDS):
            try:
                self.care()
            except Exception as problem:
                self.tell("care", f"{type(problem).__name__}: {problem}")

    def care(self) -> None:
        """Start what has ended without a fault that will start it, and resume drained nodes."""
        for host in self.hosts.cluster.hosts:
            if self._busy(host):
                continue
            states = lifecycle.daemon_states(self.hosts.cluster, self.hosts.engine, host)
            for daemon, state in states.items():
                if state.startswith("ended") and not self._busy(host):
                    self.tell("care", f"{daemon} on {host} {state}: started again")
                    self.hosts.start_daemon(host, daemon)
        shown = self.hosts.run("ctl", "timeout 10 sinfo -h -N -p ef -o '%N %T'", check=False)
        for line in shown.splitlines():
            node, _, state = line.partition(" ")
            if "drain" in state and not self._busy(node):
                self.tell("care", f"{node} is {state}: resumed")
                self.hosts.run("ctl", f"scontrol update nodename={node} state=resume", check=False)

    def _busy(self, host: str) -> bool:
        with self._lock:
            return (SLURM if host in ("ctl", "db") else host) in self._taken
