"""A live change: the same processes go on in another process group, some more or some less of them.

All that train meet at the agreed iteration, with nothing of it left to be sent. Rank 0 asks those
that are to come whether they are there; only then does anybody leave the old process group: until
then the change can be refused, and training goes on. The new group gets a store of its own, which
rank 0 holds; who comes gets the state from rank 0 (`transfer`). Who trains no more ends, or waits
in the *lobby* to be taken in. A process that dies in between ends the launch, as ever.
"""

import os
import socket
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm import contract
from ef_slurm.training import transfer
from ef_slurm.training.interface import launch_address
from ef_slurm.training.parallel import Parallel
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.roster import END, WAITING, Member, Plan
from ef_slurm.training.state import WholeSnapshot, on_gpu

FIND_SECONDS = 60.0
"""Seconds that a companion's rank looks for rank 0."""
LOST_SECONDS = 10.0
"""Seconds without rank 0 after which a rank that waits ends."""
ANSWER_SECONDS = 5.0
"""Seconds in which those that are to come must answer: they do nothing else than wait."""
JOIN_SECONDS = 120.0
"""Seconds in which all must have joined the new process group."""

_TAKE = "take"
_COMPANION = 1 << 16


class Ended(Exception):  # noqa: N818 - no error
    """This process is not needed any more; the text says why."""


