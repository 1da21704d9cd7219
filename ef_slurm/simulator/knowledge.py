"""What a scheduler knows of throughput curves while it schedules: all, nothing yet, or wrongly.

A simulated job trains at its true rates. What a policy plans with is a `Belief`, and a `Knowledge`
says where it comes from:

* `KnownCurves`: the truth, from the first moment (what all published evaluations assume);
* `LearnedCurves`: jobs come without curves. The first job of a (model, global batch size) is
  *measured* while it trains, on one GPU and on a whole node; then `profiling.scaling` predicts the
  other sizes, and every size that any job of that key trains on is measured as well;
* `WrongCurves`: users tell curves that are off by a factor, drawn for each job. The truth about a
  size comes out once the job has trained on it, and how far users were off before is counted on
  for those who come.

Rates are iterations/s, times seconds on the trace's clock.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from ef_slurm.formats.numbers import parse_count, parse_number
from ef_slurm.model import ThroughputCurve
from ef_slurm.planner.measuring import Measurement
from ef_slurm.profiling.measuring import Belief, Need, believe, wanted
from ef_slurm.simulator.cluster import GPU_TYPE
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.trace import TraceJob

REMEMBERED_FACTORS = 100
TRUSTED_SHARE = 0.95
"""Of the told curves seen so far, the share that a promise's margin would have covered."""


class Knowledge(Protocol):
    """Where beliefs come from."""

    learns: bool
    """Whether training tells it anything."""

    def belief(self, job: TraceJob, need: Need) -> Belief | None:
        """What to plan the job with; None for as long as it has to be measured."""
        ...

    def measurement(self, job: TraceJob, need: Need) -> Measurement | None:
        """How a job without a belief is measured; None where it waits for another of its key."""
        ...

    def learn(self, job: TraceJob, gpus: int, rate: float) -> None:
        """The job has trained long enough on a size for its rate to be known."""
        ...

    def leave(self, job: TraceJob) -> None:
        """The job has ended or was sent away."""
        ...


class KnownCurves:
    """Everybody knows everything."""

    learns = False

    def belief(
        self,
        job: TraceJob,
        need: Need,  # noqa: ARG002 - the truth does not depend on it
    ) -> Belief:
        """The truth."""
        return Belief(job.curve, job.curve)

    def measurement(self, job: TraceJob, need: Need) -> None:
        """Nothing is measured."""

    def learn(self, job: TraceJob, gpus: int, rate: float) -> None:
        """There is nothing to learn."""

    def leave(self, job: TraceJob) -> None:
        """Nobody is waited for."""


class LearnedCurves:
    """Curves by (model, global batch size), as far as jobs have trained.

    Args:
        gpus_per_node: GPUs of a node, a power of two.
        gpus: of the cluster: no larger size is predicted.
    """

    learns = True

    def __init__(self, gpus_per_node: int, gpus: int) -> None:
        self._gpus_per_node = gpus_per_node
        self._gpus = gpus
        self._rates: dict[tuple[str, int], dict[int, float]] = {}
        self._beliefs: dict[tuple[str, int], Belief] = {}
        self._measuring: dict[tuple[str, int], str] = {}

    def belief(self, job: TraceJob, need: Need) -> Belief | None:
        """The fitted curve, once enough sizes were measured for this job or its time is up."""
        rates = self._rates.get(job.key)
        if not rates or wanted(need, rates, self._sizes(job), self._gpus_per_node):
            return None
        if job.key not in self._beliefs:
            self._beliefs[job.key] = believe(rates, self._sizes(job), self._gpus_per_node)
        return self._beliefs[job.key]

    def measurement(self, job: TraceJob, need: Need) -> Measurement | None:
        """A size that is still missing, for the first job of the key."""
        if self._measuring.setdefault(job.key, job.id) != job.id:
            return None
        rates = self._rates.get(job.key, {})
        sizes = wanted(need, rates, self._sizes(job), self._gpus_per_node)
        if not sizes:
            return None
        return Measurement(GPU_TYPE, sizes[0], ThroughputCurve.of(rates) if rates else None)

    def learn(self, job: TraceJob, gpus: int, rate: float) -> None:
        """Remember the size for the key."""
        rates = self._rates.setdefault(job.key, {})
        if gpus not in rates:
            rates[gpus] = rate
            self._beliefs.pop(job.key, None)

    def leave(self, job: TraceJob) -> None:
        """Another job of the key may be measured."""
        if self._measuring.get(job.key) == job.id:
            del self._measuring[job.key]

    def _sizes(self, job: TraceJob) -> tuple[int, ...]:
        # That a size cannot run at all (it does not divide the batch, say) is known beforehand.
        return tuple(gpus for gpus, _ in job.curve.points if gpus <= self._gpus)


