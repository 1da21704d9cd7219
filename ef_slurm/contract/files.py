"""The files of a job, its own and the daemon's: read, and replaced whole."""

import enum
import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ef_slurm.contract.decode import MAX_BYTES, Record, decode, decode_count, most_of, one_line
from ef_slurm.contract.records import VERSION, Companion, Launch, Order, Progress


@dataclass(frozen=True, slots=True)
class StateDir:
    """The state directory of one job, the files in it, and where its orders lie.

    Args:
        path: the directory.
        orders: the file with the job's orders. None: `order.json` in the directory, as a training
            finds it that was not started by a batch script of this version.
    """

    path: Path
    orders: Path | None = None

    @property
    def generation_file(self) -> Path:
        return self.path / "generation"

    @property
    def launch_file(self) -> Path:
        return self.path / "launch.json"

    @property
    def order_file(self) -> Path:
        return self.path / "order.json" if self.orders is None else self.orders

    @property
    def progress_file(self) -> Path:
        return self.path / "progress.json"

    @property
    def companion_file(self) -> Path:
        return self.path / "companion.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    def generation(self) -> int:
        """The number of the newest launch; 0 before the first.

        Raises:
            ContractError: the file holds no number.
        """
        data = _read_bytes(self.generation_file)
        return 0 if data is None else decode_count(data, str(self.generation_file))

    def read_order(self) -> Order | None:
        """The order in force, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.order_file, Order)

    def read_progress(self) -> Progress | None:
        """What rank 0 last reported, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.progress_file, Progress)

    def read_launch(self) -> Launch | None:
        """What the batch script last reported, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.launch_file, Launch)

    def read_companion(self) -> Companion | None:
        """The companion that the batch script last submitted, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.companion_file, Companion)

    def write_order(self, order: Order) -> None:
        """Replace the order atomically and durably.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
        write_atomic(self.order_file, dump(order))

    def write_progress(self, progress: Progress, *, durable: bool = True) -> None:
        """Replace the report atomically.

        Args:
            durable: False for a periodic report, which the next one replaces: no fsync.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
        write_atomic(self.progress_file, dump(progress), durable=durable)

    def write_launch(self, launch: Launch) -> None:
        """Replace the report atomically and durably.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
        write_atomic(self.launch_file, dump(launch))

    def write_companion(self, companion: Companion) -> None:
        """Replace the report atomically and durably.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
        write_atomic(self.companion_file, dump(companion))


def order_file(root: Path, uid: int, state_dir: str) -> Path:
    """Where the orders of a job lie: in a directory of its own that only the daemon writes.

    The name follows from what no other user can have: the owner and the state directory. It stays
    when Slurm loses the job and it gets another id, and no recycled id brings an old order back.

    Args:
        root: the site's directory of orders (`jobs.order_root`).
        uid: the owner's.
        state_dir: as the job was submitted with it.
    """
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    return root / f"{uid}-{digest}" / "order.json"


def write_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace the file `path` by `text`: temporary file, fsync, rename, fsync of the directory.

    Raises:
        OSError: it cannot be written; the old file is untouched.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_file(directory, path.name, text, durable=durable)
    finally:
        os.close(directory)


def replace_file(
    directory: int, name: str, text: str, *, mode: int = 0o644, durable: bool = True
) -> None:
    """Replace one file of a directory. No link is followed, and nobody can have put one there.

    Args:
        directory: open.
        name: of the file in it.
        mode: of the file. Daemon and job may be different users; the directory decides who gets in.
        durable: on disk, with its name, before it returns.

    Raises:
        OSError: it cannot be written; the old file is untouched.
    """
    temporary = f".{name}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            os.fchmod(descriptor, mode)
            if durable:
                file.flush()
                os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(temporary, dir_fd=directory)
        raise
    if durable:
        os.fsync(directory)


def fsync_directory(path: Path) -> None:
    """Make renames inside the directory durable.

    Raises:
        OSError: it cannot be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def dump(record: Order | Progress | Launch | Companion) -> str:
    """The text of a file: one key per line, so that a shell script can read it.

    Texts are cut as `decode` would: of a file that is too long nothing at all is read.
    """
    values: dict[str, Any] = {"version": VERSION}
    for key, value in asdict(record).items():
        if isinstance(value, enum.Enum):
            values[key] = value.value
        else:
            values[key] = one_line(value, most_of(key)) if isinstance(value, str) else value
    return json.dumps(values, indent=1) + "\n"


def _read_bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None


def _read(path: Path, kind: type[Record]) -> Record | None:
    data = _read_bytes(path)
    return None if data is None else decode(kind, data, str(path))
