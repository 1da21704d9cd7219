"""The training of the campaign: iterations are sleeps, checkpoints are saved every few seconds.

It honours the contract as `tests/cluster/daemon_pacer.py` does, and two things more: it saves while
it trains, and it writes its life down on a disk that no fault reaches, one line a fact:

    start PROCESS GENERATION ITERATION TIME     it goes on from the checkpoint of that iteration
    saved PROCESS GENERATION ITERATION TIME     a checkpoint is durable
    alive PROCESS GENERATION ITERATION TIME     a second of training
    finished, stopped, not-saved (the same)     it leaves of its own will
    unusable (the same)                         it gives up for good (`elastic` alone)

The process is HOST:PID. A disk that is full or gone is waited for, as `ef_slurm.training` does it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.contract import ContractError, Exit, JobEnvironment, Phase, Progress, StateDir
from tests.cluster.daemon_pacer import follow, stop_ordered

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 60.0
"""How long a disk may be gone before a training gives up."""


@dataclass
class Trace:
    """What the training writes down of its life."""

    path: Path
    generation: int

    def tell(self, what: str, iteration: int) -> None:
        who = f"{socket.gethostname()}:{os.getpid()}"
        line = f"{what} {who} {self.generation} {iteration} {time.time():.3f}"
        with self.path.open("a", encoding="ascii") as file:
            file.write(f"{line}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", required=True, help="GPUs:iterations/s, as ef-sbatch has them")
    parser.add_argument("--save-every", type=float, default=3.0, help="seconds")
    parser.add_argument("--trace", type=Path, required=True)
    options = parser.parse_args()
    rates = rates_of(options.rates)
    environment = JobEnvironment.read(os.environ)
    assert environment.state_dir is not None
    directory = StateDir(environment.state_dir, environment.order_file)
    if int(os.environ.get("SLURM_PROCID", "0")):
        return patiently(lambda: follow(directory, environment.generation))
    gpus = int(os.environ["EF_NUM_NODES"]) * int(os.environ["EF_GPUS_PER_NODE"])
    trace = Trace(options.trace, environment.generation)
    return Training(directory, environment, gpus, rates[gpus], trace).run(options.save_every)


def rates_of(text: str) -> dict[int, float]:
    """Iterations/s by GPUs."""
    return {int(n): float(r) for n, r in (pair.split(":") for pair in text.split(","))}


def patiently(act: Callable[[], int]) -> int:
    """Do it again while a disk is full or gone.

    Raises:
        OSError, ContractError: it is still so after a minute.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except (OSError, ContractError):
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


@dataclass
class Training:
    """One launch of a training."""

    directory: StateDir
    environment: JobEnvironment
    gpus: int
    rate: float
    trace: Trace

    def run(self, save_every: float) -> int:
        """Train until the end or an order to stop; the exit code."""
        terminated: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))
        signal.signal(signal.SIGUSR2, lambda *_: None)
        self.base = patiently(self.newest)
        self.saved = self.base
        self.started = time.time()
        began = time.monotonic()
        self.trace.tell("start", self.base)
        total = self.environment.iterations or 0
        told = saved_at = began
        while True:
            now = time.monotonic()
            iteration = min(total, self.base + int((now - began) * self.rate))
            if now - told >= 1:
                told = now
                self.trace.tell("alive", iteration)
            if iteration >= total:
                patiently(lambda: self.leave(Phase.FINISHED, total, Exit.FINISHED))
                self.trace.tell("finished", total)
                return Exit.FINISHED
            if terminated or self.is_stopped():
                return self.stop(iteration)
            try:
                if now - saved_at >= save_every:
                    saved_at = now
                    self.save(iteration)
                self.report(Phase.RUNNING, iteration)
            except OSError:
                pass  # the disk is full or gone: the next report or checkpoint may get through
            time.sleep(POLL_SECONDS)

    def is_stopped(self) -> bool:
        try:
            return stop_ordered(self.directory.read_order(), self.environment.generation)
        except (OSError, ContractError):
            return False

    def stop(self, iteration: int) -> int:
        """Save, and leave; with the newest checkpoint there is where a new one cannot be had."""
        deadline = time.monotonic() + 5
        while True:
            try:
                self.report(Phase.STOPPING, iteration, stop=iteration)
                self.save(iteration)
            except OSError:
                if time.monotonic() > deadline:
                    self.trace.tell("not-saved", self.saved)
                    return Exit.NOT_SAVED
                time.sleep(POLL_SECONDS)
            else:
                break
        patiently(lambda: self.leave(Phase.STOPPED, iteration, Exit.STOPPED))
        self.trace.tell("stopped", iteration)
        return Exit.STOPPED

    def leave(self, phase: Phase, iteration: int, code: Exit) -> int:
        self.report(phase, iteration, code=code, stop=iteration if phase is Phase.STOPPED else None)
        return 0

    def report(
        self, phase: Phase, iteration: int, *, code: Exit | None = None, stop: int | None = None
    ) -> None:
        first = self.started + 1 / self.rate
        self.directory.write_progress(
            Progress(
                generation=self.environment.generation,
                phase=phase,
                world_size=self.gpus,
                iteration=iteration,
                updated_at=time.time(),
                started_at=self.started,
                first_iteration_at=first if time.time() >= first else None,
                iterations_per_second=self.rate,
                checkpoint_iteration=self.saved,
                stop_iteration=stop,
                exit_code=None if code is None else int(code),
            ),
            durable=phase is not Phase.RUNNING,
        )

    def save(self, iteration: int) -> None:
        """A checkpoint is there whole or not at all; the two newest stay.

        Raises:
            OSError: the disk is full or gone; those before are untouched.
        """
        place = self.directory.checkpoints
        place.mkdir(exist_ok=True)
        new = place / f".{iteration}.{self.environment.generation}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        with (new / "state").open("wb") as file:
            file.write(b"%d\n" % iteration + bytes(20_000))
            file.flush()
            os.fsync(file.fileno())
        if not (place / str(iteration)).exists():
            new.rename(place / str(iteration))
        self.saved = iteration
        self.trace.tell("saved", iteration)
        for older in sorted(all_checkpoints(place))[:-2]:
            shutil.rmtree(place / str(older), ignore_errors=True)

    def newest(self) -> int:
        """The iteration of the newest checkpoint; 0 where there is none.

        Raises:
            OSError: the state directory is gone.
        """
        self.directory.path.stat()
        place = self.directory.checkpoints
        return max(all_checkpoints(place), default=0) if place.is_dir() else 0


def all_checkpoints(place: Path) -> list[int]:
    return [int(path.name) for path in place.iterdir() if path.name.isdecimal()]


if __name__ == "__main__":
    sys.exit(main())
