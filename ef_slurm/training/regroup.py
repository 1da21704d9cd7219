"""From one process group into the next.

All that train meet at the agreed iteration, with nothing of it left to be sent. Rank 0 asks those
that are to come whether they are there; only then does anybody leave the old process group: until
then the change can be refused, and training goes on. The new group gets a store of its own, which
rank 0 holds; who comes gets the state from rank 0 (`transfer`). A process that dies in between ends
the launch, as ever.
"""

import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm import contract
from ef_slurm.training import transfer
from ef_slurm.training.interface import launch_address
from ef_slurm.training.parallel import Parallel
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.roster import Plan
from ef_slurm.training.state import WholeSnapshot, on_gpu
from ef_slurm.training.values import StateError

ANSWER_SECONDS = 5.0
"""Seconds in which those that are to come must answer: they do nothing else than wait."""
JOIN_SECONDS = 120.0
"""Seconds in which all must have joined the new process group."""
TAKE = "take"
"""Under this key those that wait are told that they are to come, and how."""

LOBBY = "lobby:"
"""Scope of what is said to and by those that wait."""


def lobby(ranks: Ranks) -> Ranks:
    """Where those wait who are no ranks, for rank 0 or for one of them."""
    own = ranks.members[ranks.rank]
    return ranks.regrouped((0,) if own == 0 else (0, own), LOBBY)


class Regroup:
    """One process, and the process groups that it is in one after the other."""

    def __init__(self, model: Parallel, snapshot: WholeSnapshot):
        self._model = model
        self._snapshot = snapshot
        self._store: Any = None

    def come(self, waiting: Ranks, still: Callable[[], None]) -> tuple[Ranks, int] | None:
        """For one that waits and was told to come: into the process group.

        Args:
            still: called while it waits for the others; raises where that is in vain.

        Returns:
            The ranks, and the iteration that they are at; None: rank 0 has thought better of it.
        """
        plan = Plan.told(waiting.take(TAKE))
        ranks = waiting.regrouped(plan.members, _scope(plan))
        ranks.post("here")
        while not ranks.hear("go", 0.1):
            still()
        go = ranks.take("go")
        if go["refusal"]:
            return None
        self._join(ranks, plan, go, comes=True)
        return ranks, int(go["iteration"])

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
        refusal = ""
        if coming:
            try:
                self._snapshot.check(ranks.rank)
            except StateError as error:
                refusal, coming = f"the state cannot be sent: {error}", []
        lobby(ranks).tell(coming, TAKE, plan.plain())
        end = time.monotonic() + ANSWER_SECONDS
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


def own_groups() -> bool:
    """Whether there are process groups beside the default one."""
    world: Any = getattr(dist.distributed_c10d, "_world", None)
    return len(getattr(world, "pg_map", ())) > 1


def _store(host: str, port: int, holds: bool) -> Any:
    """What the processes of a group find each other by; port 0: any that is free."""
    c10d: Any = dist
    limit = timedelta(seconds=JOIN_SECONDS)
    try:
        return c10d.TCPStore(host, port, None, holds, limit, wait_for_workers=False)
    except RuntimeError as error:
        if "libuv" not in str(error):
            raise
        # Debian's torch is built without it, and takes it for granted all the same.
        plain = {"wait_for_workers": False, "use_libuv": False}
        return c10d.TCPStore(host, port, None, holds, limit, **plain)


def _scope(plan: Plan) -> str:
    return f"{plan.change}.{plan.step}:"


def _backend() -> str:
    """As `init_process_group` takes it: one name, or one for each kind of device."""
    known = hasattr(dist, "get_backend_config")
    told = str(dist.get_backend_config() if known else dist.get_backend())
    names = {part.rpartition(":")[2] for part in told.split(",")}
    return names.pop() if len(names) == 1 else told


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
