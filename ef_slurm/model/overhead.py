"""What a change of share costs."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ef_slurm.model.block import Block
from ef_slurm.model.checks import check_finite


class ChangeKind(enum.Enum):
    """The ways of getting another share that cost training time."""

    START = "start"
    RESHAPE = "reshape"
    SHRINK = "shrink"


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of lost training per change of share; the GPUs are held all the while.

    `start` is paid by a first start and by a resume, `reshape` by a move from one running share to
    another through checkpoint and requeue, `shrink` by giving up the last nodes in place (the
    batch script runs on the first). Each grows by `per_doubling` for every doubling of the new
    share beyond one GPU.
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
        """The same cost for every start and every reshape."""
        return cls(start=seconds, reshape=seconds, shrink=seconds)

    def seconds(self, old: Block | None, new: Block) -> float:
        """What moving from `old` (None: no GPUs) to `new` costs.

        >>> Overhead(start=20.0, per_doubling=2.0).seconds(None, Block("gpu", ("n1",), 4))
        24.0
        """
        if old == new:
            return 0.0
        if old is None:
            base = self.start
        elif (
            old.gpu_type == new.gpu_type
            and old.gpus_per_node == new.gpus_per_node
            and len(new.nodes) < len(old.nodes)
            and new.nodes == old.nodes[: len(new.nodes)]
        ):
            base = self.shrink
        else:
            base = self.reshape
        return base + self.per_doubling * (new.gpus.bit_length() - 1)
