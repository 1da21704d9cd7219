"""What changes of share cost in the simulated world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ef_slurm.formats.costs import COSTS, CostsError, in_full, parse_costs
from ef_slurm.formats.durations import DurationError, parse_seconds
from ef_slurm.model import ChangeKind, Overhead, classify_change
from ef_slurm.simulator.errors import SimulatorError

WANTED = f"zero, constant:SECONDS, paper or {COSTS}"
MOST_SECONDS = 366 * 86400.0
"""Beyond some 1e17 s a clock of float seconds no longer moves, and a simulation never ends."""
_PAPER = "paper"


@dataclass(frozen=True, slots=True)
class OverheadModel:
    """A named rule.

    Args:
        name: as `--overhead` spells it.
        costs: of every job's changes, unless the name is `paper`.
    """

    name: str
    costs: Overhead = field(default_factory=Overhead)

    def for_cluster(self, gpus: int) -> Overhead:
        """Every job's overhead on a cluster of `gpus`."""
        if self.name != _PAPER:
            return self.costs
        first = (7.0 if gpus >= 256 else 2.0) + 2.0
        return replace(Overhead.constant(first), per_doubling=2.0)


def parse_overhead(text: str) -> OverheadModel:
    """The model that `--overhead` names, or the costs that it states.

    A kind of change that the text does not name costs as much as the dearest of those that it does.

    `paper` is the cost that the published artifact charges for a start at a new place: with
    b = 2 s (7 s on clusters of 256 GPUs or more), b + 2·(log2 n + 1) seconds on n GPUs. The
    artifact charges something to every running job at every round and adds periodic restart
    rounds; here it is charged where the share or the block changed, and only there.

    Raises:
        SimulatorError: not a known model, and no costs.

    >>> parse_overhead("paper").for_cluster(128)
    Overhead(start=4.0, grow=4.0, shrink=4.0, move=4.0, restart=4.0, per_doubling=2.0)
    >>> parse_overhead("start=30,grow=2,shrink=1.5").for_cluster(128)
    Overhead(start=30.0, grow=2.0, shrink=1.5, move=30.0, restart=30.0, per_doubling=0.0)
    """
    if text in ("zero", _PAPER):
        return OverheadModel(text)
    kind, colon, argument = text.partition(":")
    try:
        if kind == "constant" and colon:
            seconds = parse_seconds(argument, most=MOST_SECONDS)
            return OverheadModel(text, Overhead.constant(seconds))
        if "=" in text:
            return OverheadModel(text, in_full(parse_costs(text)))
    except CostsError as error:
        raise SimulatorError(f"overhead {text!r} is not valid: {error}") from None
    except DurationError as error:
        raise SimulatorError(f"overhead {text!r} is not valid: {error}; {WANTED}") from None
    raise SimulatorError(f"overhead {text!r} is not valid: {WANTED}")


def counted_change(before: int, gpus: int) -> ChangeKind | None:
    """The kind of a change from `before` GPUs (0: none) to `gpus`, whose blocks nobody knows.

    `change_kind` is the rule where they are known. Here a job that keeps its number of GPUs is
    taken to stay, and one that gets fewer to need a restart.

    >>> counted_change(0, 8).value, counted_change(8, 4).value, counted_change(8, 8)
    ('start', 'restart', None)
    """
    if not gpus or before == gpus:
        return None
    if not before:
        return ChangeKind.START
    return classify_change(before, gpus, same_type=True, same_nodes=False)
