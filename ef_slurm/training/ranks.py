"""How the ranks of one launch talk beside the training itself.

Collectives would cost every iteration and must be issued by all ranks in the same order. Messages
do neither: rank 0 tells all others, each of them tells rank 0, and what came is kept under its key
until it is asked for. They are plain data (JSON), and authenticated with a secret that rank 0 makes
for this launch and leaves in a file that only the job's owner can read (`links`, `messages`).
"""

import contextlib
import functools
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm.training import connection_file
from ef_slurm.training.interface import launch_address
from ef_slurm.training.links import Hub, Links, Spoke
from ef_slurm.training.patience import patiently

RANK_WAIT_SECONDS = 1800.0
"""Seconds a rank waits for another (which may be reading a large checkpoint)."""
LOST_SECONDS = 10.0
"""Seconds without a connection after which another rank is taken for dead."""

_NONCE = 16
_REFUSED, _AWAY = bytes(_NONCE), b"\xff" * _NONCE
"""Instead of a file's name: why there is none."""


class RanksError(Exception):
    """The ranks cannot talk; the text says why.

    Attributes:
        told: whether another rank says so already.
        away: whether that is for a disk that is full or away: it may be back for the next launch.
    """

    def __init__(self, text: str, told: bool = False, away: bool = False):
        super().__init__(text)
        self.told = told
        self.away = away


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

    def forget(self, prefix: str) -> None:
        """Forget all messages whose key begins so."""
        with self._changed:
            for key in [key for key in self._values if key.startswith(prefix)]:
                del self._values[key]

    def wait(self, key: str, seconds: float) -> bool:
        """Whether the message came within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: key in self._values, timeout=seconds)


class Ranks:
    """This process among its peers: rank, world size, and messages by key.

    Every key is written once. Safe to use from several threads. On a world of several ranks,
    `open` comes first.

    A rank is a number in one process group. A launch that changes its size while it runs (`live`)
    has several, one after the other, and each its own `Ranks` over the same connections; in them
    every process has one number for good, as which it is a *member*.

    Args:
        members: of each rank; None: the number of the rank.
        scope: of all keys: what is said in one process group is not heard in another.
    """

    def __init__(
        self, rank: int, world_size: int, members: Sequence[int] | None = None, scope: str = "0:"
    ):
        self.rank = rank
        self.world_size = world_size
        self.members = tuple(range(world_size) if members is None else members)
        self._scope = scope
        self._inbox = Inbox()
        self._links: Links | None = None

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def open(
        self,
        directory: Path,
        problem: str = "",
        keep: Path | None = None,
        *,
        away: bool = False,
    ) -> None:
        """Connect to the other ranks. All of them call this.

        Args:
            directory: for the secret: the owner's alone, and the same for all ranks.
            problem: of rank 0: why there can be no such directory.
            keep: a file for the secret that stays, for those who come later; None: nobody may.
            away: of rank 0: whether its problem is a disk that is full or away.

        Raises:
            RanksError: rank 0 has a problem, or the ranks do not find each other.
        """
        if self.world_size == 1 and keep is None:
            if problem:
                raise RanksError(problem, away=away)
        elif self.first:
            self._open_first(directory, problem, keep, away)
        else:
            self._open_other(directory)

    def use(self, links: Links) -> None:
        """Talk over these connections, which deliver to `receive`."""
        self._links = links

    def receive(self, member: int, message: Any) -> None:
        """Take in the message of a member; rank 0 is always member 0."""
        key, value = message
        self._inbox.put(key if member == 0 else f"{key}/{member}", value)

    def regrouped(self, members: Sequence[int], scope: str) -> "Ranks":
        """This process in another process group, over the same connections."""
        rank = members.index(self.members[self.rank])
        ranks = Ranks(rank, len(members), members, scope)
        ranks._inbox, ranks._links = self._inbox, self._links
        return ranks

    def forget(self) -> None:
        """Drop what was said in this process group, which is no more."""
        self._inbox.forget(self._scope)

    @property
    def came(self) -> list[int]:
        """On rank 0: the members that are connected, whether or not they are ranks."""
        if not isinstance(self._links, Hub):
            return []
        return [one for one in self._links.known if not self._links.lost_seconds(one)]

    def tell(self, members: Collection[int], key: str, value: Any = None) -> None:
        """From rank 0: `value` under `key` for some members, whether or not they are ranks."""
        if isinstance(self._links, Hub):
            self._links.send_to(members, [self._scope + key, value])

    def publish(self, key: str, value: Any = None) -> None:
        """From rank 0: make `value` known to all ranks under `key`."""
        assert self.first
        self.tell(self.members[1:], key, value)
        self._inbox.put(self._scope + key, value)

    def known(self, key: str) -> bool:
        """Whether rank 0 has published `key`; does not block.

        Raises:
            RanksError: no, and rank 0 is lost.
        """
        if self._scope + key in self._inbox:
            return True
        self._fail_if_lost(0)
        return False

    def fetch(self, key: str, abort: Callable[[], bool] = lambda: False) -> Any:
        """What rank 0 published under `key`, waited for until `abort()`.

        Raises:
            TimeoutError: it did not come within `RANK_WAIT_SECONDS`, or `abort` said so.
            RanksError: rank 0 is lost.
        """
        self._await(self._scope + key, 0, abort)
        return self._inbox.get(self._scope + key)

    def post(self, key: str, value: Any = None) -> None:
        """Tell rank 0 this rank's own value under `key`."""
        if self.first:
            self._inbox.put(self._of(0, key), value)
        elif self._links is not None:
            self._links.send([self._scope + key, value])

    def posted(self, key: str) -> list[int]:
        """On rank 0: the members that have told a value under `key`, in rank order."""
        return [one for one in self.members if self._of(one, key) in self._inbox]

    def said(self, key: str, member: int | None = None) -> Any:
        """On rank 0: what a member has told under `key`; None for nothing.

        Args:
            member: None for the first rank that has told anything.
        """
        for one in self.members if member is None else (member,):
            if self._of(one, key) in self._inbox:
                return self._inbox.get(self._of(one, key))
        return None

    def drop(self, key: str, member: int) -> None:
        """On rank 0: forget what a member has told under `key`."""
        if self._of(member, key) in self._inbox:
            self._inbox.take(self._of(member, key))

    def gather(self, key: str, abort: Callable[[], bool] = lambda: False) -> list[Any]:
        """On rank 0: every rank's own value under `key`, in rank order; then they are forgotten.

        Raises:
            TimeoutError, RanksError: as `fetch`.
        """
        keys = [self._of(member, key) for member in self.members]
        for rank, one in enumerate(keys):
            self._await(one, rank, abort)
        return [self._inbox.take(one) for one in keys]

    def hear(self, key: str, seconds: float) -> bool:
        """Wait so long for what rank 0 may publish under `key`; whether it has."""
        return self._inbox.wait(self._scope + key, seconds)

    def take(self, key: str) -> Any:
        """What rank 0 has published under `key`, which may then be published again."""
        return self._inbox.take(self._scope + key)

    @property
    def lost_seconds(self) -> float:
        """Seconds since rank 0 was lost; 0 while it is there."""
        return 0.0 if self._links is None else self._links.lost_seconds(0)

    def close(self) -> None:
        """End the connections, when the others have what was sent. Safe to call again."""
        if self._links is not None:
            self._links.close()

    def _of(self, member: int, key: str) -> str:
        """Of what a member tells rank 0, in the latter's inbox."""
        return f"{self._scope}{key}/{member}"

    def _await(self, key: str, source: int, abort: Callable[[], bool]) -> None:
        end = time.monotonic() + RANK_WAIT_SECONDS
        while not self._inbox.wait(key, 0.05):
            self._fail_if_lost(source)
            if abort() or time.monotonic() > end:
                raise TimeoutError(f"rank {self.rank} waited in vain for {key!r}")

    def _fail_if_lost(self, rank: int) -> None:
        if self._links is None or rank == self.rank:
            return
        if self._links.lost_seconds(self.members[rank]) > LOST_SECONDS:
            raise RanksError(f"rank {rank} cannot be reached since {LOST_SECONDS:.0f} s")

    def _open_first(self, directory: Path, problem: str, keep: Path | None, away: bool) -> None:
        name = secrets.token_bytes(_NONCE)
        file = connection_file.path_of(directory, name)
        hub: Hub | None = None
        if not problem:
            secret = secrets.token_bytes(32)
            try:
                host = launch_address(beyond=keep is not None)
                hub = Hub(host, self.world_size, secret, self.receive, admits=keep is not None)
            except OSError as error:
                problem = f"the ranks cannot be connected: {error}"
            else:
                values = {"host": host, "port": hub.port, "secret": secret.hex()}
                try:
                    for each in filter(None, (file, keep)):
                        patiently(functools.partial(connection_file.replace, each, values))
                except OSError as error:
                    problem, away = f"the ranks cannot be connected: {error}", True
        # The only thing that goes through the process group: the name of the file.
        if self.world_size > 1:
            _broadcast((_AWAY if away else _REFUSED) if problem else name)
        if problem or hub is None:
            raise RanksError(problem, away=away)
        self.use(hub)
        complete = wait_until(lambda: hub.complete)
        with contextlib.suppress(OSError):  # the next launch takes it away
            file.unlink(missing_ok=True)
        if not complete:
            raise RanksError("not all ranks have connected to rank 0")

    def _open_other(self, directory: Path) -> None:
        name = _broadcast(bytes(_NONCE))
        if name in (_REFUSED, _AWAY):
            why = "rank 0 cannot use the state directory"
            raise RanksError(why, told=True, away=name == _AWAY)
        file = connection_file.path_of(directory, name)
        try:
            self._connect(patiently(functools.partial(connection_file.read, file)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RanksError(
                f"rank {self.rank} on {os.uname().nodename} cannot read {file}, which rank 0 wrote "
                f"({error}): the state directory must be on a file system that all nodes share",
                away=isinstance(error, OSError),
            ) from None

    def connect(self, file: Path) -> None:
        """Connect to rank 0 with what it left in a file.

        Raises:
            OSError, ValueError, KeyError, TypeError: the file cannot be read, or is no such file.
        """
        self._connect(connection_file.read(file))

    def _connect(self, text: str) -> None:
        values = json.loads(text)
        self.use(
            Spoke(
                str(values["host"]),
                int(values["port"]),
                self.members[self.rank],
                bytes.fromhex(values["secret"]),
                self.receive,
            )
        )


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
