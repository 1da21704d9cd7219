"""Changes of share: of which kind one is, and what it costs.

`change_kind` is the only place that decides. The planner counts on its answer, the simulator
charges it, the daemon carries it out and measures it.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from ef_slurm.model.block import Block
from ef_slurm.model.checks import check_finite


class ChangeKind(enum.Enum):
    """The ways of getting another share, each of which costs training time.

    All but a shrink and a relaunch go through Slurm's queue: Slurm can take whole nodes from a
    running job, but neither the first one, where the batch script runs, nor single GPUs of a node,
    and it can add nothing. A relaunch needs no Slurm at all.
    """

    START = "start"  # from no GPUs: for the first time, or after a pause
    GROW = "grow"  # to more GPUs
    SHRINK = "shrink"  # in place: to the first nodes of those that it holds
    RELAUNCH = "relaunch"  # in place: to train on another part of the GPUs that it keeps holding
    MOVE = "move"  # to as many GPUs elsewhere
    RESTART = "restart"  # to fewer GPUs that are no shrink, or to another GPU type


def change_kind(
    old: Block | None, new: Block | None, *, other_part: bool = False
) -> ChangeKind | None:
    """What happens to a job that held `old` and gets `new` (None: no GPUs).

    Args:
        old: held before.
        new: held from now on.
        other_part: whether it trains on another number of the GPUs that it holds from now on
            (`Running.active`). Every change but staying has a launch in it anyhow.

    Returns:
        None where the training pays nothing: the job loses its GPUs (it pays when it is started
        again), or it stays on its nodes. Other indices there are no change: Slurm picks them.

    >>> two_nodes = Block("gpu", ("n1", "n2"), 4)
    >>> change_kind(two_nodes, Block("gpu", ("n1",), 4)).value
    'shrink'
    >>> change_kind(two_nodes, Block("gpu", ("n2",), 4)).value
    'restart'
    """
    if new is None:
        return None
    if old is None:
        return ChangeKind.START
    fewer, more = sorted((old, new), key=lambda block: block.gpus)
    kind = classify_change(
        old.gpus,
        new.gpus,
        same_type=old.gpu_type == new.gpu_type,
        same_nodes=old.gpus_per_node == new.gpus_per_node
        and old.nodes[0] in new.nodes
        and set(fewer.nodes) <= set(more.nodes),
    )
    return ChangeKind.RELAUNCH if kind is None and other_part else kind


def classify_change(
    old_gpus: int, new_gpus: int, *, same_type: bool, same_nodes: bool
) -> ChangeKind | None:
    """`change_kind` where blocks are known by other means than the names of their nodes.

    Args:
        old_gpus: GPUs held before, 1 or more.
        new_gpus: GPUs held from now on, 1 or more.
        same_type: whether they are of one type.
        same_nodes: whether the smaller of the two blocks lies on nodes of the larger one, the first
            of the old ones among them, with as many GPUs on each.
    """
    if not same_type:
        return ChangeKind.RESTART
    if new_gpus > old_gpus:
        return ChangeKind.GROW
    if new_gpus == old_gpus:
        return None if same_nodes else ChangeKind.MOVE
    return ChangeKind.SHRINK if same_nodes else ChangeKind.RESTART


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of lost training per change of share; the GPUs are held all the while.

    Sites and users state three costs, by what is done in Slurm: `start` for a start, `shrink` for
    what happens in place (a shrink, or a relaunch on another part of the GPUs), `reshape` for a
    requeue of a running job, which growing, moving and restarting have in common. Each grows by
    `per_doubling` for every doubling of the new share beyond one GPU.
    """

    start: float = 0.0
    reshape: float = 0.0
    shrink: float = 0.0
    per_doubling: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start", "reshape", "shrink", "per_doubling"):
            check_finite(
                f"overhead {name}", getattr(self, name), low=0.0, wanted="seconds, 0 or more"
            )

    @classmethod
    def constant(cls, seconds: float) -> Overhead:
        """The same cost for every change."""
        return cls(start=seconds, reshape=seconds, shrink=seconds)

    def seconds(self, old: Block | None, new: Block) -> float:
        """What moving from `old` (None: no GPUs) to `new` costs.

        >>> Overhead(start=20.0, per_doubling=2.0).seconds(None, Block("gpu", ("n1",), 4))
        24.0
        """
        return self.of(change_kind(old, new), new.gpus)

    def of(self, kind: ChangeKind | None, gpus: int) -> float:
        """What a change of a kind to `gpus` GPUs costs; nothing for no change."""
        if kind is None:
            return 0.0
        cost: float = getattr(self, _FIELDS[kind])
        if self.per_doubling:
            cost += self.per_doubling * math.log2(gpus)
        return cost


def overhead_field(kind: ChangeKind) -> str:
    """The field of `Overhead` that states the cost of a kind.

    >>> [overhead_field(kind) for kind in ChangeKind]
    ['start', 'reshape', 'shrink', 'shrink', 'reshape', 'reshape']
    """
    return _FIELDS[kind]


_FIELDS = {
    ChangeKind.START: "start",
    ChangeKind.SHRINK: "shrink",
    ChangeKind.RELAUNCH: "shrink",
    ChangeKind.GROW: "reshape",
    ChangeKind.MOVE: "reshape",
    ChangeKind.RESTART: "reshape",
}
