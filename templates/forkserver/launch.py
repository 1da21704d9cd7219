"""What is to be launched on this node, as the batch script says it in torchrun's words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SECRET = "EF_LAUNCH_SECRET"  # noqa: S105 - the name of a variable
"""The variable with what the nodes of a launch know each other by. No rank sees it."""

OWN = ("--preload=", "--left=", "--ready=")
"""Options that torchrun does not know."""

_IGNORED = frozenset({"max_restarts", "monitor_interval"})
_KNOWN = frozenset(
    {"nnodes", "nproc_per_node", "node_rank", "master_addr", "master_port", "role", "ready"}
)


@dataclass(frozen=True)
class Launch:
    """The part of a launch that one node has.

    Args:
        nodes: of the launch.
        ranks: on each node.
        node: number of this one, from 0.
        address, port: of the rendezvous, as the batch script names it.
        role: torchrun's `--role`.
        script, arguments: as `python script arguments` has them.
        preload: modules to import before the ranks are forked, beside those that were learned.
        left: packages that a server before this one could not import without harm.
        ready: the file that says that they can be forked, which then waits for the batch script's
            word; "" where they are forked at once.
        obstacle: why torchrun has to start the ranks; "" where nothing is known yet.
    """

    nodes: int = 1
    ranks: int = 1
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 29500
    role: str = "default"
    script: str = ""
    arguments: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    ready: str = ""
    obstacle: str = ""

    @classmethod
    def parse(cls, words: Sequence[str]) -> Launch:
        """From the words behind the program: options, each one word, then script and arguments."""
        values: dict[str, str] = {}
        lists: dict[str, tuple[str, ...]] = {"preload": (), "left": ()}
        obstacle = ""
        rest = list(words)
        while rest and rest[0].startswith("--"):
            word = rest.pop(0)
            name, _, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if name in lists:
                lists[name] += tuple(part for part in value.split(",") if part)
            elif name in _KNOWN:
                values[name] = value
            elif name not in _IGNORED:
                obstacle = obstacle or f"the option {word} is torchrun's own"
        if not rest:
            return cls(obstacle="there is no script")
        return cls(
            nodes=int(values.get("nnodes", "1")),
            ranks=int(values.get("nproc_per_node", "1")),
            node=int(values.get("node_rank", "0")),
            address=values.get("master_addr", cls.address),
            port=int(values.get("master_port", str(cls.port))),
            role=values.get("role", cls.role),
            script=rest[0],
            arguments=tuple(rest[1:]),
            preload=lists["preload"],
            left=lists["left"],
            ready=values.get("ready", ""),
            obstacle=obstacle,
        )

    def rank(self, local_rank: int) -> int:
        """The rank of a process of this node."""
        return self.node * self.ranks + local_rank

    def variables(self, local_rank: int, port: int, agent_store: bool) -> dict[str, str]:
        """What torchrun adds to the environment of a rank.

        Args:
            port: where the store of the rendezvous listens.
            agent_store: whether somebody else than rank 0 holds it.
        """
        rank, world = str(self.rank(local_rank)), str(self.nodes * self.ranks)
        return {
            "RANK": rank,
            "LOCAL_RANK": str(local_rank),
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": str(self.ranks),
            "GROUP_RANK": str(self.node),
            "GROUP_WORLD_SIZE": str(self.nodes),
            "ROLE_NAME": self.role,
            "ROLE_RANK": rank,
            "ROLE_WORLD_SIZE": world,
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_RUN_ID": "none",
            "TORCHELASTIC_USE_AGENT_STORE": str(agent_store),
        }


def of_a_rank(name: str) -> bool:
    """Whether a variable differs from rank to rank, or is there only in a rank."""
    return name.startswith("TORCHELASTIC_") or name in Launch().variables(0, 0, False)


def threads_per_rank(environment: Mapping[str, str], ranks: int) -> Mapping[str, str]:
    """torchrun's default of OMP_NUM_THREADS, as far as it sets one."""
    return {"OMP_NUM_THREADS": "1"} if ranks > 1 and "OMP_NUM_THREADS" not in environment else {}


def state_dir() -> str:
    """The state directory of the job; "" without one."""
    return os.environ.get("EF_STATE_DIR", "")
