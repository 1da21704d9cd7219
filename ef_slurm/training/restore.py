"""Going on from the newest checkpoint that all ranks can read."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ef_slurm.training import random_states
from ef_slurm.training.checkpoint import (
    MANIFEST,
    CheckpointStore,
    ForeignCheckpointError,
    Manifest,
    from_plain,
    to_plain,
)
from ef_slurm.training.patience import patiently
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.state import Snapshot, restore_rng, seed_rng


class NotOursError(Exception):
    """A checkpoint is of another training, or of another version of ef-slurm; it is left alone."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Args:
        manifest: of the checkpoint; None where there is none.
        corrupt: checkpoints set aside.
        seconds: what it took the slowest rank, as far as this one knows.
    """

    manifest: Manifest | None
    corrupt: int
    seconds: float


def restore(
    ranks: Ranks, store: CheckpointStore, snapshot: Snapshot, wanted: Mapping[str, Any], seed: int
) -> Restored:
    """Put the state of the newest good checkpoint back. All ranks call this.

    Args:
        wanted: what the checkpoint's manifest must say, by field.
        seed: of random numbers at another world size than the checkpoint's.

    Raises:
        NotOursError: on all ranks; nothing was changed.
        OSError, RanksError: the disk is away, of this rank or of rank 0; nothing was changed.
    """
    began = time.monotonic()
    corrupt = attempt = 0
    manifest: Manifest | None = None
    while True:
        attempt += 1
        key = f"restore/{attempt}"
        if ranks.first:
            ranks.publish(key, _newest_good(store))
        found, skipped, problem = ranks.fetch(key)
        corrupt += skipped
        if problem:
            raise NotOursError(problem)
        if found is None:
            break
        manifest = from_plain(found)
        directory = store.path(manifest.iteration)
        _check(directory, manifest, wanted)
        loaded, rng, error = _read(ranks, snapshot, directory, manifest)
        ranks.post(f"{key}/read", error)
        if ranks.first:
            errors = [text for text in ranks.gather(f"{key}/read") if text]
            if errors:
                store.set_aside(manifest.iteration, errors[0])
            ranks.publish(f"{key}/errors", len(errors))
        if ranks.fetch(f"{key}/errors"):
            corrupt += 1
            manifest = None
            continue
        snapshot.apply(loaded)
        if rng is None:
            seed_rng(seed, manifest.iteration, ranks.rank)
        else:
            restore_rng(rng)
        break
    seconds = time.monotonic() - began
    ranks.post("restored", seconds)
    if ranks.first:
        seconds = max(ranks.gather("restored"))
    return Restored(manifest, corrupt, seconds)


def _newest_good(store: CheckpointStore) -> tuple[dict[str, Any] | None, int, str]:
    """(the manifest as plain data, checkpoints set aside, what forbids to go on)."""
    try:
        manifest, skipped = store.newest_good()
    except ForeignCheckpointError as error:
        return None, 0, str(error)
    return None if manifest is None else to_plain(manifest), skipped, ""


def _check(where: Path, manifest: Manifest, wanted: Mapping[str, Any]) -> None:
    names = {"global_batch_size": "global batch size", "samples": "data set size"}
    for field, expected in wanted.items():
        saved = getattr(manifest, field)
        if saved == expected:
            continue
        if field == "model":
            raise NotOursError(f"{where} is of another model: {_difference(saved, expected)}")
        raise NotOursError(
            f"{where} was saved with {names.get(field, field)} {saved}, this run has {expected}"
        )


def _read(
    ranks: Ranks, snapshot: Snapshot, directory: Path, manifest: Manifest
) -> tuple[Any, dict[str, Any] | None, str]:
    """(state, this rank's random state if the ranks are as many, why they cannot be read).

    Raises:
        OSError: its disk is away.
    """

    def read() -> tuple[Any, dict[str, Any] | None]:
        same = manifest.world_size == ranks.world_size
        rng = random_states.read(directory, ranks.rank) if same else None
        return snapshot.read(directory), rng

    try:
        return *patiently(read), ""
    except Exception as error:
        if isinstance(error, OSError):
            # Rank 0 has just read all of it: not to be seen from here, it is not damaged.
            (directory / MANIFEST).stat()
        return None, None, f"{type(error).__name__}: {error}".splitlines()[0]


def _difference(saved: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The first names that differ, for a person."""
    differences = []
    for name in sorted({*saved, *now}):
        if saved.get(name) != now.get(name):
            differences.append(
                f"{name} is {now.get(name, 'missing')}, saved {saved.get(name, 'without')}"
            )
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return "; ".join(differences[:3]) + more
