"""Saving a checkpoint together: captured while training stands still, written while it goes on."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ef_slurm.training import random_states
from ef_slurm.training.checkpoint import CheckpointStore, Manifest, checksums
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.state import Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Saved:
    """How a save went.

    Args:
        error: in one line; "" when the checkpoint is durable.
        seconds: from the decision to the rename.
        stall_seconds: how long training stood still, on this rank.
    """

    iteration: int
    error: str
    seconds: float
    stall_seconds: float


class Saver:
    """Saves checkpoints of one launch. Every rank calls `begin` at the same iterations.

    Args:
        manifest: of an iteration and the checksums of its files.
        saved: called on the saving thread with how each save went.
    """

    def __init__(
        self,
        store: CheckpointStore,
        ranks: Ranks,
        snapshot: Snapshot,
        manifest: Callable[[int, dict[str, tuple[int, int]]], Manifest],
        generation: int,
        saved: Callable[[Saved], None],
    ):
        self._store = store
        self._ranks = ranks
        self._snapshot = snapshot
        self._manifest = manifest
        self._generation = generation
        self._on_saved = saved
        self._thread: threading.Thread | None = None
        self._result: Saved | None = None
        self._last_begin = time.monotonic()

    def use(self, ranks: Ranks) -> None:
        """Go on among these ranks; no save is under way."""
        self._ranks = ranks

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the state that was saved last, or since the start; 0 during a save."""
        return 0.0 if self.busy else time.monotonic() - self._last_begin

    def begin(self, iteration: int) -> None:
        """Capture the state now and write it in the background.

        Raises:
            StateError: something in it cannot be kept.
        """
        self.wait()
        began = self._last_begin = time.monotonic()
        captured = self._snapshot.capture(self._ranks.rank)
        rng = random_states.pack()
        stall = time.monotonic() - began
        # A daemon thread: a process that fails must not wait for ranks that are gone.
        self._thread = threading.Thread(
            target=self._run,
            args=(iteration, captured, rng, began, stall),
            name="ef-slurm-save",
            daemon=True,
        )
        self._thread.start()

    def wait(self) -> Saved | None:
        """Wait for the save in progress; how the last one went."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self._result

    def _run(self, iteration: int, captured: Any, rng: str, began: float, stall: float) -> None:
        try:
            error = self._save(iteration, captured, rng)
        except Exception as failure:
            error = _describe(failure)
        self._result = Saved(iteration, error, time.monotonic() - began, stall)
        self._on_saved(self._result)

    def _save(self, iteration: int, captured: Any, rng: str) -> str:
        """The error, the same on all ranks; empty when the checkpoint is visible."""
        ranks, key = self._ranks, f"save/{iteration}"
        if ranks.first:
            ranks.publish(f"{key}/begun", _attempt(lambda: self._begin(iteration)))
        error: str = ranks.fetch(f"{key}/begun")
        if error:
            return error
        temporary = self._store.temporary(iteration, self._generation)
        written: dict[str, tuple[int, int]] = {}

        def write() -> None:
            names = self._snapshot.write(captured, temporary, ranks.rank)
            written.update(checksums(temporary, names))

        error = _attempt(write)
        ranks.post(f"{key}/part", {"error": error, "files": written, "rng": rng})
        if ranks.first:
            ranks.publish(f"{key}/done", self._finish(iteration, temporary))
        done: str = ranks.fetch(f"{key}/done")
        return done

    def _begin(self, iteration: int) -> None:
        self._store.begin(iteration, self._generation)

    def _finish(self, iteration: int, temporary: Path) -> str:
        parts = self._ranks.gather(f"save/{iteration}/part")
        errors = [part["error"] for part in parts if part["error"]]
        if not errors:
            files = {
                name: (size, crc) for part in parts for name, (size, crc) in part["files"].items()
            }

            def commit() -> None:
                name = random_states.write(temporary, [part["rng"] for part in parts])
                files.update(checksums(temporary, [name]))
                self._store.commit(self._manifest(iteration, files))

            errors = [error] if (error := _attempt(commit)) else []
        if errors:
            self._store.discard(iteration, self._generation)
            return str(errors[0])
        return ""


def _attempt(action: Callable[[], None]) -> str:
    """Do it; what went wrong, in one line, or nothing."""
    try:
        action()
    except Exception as error:
        return _describe(error)
    return ""


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
