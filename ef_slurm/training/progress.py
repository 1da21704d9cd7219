"""What rank 0 tells the daemon, and when."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ef_slurm.contract import ContractError, Phase, Progress, StateDir

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
"""Seconds between two periodic reports."""
WINDOW_SECONDS = 10.0
"""Seconds over which iterations per second are averaged."""


def process_started_at() -> float | None:
    """When this process was started or forked, UTC epoch seconds; None where that is not told."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def trained_until(state: StateDir, generation: int) -> float | None:
    """When the last iteration before a launch ended, UTC epoch seconds; None where nobody tells.

    The launch before says so where it stopped in good order. One that has trained nothing itself
    knows of the one before it.
    """
    try:
        before = state.read_progress()
    except (OSError, ContractError):
        return None
    if before is None or before.generation > generation:
        return None
    if before.first_iteration_at is None:
        return before.trained_until
    return before.last_iteration_at


class Reporter:
    """Keeps `progress.json` up to date; safe to call from several threads.

    A change of phase is written at once and durably; plain progress at most once per second, off
    the thread that trains. A report that cannot be written is a warning: training matters more.

    Args:
        state: where the report goes; None on all ranks but the first.
        clock: UTC epoch seconds.
        steady: monotonic seconds, for all that is waited for: a node's clock may be set.
        script_iterations, script_global_batch_size: what the script says; see `Progress`.
        software: what it trains with; see `Progress`.
    """

    def __init__(
        self,
        state: StateDir | None,
        generation: int,
        world_size: int,
        clock: Callable[[], float] = time.time,
        *,
        steady: Callable[[], float] = time.monotonic,
        script_iterations: int | None = None,
        script_global_batch_size: int | None = None,
        software: str = "",
    ):
        self._state = state
        self._clock = clock
        self._steady = steady
        now = clock()
        self._progress = Progress(
            generation=generation,
            phase=Phase.STARTING,
            world_size=world_size,
            iteration=0,
            updated_at=now,
            started_at=now,
            script_iterations=script_iterations,
            script_global_batch_size=script_global_batch_size,
            software=software,
            process_started_at=process_started_at(),
            trained_until=None if state is None else trained_until(state, generation),
        )
        self._iterated_at = steady()
        self._samples: deque[tuple[float, int]] = deque()
        self._warned = False
        self._lock = threading.Lock()

    @property
    def progress(self) -> Progress:
        """What was last reported."""
        return self._progress

    def enter(self, phase: Phase, **changes: Any) -> None:
        """Report a phase and whatever else changed, at once."""
        self._write(True, phase=phase, **changes)

    def note(self, **changes: Any) -> None:
        """Report a change within a phase, at once."""
        self._write(True, **changes)

    def iterate(self, iteration: int, first_iteration_at: float | None) -> None:
        """Report iterations done, if that was not done just now.

        Other reports do not count: evaluations may be told of several times a second.
        """
        now = self._steady()
        if now - self._iterated_at < REPORT_SECONDS:
            return
        self._iterated_at = now
        rate = self._rate(now, iteration)
        self._write(
            False,
            iteration=iteration,
            first_iteration_at=first_iteration_at,
            iterations_per_second=rate,
        )

    def _rate(self, now: float, iteration: int) -> float | None:
        samples = self._samples
        samples.append((now, iteration))
        while len(samples) > 2 and samples[1][0] < now - WINDOW_SECONDS:
            samples.popleft()
        then, before = samples[0]
        if iteration == before or now <= then:
            return self._progress.iterations_per_second
        return (iteration - before) / (now - then)

    def _write(self, durable: bool, **changes: Any) -> None:
        with self._lock:
            now = self._clock()
            if changes.get("world_size", self._progress.world_size) != self._progress.world_size:
                self._samples.clear()  # iterations/s at another size are another number
            self._progress = replace(self._progress, updated_at=now, **changes)
            if self._state is None:
                return
            try:
                self._state.write_progress(self._progress, durable=durable)
                self._warned = False
            except OSError as error:
                if not self._warned:
                    logger.warning("progress is not reported: %s", error)
                    self._warned = True