class WrongCurves:
    """Told curves that are off by a factor drawn uniformly from 1 - spread to 1 + spread.

    Args:
        spread: 0 to below 1.
        seed: the factors depend on it and on the jobs' ids only.
    """

    learns = True

    def __init__(self, spread: float, seed: int) -> None:
        self._spread = spread
        self._seed = seed
        self._rates: dict[str, dict[int, float]] = {}
        self._factors: deque[float] = deque(maxlen=REMEMBERED_FACTORS)

    def belief(
        self,
        job: TraceJob,
        need: Need,  # noqa: ARG002 - a told curve needs no measuring first
    ) -> Belief:
        """The told curve with what was measured in it; else with the margin that others needed."""
        stated = self._stated_curve(job)
        rates = self._rates.get(job.id)
        if rates is None:
            return Belief(_scaled(stated, 1 / self._margin()), stated)
        points = dict(stated.points)
        factors = {gpus: rate / points[gpus] for gpus, rate in rates.items() if gpus in points}
        promised, expected = {}, {}
        for gpus, rate in points.items():
            nearest = min(factors, key=lambda size: (abs(math.log2(size / gpus)), size))
            expected[gpus] = rates.get(gpus, rate * factors[nearest])
            promised[gpus] = rates.get(gpus, rate * min(1.0, factors[nearest]))
        return Belief(ThroughputCurve.of(promised), ThroughputCurve.of(expected))

    def measurement(self, job: TraceJob, need: Need) -> None:
        """Nothing is measured first."""

    def learn(self, job: TraceJob, gpus: int, rate: float) -> None:
        """The job's own size is known, and how far it was off is remembered."""
        known = self._rates.setdefault(job.id, {})
        if not known:
            stated = dict(self._stated_curve(job).points).get(gpus, rate)
            self._factors.append(max(1.0, stated / rate))
        known[gpus] = rate

    def leave(self, job: TraceJob) -> None:
        """What was measured of the job is no longer needed."""
        self._rates.pop(job.id, None)

    def _stated_curve(self, job: TraceJob) -> ThroughputCurve:
        draw = random.Random(f"{self._seed}:{job.id}").uniform(-self._spread, self._spread)  # noqa: S311 - no secret
        return _scaled(job.curve, 1 + draw)

    def _margin(self) -> float:
        """How many times too fast told curves were, all but the worst of them."""
        if not self._factors:
            return 1.0
        ranked = sorted(self._factors)
        return ranked[math.ceil(TRUSTED_SHARE * len(ranked)) - 1]


def _scaled(curve: ThroughputCurve, factor: float) -> ThroughputCurve:
    return ThroughputCurve(tuple((gpus, rate * factor) for gpus, rate in curve.points))


@dataclass(frozen=True, slots=True)
class CurvesOption:
    """What `--curves` says.

    Args:
        name: as it was spelled.
        spread: of `off`; None for the others.
        seed: of `off`.
    """

    name: str = "known"
    spread: float | None = None
    seed: int = 0

    def knowledge(self, nodes: int, gpus_per_node: int) -> Knowledge:
        """A fresh one, for a cluster of that size."""
        if self.spread is not None:
            return WrongCurves(self.spread, self.seed)
        if self.name == "learned":
            return LearnedCurves(gpus_per_node, nodes * gpus_per_node)
        return KnownCurves()


CURVES_WANTED = "known, learned or off:SPREAD[:SEED] with a spread from 0 to below 1"


def parse_curves(text: str) -> CurvesOption:
    """What `--curves` names.

    Raises:
        SimulatorError: nothing that is known.

    >>> parse_curves("off:0.3:7")
    CurvesOption(name='off:0.3:7', spread=0.3, seed=7)
    """
    kind, *numbers = text.split(":")
    if kind in ("known", "learned") and not numbers:
        return CurvesOption(kind)
    if kind == "off" and 1 <= len(numbers) <= 2:
        spread = parse_number(numbers[0])
        seed = parse_count(numbers[1]) if len(numbers) == 2 else 0
        if spread is not None and 0 <= spread < 1 and seed is not None:
            return CurvesOption(text, spread, seed)
    raise SimulatorError(f"curves {text!r} is not valid: {CURVES_WANTED}")