class Live:
    """What one rank does at a live change.

    Args:
        environment: the job's variables as this process found them.
    """

    def __init__(
        self, model: Parallel, snapshot: WholeSnapshot, environment: contract.JobEnvironment
    ):
        self._model = model
        self._snapshot = snapshot
        self._environment = environment
        self._node = _node_name()
        self._of = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
        self._store: Any = None

    @property
    def newcomer(self) -> bool:
        """Whether this process was started to be taken in."""
        return self._environment.change > 0

    def member(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """Who this process is, for a message.

        Args:
            training: what must be the same for all.
        """
        text = repr(sorted(training.items())).encode()
        return asdict(
            Member(
                self._node,
                int(os.environ.get("LOCAL_RANK") or 0),
                self._of,
                self._environment.change,
                zlib.crc32(text),
            )
        )

    def find(self, directory: Path, generation: Callable[[], int]) -> Ranks:
        """Connect to rank 0 as one that waits.

        Args:
            directory: where rank 0 leaves its address and secret.
            generation: the newest launch.

        Raises:
            Ended: there is no such launch.
        """
        own = self._environment.change * _COMPANION + int(os.environ.get("RANK") or 0)
        lobby = Ranks(1, 2, (0, own), LOBBY)
        file = secret_file(directory, self._environment.generation)
        end = time.monotonic() + FIND_SECONDS
        while True:
            try:
                lobby.connect(file)
                return lobby
            except (OSError, ValueError, KeyError, TypeError) as error:
                with suppress(contract.ContractError, OSError):
                    if generation() > self._environment.generation:
                        raise Ended("the launch has ended") from None
                if time.monotonic() > end:
                    raise Ended(f"rank 0 is not to be found: {error}") from None
            time.sleep(0.2)

    def wait(
        self, lobby: Ranks, who: Mapping[str, Any], terminated: Callable[[], bool]
    ) -> tuple[Ranks, dict[str, Any]]:
        """Wait until this process is taken in; it has then joined the others.

        Returns:
            The ranks, and what rank 0 says of where they are.

        Raises:
            Ended: it is not needed any more.
        """
        lobby.post(WAITING, who)
        while True:
            if lobby.hear(_TAKE, 0.1):
                plan = Plan.told(lobby.take(_TAKE))
                ranks = lobby.regrouped(plan.members, _scope(plan))
                ranks.post("here")
                go = self._answer(ranks, lobby)
                if not go["refusal"]:
                    self._join(ranks, plan, go, comes=True)
                    return ranks, go
            self._end_if_alone(lobby, terminated)

    def move(self, ranks: Ranks, plan: Plan, iteration: int) -> tuple[Ranks | None, str]:
        """From one process group into the next. All ranks call this at the same iteration.

        Returns:
            The ranks, None for one that trains no more; and why the change was refused.
        """
        if on_gpu():
            torch.cuda.synchronize()
        # Whoever leaves the group breaks its connections: the others must have all that they need.
        ranks.post("at")
        if ranks.first:
            ranks.gather("at")
            ranks.publish("go", self._ask(ranks, plan, iteration))
        go = ranks.fetch("go")
        own = ranks.members[ranks.rank]
        if go["refusal"]:
            ranks.forget()
            return ranks.regrouped(ranks.members, _scope(plan)), str(go["refusal"])
        if own not in plan.members:
            self._model.release()
            dist.destroy_process_group()
            return None, ""
        following = ranks.regrouped(plan.members, _scope(plan))
        self._join(following, plan, go, comes=False)
        ranks.forget()
        return following, ""

    def _ask(self, ranks: Ranks, plan: Plan, iteration: int) -> dict[str, Any]:
        """On rank 0: whether those that are to come are there, and where all meet."""
        coming = [one for one in plan.members if one not in ranks.members]
        following = ranks.regrouped(plan.members, _scope(plan))
        lobby(ranks).tell(coming, _TAKE, plan.plain())
        end = time.monotonic() + ANSWER_SECONDS
        refusal = ""
        while missing := set(coming).difference(following.posted("here")):
            if time.monotonic() > end:
                refusal = f"{len(missing)} of {len(coming)} ranks that were to come do not answer"
                break
            time.sleep(0.002)
        go: dict[str, Any] = {"refusal": refusal, "iteration": iteration, "coming": coming}
        if not refusal:
            host = launch_address(beyond=True)
            self._store = _store(host, 0, holds=True)
            go |= {"host": host, "port": self._store.port, "backend": _backend()}
        following.tell(coming, "go", go)
        return go

    def _answer(self, ranks: Ranks, lobby: Ranks) -> dict[str, Any]:
        while not ranks.hear("go", 0.1):
            self._end_if_alone(lobby, lambda: False)
        answer: dict[str, Any] = ranks.take("go")
        return answer

    def _end_if_alone(self, lobby: Ranks, terminated: Callable[[], bool]) -> None:
        if lobby.hear(END, 0):
            raise Ended("the launch ends")
        if lobby.lost_seconds > LOST_SECONDS:
            raise Ended("rank 0 is lost")
        if terminated():
            raise Ended("TERM from Slurm")

    def _join(self, ranks: Ranks, plan: Plan, go: Mapping[str, Any], comes: bool) -> None:
        self._model.release()
        if dist.is_initialized():
            dist.destroy_process_group()
        _set_variables(ranks, plan, go)
        store = self._store if ranks.first else _store(go["host"], go["port"], holds=False)
        dist.init_process_group(
            go["backend"], store=store, rank=ranks.rank, world_size=ranks.world_size
        )
        if go["coming"]:
            device = transfer.buffer_device(next(self._model.parameters()).device)
            objects = self._snapshot.objects
            if ranks.first:
                transfer.send(ranks, objects, device)
            else:
                transfer.receive(ranks, objects if comes else None, device)
        self._model.renew(synchronize=False)


LOBBY = "lobby:"
"""Scope of what is said to and by those that wait."""


def lobby(ranks: Ranks) -> Ranks:
    """Where those wait who are no ranks, for rank 0 or for one of them."""
    own = ranks.members[ranks.rank]
    return ranks.regrouped((0,) if own == 0 else (0, own), LOBBY)


def secret_file(directory: Path, generation: int) -> Path:
    """Where rank 0 leaves its address and the launch's secret, for its owner alone."""
    return directory / f".live.{generation}.json"


def forget_secrets(directory: Path) -> None:
    """Remove what launches left there that were killed."""
    for file in directory.glob(".live.*.json"):
        file.unlink(missing_ok=True)


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


def own_groups() -> bool:
    """Whether there are process groups beside the default one."""
    world: Any = getattr(dist.distributed_c10d, "_world", None)
    return len(getattr(world, "pg_map", ())) > 1


def say_left(reason: str) -> None:
    """A line for the log of a process that ends."""
    print(f"ef-slurm: a rank on {_node_name()} ends: {reason}", file=sys.stderr, flush=True)


def _store(host: str, port: int, holds: bool) -> Any:
    """What the processes of a group find each other by; port 0: any that is free."""
    c10d: Any = dist
    limit = timedelta(seconds=JOIN_SECONDS)
    return c10d.TCPStore(host, port, None, holds, limit, wait_for_workers=False)


def _scope(plan: Plan) -> str:
    return f"{plan.change}:"


def _backend() -> str:
    """As `init_process_group` takes it: one name, or one for each kind of device."""
    known = hasattr(dist, "get_backend_config")
    told = str(dist.get_backend_config() if known else dist.get_backend())
    names = {part.rpartition(":")[2] for part in told.split(",")}
    return names.pop() if len(names) == 1 else told


def _node_name() -> str:
    names = os.environ.get(contract.ENV_NODES, "").split(",")
    number = int(os.environ.get("GROUP_RANK") or os.environ.get("EF_NODE_RANK") or 0)
    return (names[number] if number < len(names) else "") or socket.gethostname()


def _set_variables(ranks: Ranks, plan: Plan, go: Mapping[str, Any]) -> None:
    """What torchrun and the batch script say, as they would say it of the new process group."""
    node, _, here = plan.places[ranks.rank]
    rank, world = str(ranks.rank), str(ranks.world_size)
    os.environ.update(
        {
            "RANK": rank,
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": str(here),
            "GROUP_RANK": str(node),
            "GROUP_WORLD_SIZE": str(len(plan.nodes)),
            "ROLE_RANK": rank,
            "ROLE_WORLD_SIZE": world,
            "MASTER_ADDR": str(go["host"]),
            "MASTER_PORT": str(go["port"]),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            contract.ENV_NODES: ",".join(plan.nodes),
            contract.ENV_NUM_NODES: str(len(plan.nodes)),
        }
    )
    if os.environ.get(contract.ENV_GPUS_PER_NODE, "0") != "0":
        os.environ[contract.ENV_GPUS_PER_NODE] = str(here)
