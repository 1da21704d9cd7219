"""Changes of share: of which kind one is, and what it costs.

`change_kind` is the only place that decides. The planner counts on its answer, the simulator
charges it, the daemon carries it out and measures it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ef_slurm.model.block import Block
from ef_slurm.model.checks import check_finite


class ChangeKind(enum.Enum):
    """The ways of getting another share, each of which costs training time.

    Slurm can take whole nodes from a running job, but neither the first one, where the batch script
    runs, nor single GPUs of a node, and it can add nothing. What it cannot do goes through its
    queue. A growth by whole nodes need not: another Slurm job can bring them to a training that
    takes them in. Where it does not, that is done, and paid, like a restart.
    """

    START = "start"  # from no GPUs: for the first time, or after a pause
    GROW = "grow"  # by whole nodes behind those that it keeps holding
    SHRINK = "shrink"  # in place: to the first nodes of those that it holds
    RELAUNCH = "relaunch"  # in place: to train on another part of the GPUs that it keeps holding
    MOVE = "move"  # to as many GPUs elsewhere
    RESTART = "restart"  # to more or fewer GPUs in any other way, or to another GPU type


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
    >>> four_nodes = Block("gpu", ("n1", "n2", "n3", "n4"), 4)
    >>> change_kind(two_nodes, four_nodes).value
    'grow'
    >>> change_kind(Block("gpu", ("n3", "n4"), 4), four_nodes).value  # its first would be n1
    'restart'
    >>> change_kind(Block("gpu", ("n1",), 2), Block("gpu", ("n1",), 4)).value  # inside a node
    'restart'
    """
    if new is None:
        return None
    if old is None:
        return ChangeKind.START
    fewer, more = sorted((old, new), key=lambda block: block.gpus)
    # The first node is where the batch script runs: a shrink keeps it, a growth adds behind it.
    first = old.nodes[0]
    kept = first == new.nodes[0] if new.gpus > old.gpus else first in new.nodes
    kind = classify_change(
        old.gpus,
        new.gpus,
        same_type=old.gpu_type == new.gpu_type,
        same_nodes=kept
        and old.gpus_per_node == new.gpus_per_node
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
        same_nodes: whether the smaller of the two blocks lies on nodes of the larger one, with as
            many GPUs on each, and the first of the old nodes stays the first (of a shrink: stays).
    """
    if not same_type:
        return ChangeKind.RESTART
    if new_gpus == old_gpus:
        return None if same_nodes else ChangeKind.MOVE
    if not same_nodes:
        return ChangeKind.RESTART
    return ChangeKind.GROW if new_gpus > old_gpus else ChangeKind.SHRINK


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of lost training per change of share; the GPUs are held all the while.

    One cost for each kind of change, but that a relaunch costs what a shrink does: both are done in
    place. Each grows by `per_doubling` for every doubling of the new share beyond one GPU. A job
    that trains on while its growth is prepared loses the difference to having all of it at once.
    """

    start: float = 0.0
    grow: float = 0.0
    shrink: float = 0.0
    move: float = 0.0
    restart: float = 0.0
    per_doubling: float = 0.0

    FORMER_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        # Every growth was a requeue.
        "reshape": ("grow", "move", "restart")
    }
    """Keys that records of earlier versions have, and which fields each of them states."""

    def __post_init__(self) -> None:
        for name in OVERHEAD_FIELDS:
            check_finite(
                f"overhead {name}", getattr(self, name), low=0.0, wanted="seconds, 0 or more"
            )

    @classmethod
    def constant(cls, seconds: float) -> Overhead:
        """The same cost for every change."""
        return cls(start=seconds, grow=seconds, shrink=seconds, move=seconds, restart=seconds)

    def seconds(self, old: Block | None, new: Block, *, doubles: bool = False) -> float:
        """What moving from `old` (None: no GPUs) to `new` costs.

        Args:
            doubles: whether a growth is done by doublings (`growth`).

        >>> Overhead(start=20.0, per_doubling=2.0).seconds(None, Block("gpu", ("n1",), 4))
        24.0
        """
        return self.of(change_kind(old, new), new.gpus, old.gpus if doubles and old else None)

    def of(self, kind: ChangeKind | None, gpus: int, doubled: int | None = None) -> float:
        """What a change of a kind to `gpus` GPUs costs; nothing for no change.

        Args:
            doubled: the number of GPUs that a growth doubles, again and again; None: it is done at
                once.
        """
        if kind is None:
            return 0.0
        cost: float = getattr(self, _FIELDS[kind])
        if kind is ChangeKind.GROW and doubled is not None:
            cost = self.growth(doubled, gpus)
        return self.scaled(cost, gpus) if self.per_doubling else cost

    def growth(self, old_gpus: int, new_gpus: int) -> float:
        """What growing by whole nodes costs that is done by doublings.

        Several may take longer than a requeue, which is the way of those who have not the time.

        >>> [Overhead(grow=10.0, restart=15.0).growth(2, gpus) for gpus in (4, 8, 16)]
        [10.0, 15.0, 15.0]
        """
        doublings = doublings_of(old_gpus, new_gpus)
        if doublings < 2:
            return self.grow
        return min(doublings * self.grow, max(self.grow, self.restart))

    def scaled(self, seconds: float, gpus: int) -> float:
        """What costs so many seconds on one GPU, on `gpus` of them."""
        return seconds + self.per_doubling * math.log2(gpus)


def doublings_of(old_gpus: int, new_gpus: int) -> int:
    """How often the smaller number has to be doubled to be the larger one.

    >>> doublings_of(2, 16)
    3
    """
    return (new_gpus // old_gpus).bit_length() - 1


def overhead_field(kind: ChangeKind) -> str:
    """The field of `Overhead` that states the cost of a kind.

    >>> [overhead_field(kind) for kind in ChangeKind]
    ['start', 'grow', 'shrink', 'shrink', 'move', 'restart']
    """
    return _FIELDS[kind]


_FIELDS = {
    **{kind: kind.value for kind in ChangeKind},
    ChangeKind.RELAUNCH: ChangeKind.SHRINK.value,
}
OVERHEAD_KINDS = tuple(dict.fromkeys(_FIELDS.values()))
"""The fields of `Overhead` that state the cost of a kind, in the order of `ChangeKind`."""
OVERHEAD_FIELDS = (*OVERHEAD_KINDS, "per_doubling")
"""All fields of `Overhead`."""
