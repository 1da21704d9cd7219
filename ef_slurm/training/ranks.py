"""How the ranks of one launch talk beside the training itself.

Collectives would cost every iteration and must be issued by all ranks in the same order. Messages
do neither: rank 0 tells all others, each of them tells rank 0, and what came is kept under its key
until it is asked for. They are plain data (JSON), and authenticated with a secret that rank 0 makes
for this launch and leaves in a file that only the job's owner can read (`links`, `messages`).
"""

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm.training.interface import launch_address
from ef_slurm.training.links import Hub, Links, Spoke

RANK_WAIT_SECONDS = 1800.0
"""Seconds a rank waits for another (which may be reading a large checkpoint)."""
LOST_SECONDS = 10.0
"""Seconds without a connection after which another rank is taken for dead."""

_NONCE = 16


class RanksError(Exception):
    """The ranks cannot talk; the text says why.

    Attributes:
        told: whether another rank says so already.
    """

    def __init__(self, text: str, told: bool = False):
        super().__init__(text)
        self.told = told


class Inbox:
    """Messages by key, for any thread."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._changed = threading.Condition()

    def put(self, key: str, value: Any) -> None:
        """Keep a message, and wake who waits for it."""
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def __contains__(self, key: str) -> bool:
        with self._changed:
            return key in self._values

    def get(self, key: str) -> Any:
        """A message that is there."""
        with self._changed:
            return self._values[key]

    def take(self, key: str) -> Any:
        """A message that is there, which is then forgotten."""
        with self._changed:
            return self._values.pop(key)

    def wait(self, key: str, seconds: float) -> bool:
        """Whether the message came within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: key in self._values, timeout=seconds)


