"""Checkpoint directories: written aside, checksummed, made visible by one rename.

Knows nothing of what is in the files. The layout and the promises are those of
`ef_slurm.contract`.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ef_slurm import contract
from ef_slurm.training.patience import patiently
from ef_slurm.training.private import owner_problem

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
MANIFEST_VERSION = 2
"""Rises when checkpoints change. 1: pickled files (`state.pt`)."""
_BLOCK = 1 << 22
_MOST_ASIDE = 10
"""Names for what was set aside of one iteration."""
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})
"""What a rename says where something else is in its place."""


class CorruptCheckpointError(Exception):
    """A checkpoint does not match its manifest."""


class UnreadableCheckpointError(CorruptCheckpointError):
    """A file of a checkpoint cannot be read: it may be damaged, or its disk be away."""


class ForeignCheckpointError(Exception):
    """A checkpoint of another version of ef-slurm: neither used nor set aside."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint is of.

    Args:
        iteration: iterations done, over all launches.
        generation: the launch that saved it, on `world_size` ranks.
        global_batch_size: samples per iteration over all ranks.
        samples: size of the data set; None where the library does not know it.
        seed: of the data order.
        format: `whole` or `sharded` (see `state`).
        model: name of every parameter and buffer → type and shape.
        files: name of every other file → (bytes, CRC-32).
    """

    iteration: int
    generation: int
    world_size: int
    global_batch_size: int
    samples: int | None
    seed: int
    format: str
    model: dict[str, str]
    files: dict[str, tuple[int, int]]


def checksum(path: Path) -> tuple[int, int]:
    """(bytes, CRC-32) of a file, after making it durable.

    Raises:
        OSError: it cannot be read or synced.
    """
    size = crc = 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
            size += len(block)
    return size, crc


def checksums(directory: Path, names: list[str]) -> dict[str, tuple[int, int]]:
    """Checksum of each named file in a directory.

    Raises:
        OSError: as `checksum`.
    """
    return {name: checksum(directory / name) for name in names}


class CheckpointStore:
    """The `checkpoint` directory of a job. Only rank 0 changes what is visible in it.

    Args:
        keep: how many checkpoints stay.
    """

    def __init__(self, directory: Path, keep: int = contract.DEFAULT_KEEP_CHECKPOINTS):
        self.directory = directory
        self._keep = keep

    def path(self, iteration: int) -> Path:
        """Where a visible checkpoint lies."""
        return self.directory / str(iteration)

    def temporary(self, iteration: int, generation: int) -> Path:
        """Where the checkpoint is written before it is visible."""
        return self.directory / f".{iteration}.{generation}.tmp"

    def iterations(self) -> list[int]:
        """Iterations of the visible checkpoints, oldest first."""
        try:
            return self._listed()
        except FileNotFoundError:
            return []

    def _listed(self) -> list[int]:
        return sorted(int(p.name) for p in self.directory.iterdir() if p.name.isdecimal())

    def begin(self, iteration: int, generation: int) -> Path:
        """An empty temporary directory.

        Raises:
            OSError: it cannot be made.
        """
        temporary = self.temporary(iteration, generation)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700, parents=True)
        return temporary

    def commit(self, manifest: Manifest) -> Path:
        """Make the checkpoint visible and durable, then remove what is no longer kept.

        Raises:
            OSError: it cannot be written; what was visible before is still there.
        """
        temporary = self.temporary(manifest.iteration, manifest.generation)
        contract.write_atomic(temporary / MANIFEST, _dump(manifest))
        final = self.path(manifest.iteration)
        if final.exists():
            # Saved before, by a launch that stopped at the same iteration; both are complete.
            shutil.rmtree(temporary, ignore_errors=True)
            return final
        temporary.rename(final)
        contract.fsync_directory(self.directory)
        with contextlib.suppress(OSError):  # this one is saved; the next one looks again
            self._prune()
        return final

    def discard(self, iteration: int, generation: int) -> None:
        """Remove a checkpoint that was begun."""
        shutil.rmtree(self.temporary(iteration, generation), ignore_errors=True)

    def clean(self) -> None:
        """Remove what earlier launches left half-written. Call before the first `begin`."""
        if self.directory.is_dir():
            for path in self.directory.iterdir():
                if path.name.startswith(".") and path.name.endswith(".tmp"):
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)

    def newest_good(self) -> tuple[Manifest | None, int]:
        """The newest checkpoint that matches its manifest, and how many newer ones were set aside.

        Those are renamed to `<n>.corrupt` with a warning. A disk that is away is waited for: what
        cannot be seen is neither absent nor damaged.

        Raises:
            ForeignCheckpointError: the newest is of another version.
            OSError: the directory cannot be read for `patience.PATIENCE_SECONDS`.
        """
        corrupt = 0
        for iteration in reversed(patiently(self._listed)):
            try:
                return self._verify_patiently(iteration), corrupt
            except CorruptCheckpointError as error:
                corrupt += 1
                self.set_aside(iteration, str(error))
        return None, corrupt

    def _verify_patiently(self, iteration: int) -> Manifest:
        def verify() -> Manifest:
            try:
                return self.verify(iteration)
            except UnreadableCheckpointError as error:
                raise OSError(str(error)) from error

        try:
            return patiently(verify)
        except OSError:
            self.path(iteration).lstat()  # raises where its disk is still away
            return self.verify(iteration)

    def verify(self, iteration: int) -> Manifest:
        """The manifest of a checkpoint, all files checked.

        Raises:
            CorruptCheckpointError: a file is missing, does not match or is somebody else's.
            ForeignCheckpointError: it is of another version.
        """
        directory = self.path(iteration)
        _refuse_others(directory, directory)
        _refuse_others(directory, directory / MANIFEST)
        manifest = _load(directory / MANIFEST)
        if manifest.iteration != iteration:
            raise CorruptCheckpointError(
                f"{directory}: the manifest is of iteration {manifest.iteration}"
            )
        for name, expected in manifest.files.items():
            if Path(name).name != name:
                raise CorruptCheckpointError(f"{directory}: {name!r} is no name of a file in it")
            _refuse_others(directory, directory / name)
            try:
                found = checksum(directory / name)
            except OSError as error:
                text = f"{directory}: {name}: {error.strerror}"
                raise UnreadableCheckpointError(text) from None
            if found != expected:
                raise CorruptCheckpointError(
                    f"{directory}: {name} has {found[0]} bytes and checksum {found[1]:08x}, "
                    f"not {expected[0]} and {expected[1]:08x}"
                )
        return manifest

    def set_aside(self, iteration: int, reason: str) -> None:
        """Take a checkpoint that cannot be used out of sight.

        Raises:
            OSError: it cannot be renamed.
        """
        logger.warning("%s; the checkpoint before it is used", reason)
        for number in range(_MOST_ASIDE):
            aside = self.directory / f"{iteration}.corrupt{f'.{number}' if number else ''}"
            shutil.rmtree(aside, ignore_errors=True)
            try:
                self.path(iteration).rename(aside)
            except OSError as error:
                # NFS keeps what somebody has open in a directory that is removed.
                if number + 1 == _MOST_ASIDE or error.errno not in _TAKEN:
                    raise
            else:
                return

    def _prune(self) -> None:
        for iteration in self.iterations()[: -self._keep]:
            # Renamed first: a half-removed directory must not look like a checkpoint.
            gone = self.directory / f".{iteration}.old.tmp"
            with contextlib.suppress(OSError):
                self.path(iteration).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def _refuse_others(checkpoint: Path, path: Path) -> None:
    try:
        problem = owner_problem(path)
    except OSError as error:
        raise UnreadableCheckpointError(f"{checkpoint}: {path.name}: {error.strerror}") from None
    if problem:
        raise CorruptCheckpointError(f"{checkpoint}: {problem}")


def to_plain(manifest: Manifest) -> dict[str, Any]:
    """A manifest as JSON."""
    return {
        "iteration": manifest.iteration,
        "generation": manifest.generation,
        "world_size": manifest.world_size,
        "global_batch_size": manifest.global_batch_size,
        "samples": manifest.samples,
        "seed": manifest.seed,
        "format": manifest.format,
        "model": manifest.model,
        "files": manifest.files,
    }


def from_plain(values: dict[str, Any]) -> Manifest:
    """The manifest of `to_plain`.

    Raises:
        ValueError, TypeError, AttributeError, KeyError: it is none.
    """
    files = {str(name): (int(size), int(crc)) for name, (size, crc) in values["files"].items()}
    return Manifest(**(values | {"files": files}))


def _dump(manifest: Manifest) -> str:
    values = {"version": MANIFEST_VERSION, **to_plain(manifest)}
    # The manifest checks the other files; this line checks the manifest.
    values["checksum"] = _digest(values)
    return json.dumps(values, indent=1) + "\n"


def _load(path: Path) -> Manifest:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        given = values.pop("checksum")
        if given != _digest(values):
            raise CorruptCheckpointError(f"{path}: does not match its own checksum")
        version = values.pop("version")
        if version != MANIFEST_VERSION:
            raise ForeignCheckpointError(
                f"{path}: of version {version}, this ef-slurm knows version {MANIFEST_VERSION}: "
                "go on with the ef-slurm that saved it, or with a new state directory"
            )
        return from_plain(values)
    except OSError as error:
        raise UnreadableCheckpointError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptCheckpointError(f"{path}: not a manifest: {error}") from None


def _digest(values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
