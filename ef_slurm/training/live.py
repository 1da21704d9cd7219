"""A live change: the same processes go on in another process group, more or fewer of them.

`roster` says on rank 0 which changes can be made, `watch` agrees on the iteration, `regroup` makes
the change. Who trains no more ends, or waits in the *lobby* to be taken in; so does a process that
was started for it.
"""

import os
import socket
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm import contract
from ef_slurm.training.parallel import Parallel
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.regroup import LOBBY, TAKE, Regroup, lobby, own_groups
from ef_slurm.training.roster import END, WAITING, Member, Plan, Roster
from ef_slurm.training.state import WholeSnapshot
from ef_slurm.training.watch import Request

FIND_SECONDS = 60.0
"""Seconds that a companion's rank looks for rank 0."""
LOST_SECONDS = 10.0
"""Seconds without rank 0 after which a rank that waits ends."""

_COMPANION = 1 << 16


class Ended(Exception):  # noqa: N818 - no error
    """This process is not needed any more; the text says why."""


class Live:
    """The live changes of one launch, for one rank.

    Args:
        environment: the job's variables as this process found them.

    Attributes:
        roster: on rank 0.
        may_wait: whether a rank that trains no more may be taken in again.
    """

    def __init__(
        self, model: Parallel, snapshot: WholeSnapshot, environment: contract.JobEnvironment
    ):
        self._environment = environment
        self._regroup = Regroup(model, snapshot)
        self._node = _node_name()
        self._of = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
        self._who: dict[str, Any] = {}
        self._made: Plan | None = None
        self._file: Path | None = None
        self.roster: Roster | None = None
        self.may_wait = True

    def secret_file(self, directory: Path) -> Path:
        """On rank 0: where it leaves its address and the launch's secret, for those that come."""
        for file in directory.glob(".live.*.json"):  # of launches that were killed
            file.unlink(missing_ok=True)
        self._file = _secret_file(directory, self._environment.generation)
        return self._file

    def begin(
        self,
        ranks: Ranks,
        training: Mapping[str, Any],
        batch: int,
        reporter: Reporter,
        say: Callable[[str], None],
        busy: Callable[[], bool],
    ) -> str:
        """Get to know each other. All ranks that a launch begins with call this.

        Args:
            training: what must be the same for all.
            batch: samples per iteration over all ranks.
            say: prints a line into the job's log.
            busy: whether no change can be made at the moment.

        Returns:
            The nodes, in rank order; "" on all ranks but the first.
        """
        self._who = self._member(training)
        ranks.post("member", self._who)
        if not ranks.first:
            return ""
        told = [Member.told(one) for one in ranks.gather("member")]
        members = dict(zip(ranks.members, told, strict=True))
        self.roster = Roster(
            lobby(ranks), members, batch, reporter, own_groups, lambda: self.may_wait, say, busy
        )
        return ",".join(self.roster.nodes)

    def come(
        self,
        directory: Path,
        generation: Callable[[], int],
        training: Mapping[str, Any],
        terminated: Callable[[], bool],
    ) -> tuple[Ranks, int]:
        """A process that was started to be taken in waits for it.

        Args:
            directory: where rank 0 leaves its address and secret.
            generation: the newest launch.
            training: what must be the same for all.
            terminated: whether Slurm ends this process.

        Returns:
            The ranks, and the iteration that they are at.

        Raises:
            Ended: it is not needed.
        """
        self._who = self._member(training)
        return self._wait(self._find(directory, generation), terminated)

    def resize(
        self, ranks: Ranks, request: Request, iteration: int, terminated: Callable[[], bool]
    ) -> tuple[Ranks, int, bool]:
        """Make a change. All ranks call this at the same iteration.

        Returns:
            The ranks, their iteration (a later one where this process has waited meanwhile), and
            whether they are others than before.

        Raises:
            Ended: this process trains no more.
        """
        plan = Plan.told(request.plan)
        following, refusal = self._regroup.move(ranks, plan, iteration)
        if following is None:
            if plan.leave or not self.may_wait:
                raise Ended(f"change {plan.change} at iteration {iteration}: {request.reason}")
            return *self._wait(lobby(ranks), terminated), True
        if self.roster is not None:
            if refusal:
                self.roster.refuse(plan.change, refusal)
            else:
                self.roster.made(plan)
                self._made = plan
        return following, iteration, not refusal

    def going_on(self, iteration: int, seconds: float) -> None:
        """The data is there again, too, after a change.

        Args:
            seconds: how long training stood still.
        """
        plan, self._made = self._made, None
        if plan is None or self.roster is None:
            return
        self.roster.going_on(plan, iteration, seconds)

    def close(self) -> None:
        """Let those end that wait. Safe to call again."""
        if self.roster is not None:
            self.roster.close()
            self.roster = None
        if self._file is not None:
            with suppress(OSError):  # its disk is away; the next launch takes it away
                self._file.unlink(missing_ok=True)
            self._file = None

    def _member(self, training: Mapping[str, Any]) -> dict[str, Any]:
        text = repr(sorted(training.items())).encode()
        local_rank = int(os.environ.get("LOCAL_RANK") or 0)
        change = self._environment.change
        return asdict(Member(self._node, local_rank, self._of, change, zlib.crc32(text)))

    def _find(self, directory: Path, generation: Callable[[], int]) -> Ranks:
        own = self._environment.change * _COMPANION + int(os.environ.get("RANK") or 0)
        waiting = Ranks(1, 2, (0, own), LOBBY)
        file = _secret_file(directory, self._environment.generation)
        end = time.monotonic() + FIND_SECONDS
        while True:
            try:
                waiting.connect(file)
                return waiting
            except (OSError, ValueError, KeyError, TypeError) as error:
                with suppress(contract.ContractError, OSError):
                    if generation() > self._environment.generation:
                        raise Ended("the launch has ended") from None
                if time.monotonic() > end:
                    raise Ended(f"rank 0 is not to be found: {error}") from None
            time.sleep(0.2)

    def _wait(self, waiting: Ranks, terminated: Callable[[], bool]) -> tuple[Ranks, int]:
        def still() -> None:
            if waiting.hear(END, 0):
                raise Ended("the launch ends")
            if waiting.lost_seconds > LOST_SECONDS:
                raise Ended("rank 0 is lost")

        waiting.post(WAITING, self._who)
        while True:
            if waiting.hear(TAKE, 0.1):
                come = self._regroup.come(waiting, still)
                if come is not None:
                    return come
            still()
            if terminated():
                raise Ended("TERM from Slurm")


def obstacle(model: torch.nn.Module, sharded: bool, comes: bool) -> str:
    """Why a launch cannot change its size while it runs; nothing if it can.

    Args:
        comes: whether this process is to be taken in, and so has no process group yet.
    """
    if sharded:
        return "parameters are spread over the ranks (FSDP)"
    if not isinstance(model, Parallel):
        return "the model is not shared by training.parallel"
    if not dist.is_available() or dist.is_initialized() is comes:
        return "the process group must be that of training.init()"
    return ""


def say_left(reason: str) -> None:
    """A line for the log of a process that ends."""
    print(f"ef-slurm: a rank on {_node_name()} ends: {reason}", file=sys.stderr, flush=True)


def _secret_file(directory: Path, generation: int) -> Path:
    return directory / f".live.{generation}.json"


def _node_name() -> str:
    names = os.environ.get(contract.ENV_NODES, "").split(",")
    number = int(os.environ.get("GROUP_RANK") or os.environ.get("EF_NODE_RANK") or 0)
    return (names[number] if number < len(names) else "") or socket.gethostname()