class Ranks:
    """This process among its peers: rank, world size, and messages by key.

    Every key is written once. Safe to use from several threads. On a world of several ranks,
    `open` comes first.
    """

    def __init__(self, rank: int, world_size: int):
        self.rank = rank
        self.world_size = world_size
        self._inbox = Inbox()
        self._links: Links | None = None

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def open(self, directory: Path, problem: str = "") -> None:
        """Connect to the other ranks. All of them call this.

        Args:
            directory: for the secret: the owner's alone, and the same for all ranks.
            problem: of rank 0: why there can be no such directory.

        Raises:
            RanksError: rank 0 has a problem, or the ranks do not find each other.
        """
        if self.world_size == 1:
            if problem:
                raise RanksError(problem)
        elif self.first:
            self._open_first(directory, problem)
        else:
            self._open_other(directory)

    def use(self, links: Links) -> None:
        """Talk over these connections, which deliver to `receive`."""
        self._links = links

    def receive(self, rank: int, message: Any) -> None:
        """Take in the message of a rank."""
        key, value = message
        self._inbox.put(key if rank == 0 else f"{key}/{rank}", value)

    def publish(self, key: str, value: Any = None) -> None:
        """From rank 0: make `value` known to all ranks under `key`."""
        assert self.first
        if self._links is not None:
            self._links.send([key, value])
        self._inbox.put(key, value)

    def known(self, key: str) -> bool:
        """Whether rank 0 has published `key`; does not block.

        Raises:
            RanksError: no, and rank 0 is lost.
        """
        if key in self._inbox:
            return True
        self._fail_if_lost(0)
        return False

    def fetch(self, key: str, abort: Callable[[], bool] = lambda: False) -> Any:
        """What rank 0 published under `key`, waited for until `abort()`.

        Raises:
            TimeoutError: it did not come within `RANK_WAIT_SECONDS`, or `abort` said so.
            RanksError: rank 0 is lost.
        """
        self._await(key, 0, abort)
        return self._inbox.get(key)

    def post(self, key: str, value: Any = None) -> None:
        """Tell rank 0 this rank's own value under `key`."""
        if self.first:
            self._inbox.put(f"{key}/0", value)
        elif self._links is not None:
            self._links.send([key, value])

    def posted(self, key: str) -> bool:
        """On rank 0: whether any rank has told a value under `key`."""
        return any(f"{key}/{rank}" in self._inbox for rank in range(self.world_size))

    def said(self, key: str) -> str:
        """On rank 0: what some rank has told under `key`, as a text; the first one's."""
        for rank in range(self.world_size):
            if f"{key}/{rank}" in self._inbox:
                return str(self._inbox.get(f"{key}/{rank}") or "")
        return ""

    def gather(self, key: str, abort: Callable[[], bool] = lambda: False) -> list[Any]:
        """On rank 0: every rank's own value under `key`, in rank order; then they are forgotten.

        Raises:
            TimeoutError, RanksError: as `fetch`.
        """
        for rank in range(self.world_size):
            self._await(f"{key}/{rank}", rank, abort)
        return [self._inbox.take(f"{key}/{rank}") for rank in range(self.world_size)]

    def close(self) -> None:
        """End the connections, when the others have what was sent. Safe to call again."""
        if self._links is not None:
            self._links.close()

    def _await(self, key: str, source: int, abort: Callable[[], bool]) -> None:
        end = time.monotonic() + RANK_WAIT_SECONDS
        while not self._inbox.wait(key, 0.05):
            self._fail_if_lost(source)
            if abort() or time.monotonic() > end:
                raise TimeoutError(f"rank {self.rank} waited in vain for {key!r}")

    def _fail_if_lost(self, rank: int) -> None:
        if self._links is None or rank == self.rank:
            return
        if self._links.lost_seconds(rank) > LOST_SECONDS:
            raise RanksError(f"rank {rank} cannot be reached since {LOST_SECONDS:.0f} s")

    def _open_first(self, directory: Path, problem: str) -> None:
        name = secrets.token_bytes(_NONCE)
        file = _key_file(directory, name)
        hub: Hub | None = None
        if not problem:
            secret = secrets.token_bytes(32)
            try:
                host = launch_address()
                hub = Hub(host, self.world_size, secret, self.receive)
                _write_private(file, {"host": host, "port": hub.port, "secret": secret.hex()})
            except OSError as error:
                problem = f"the ranks cannot be connected: {error}"
        # The only thing that goes through the process group: the name of the file.
        _broadcast(bytes(_NONCE) if problem else name)
        if problem or hub is None:
            raise RanksError(problem)
        self.use(hub)
        complete = wait_until(lambda: hub.complete)
        file.unlink(missing_ok=True)
        if not complete:
            raise RanksError("not all ranks have connected to rank 0")

    def _open_other(self, directory: Path) -> None:
        name = _broadcast(bytes(_NONCE))
        if name == bytes(_NONCE):
            raise RanksError("rank 0 cannot use the state directory", told=True)
        file = _key_file(directory, name)
        try:
            values = json.loads(_read_private(file))
            spoke = Spoke(
                str(values["host"]),
                int(values["port"]),
                self.rank,
                bytes.fromhex(values["secret"]),
                self.receive,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RanksError(
                f"rank {self.rank} on {os.uname().nodename} cannot read {file}, which rank 0 wrote "
                f"({error}): the state directory must be on a file system that all nodes share"
            ) from None
        self.use(spoke)


def wait_until(condition: Callable[[], bool], abort: Callable[[], bool] = lambda: False) -> bool:
    """Call `condition` until it holds (True), or `abort` does or too much time passed (False)."""
    end = time.monotonic() + RANK_WAIT_SECONDS
    pause = 0.001
    while not condition():
        if abort() or time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return True


def of_process_group() -> Ranks:
    """The ranks of the default process group; a single rank where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks(0, 1)
    return Ranks(dist.get_rank(), dist.get_world_size())


def _key_file(directory: Path, name: bytes) -> Path:
    return directory / f".ranks.{name.hex()}.tmp"


def _write_private(path: Path, values: dict[str, Any]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(descriptor)


def _read_private(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


def _broadcast(data: bytes) -> bytes:
    """Rank 0's bytes, on all ranks. A tensor: torch would pickle any other object."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append(f"cuda:{torch.cuda.current_device()}")
        if dist.get_backend() == "nccl":
            devices.reverse()
    for device in devices:
        tensor = torch.tensor(list(data), dtype=torch.uint8, device=device)
        # A group may serve one kind of device only, on all ranks alike.
        with contextlib.suppress(RuntimeError):
            dist.broadcast(tensor, src=0)
            return bytes(tensor.tolist())
    raise RanksError("the process group does not broadcast, neither in host nor in GPU memory")
