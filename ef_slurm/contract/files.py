"""The files of a job, its own and the daemon's: read, and replaced whole."""

import enum
import hashlib
import json
import os
import secrets
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from ef_slurm.contract.records import VERSION, ContractError, Launch, Order, Progress


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
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    def generation(self) -> int:
        """The number of the newest launch; 0 before the first.

        Raises:
            ContractError: the file holds no number.
        """
        text = _read_text(self.generation_file)
        if text is None or not text.strip():
            return 0
        try:
            return int(text)
        except ValueError:
            raise ContractError(
                f"{self.generation_file}: {text.strip()!r} is not an integer"
            ) from None

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


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def dump(record: Order | Progress | Launch) -> str:
    """The text of a file: one key per line, so that a shell script can read it."""
    values: dict[str, Any] = {"version": VERSION}
    for key, value in asdict(record).items():
        values[key] = value.value if isinstance(value, enum.Enum) else value
    return json.dumps(values, indent=1) + "\n"


Record = TypeVar("Record", Order, Progress, Launch)


def _read(path: Path, kind: type[Record]) -> Record | None:
    text = _read_text(path)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ContractError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ContractError(f"{path}: expected an object")
    if values.get("version") != VERSION:
        raise ContractError(
            f"{path}: version {values.get('version')!r}, this ef-slurm knows version {VERSION}"
        )
    hints = get_type_hints(kind)
    found = {
        field.name: _convert(path, field.name, values[field.name], hints[field.name])
        for field in fields(kind)
        if field.name in values
    }
    try:
        return kind(**found)
    except TypeError:
        missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in found]
        raise ContractError(f"{path}: without {', '.join(missing)}") from None


def _convert(path: Path, key: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint` (int, float, str or an enum, possibly `| None`)."""
    optional = get_args(hint)
    if optional:
        if value is None:
            return None
        hint = optional[0]
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in hint)
            raise ContractError(f"{path}: {key}: {value!r} is none of {known}") from None
    accepted = (int, float) if hint is float else (hint,)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, accepted):
        raise ContractError(f"{path}: {key}: {value!r} is not of type {hint.__name__}")
    return hint(value)
