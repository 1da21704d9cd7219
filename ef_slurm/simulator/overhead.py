"""What a start or a reshape costs in the simulated world."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ef_slurm.model import Block, Overhead
from ef_slurm.simulator.errors import SimulatorError

WANTED = "zero, constant:SECONDS or paper"


@dataclass(frozen=True, slots=True)
class OverheadModel:
    """A named rule: GPUs of the cluster → every job's `Overhead`."""

    name: str
    for_cluster: Callable[[int], Overhead]


def parse_overhead(text: str) -> OverheadModel:
    """The model that `--overhead` names.

    `paper` is the cost that the published artifact charges for a start at a new place: with
    b = 2 s (7 s on clusters of 256 GPUs or more), b + 2·(log2 n + 1) seconds on n GPUs. The
    artifact charges something to every running job at every round and adds periodic restart
    rounds; here it is charged where the share or the block changed, and only there.

    Raises:
        SimulatorError: not a known model.

    >>> parse_overhead("paper").for_cluster(128)
    Overhead(start=4.0, reshape=4.0, shrink=4.0, per_doubling=2.0)
    """
    kind, _, argument = text.partition(":")
    if kind == "zero" and not argument:
        return OverheadModel("zero", lambda _: Overhead())
    if kind == "paper" and not argument:
        return OverheadModel("paper", _paper)
    if kind == "constant" and argument:
        try:
            seconds = float(argument)
        except ValueError:
            seconds = math.nan
        if math.isfinite(seconds) and seconds >= 0:
            return OverheadModel(text, lambda _: Overhead.constant(seconds))
    raise SimulatorError(f"overhead {text!r} is not valid: {WANTED}")


def _paper(cluster_gpus: int) -> Overhead:
    base = 7.0 if cluster_gpus >= 256 else 2.0
    first = base + 2.0
    return Overhead(start=first, reshape=first, shrink=first, per_doubling=2.0)


def cost(overhead: Overhead, gpus: int, before: int, shrunk_in_place: bool) -> float:
    """Seconds of lost training when a job on `before` GPUs (0: none) goes to `gpus`.

    >>> cost(Overhead(start=10.0, per_doubling=1.0), 8, 0, False)
    13.0
    """
    if before == 0:
        seconds = overhead.start
    elif shrunk_in_place:
        seconds = overhead.shrink
    else:
        seconds = overhead.reshape
    return seconds + overhead.per_doubling * math.log2(gpus)


def shrinks_in_place(old: Block | None, new: Block | None) -> bool:
    """Whether the job only gives up whole nodes of those that it holds."""
    return (
        old is not None
        and new is not None
        and new.gpus < old.gpus
        and new.gpus_per_node == old.gpus_per_node
        and new.first_gpu == old.first_gpu
        and new.gpu_type == old.gpu_type
        and set(new.nodes) < set(old.nodes)
    )
