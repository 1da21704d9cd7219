"""How many deadlines any scheduler could meet: an upper bound, by linear and integer programming.

    pytest tests/benchmarks/test_bound.py -s          # minutes; EF_BOUND_SECONDS=600 for longer

Who draws up the schedule knows all arrivals. Time is cut where jobs arrive and fall due; inside an
interval a job may split its time between sizes as it likes, blocks always fit together, and sizes
change for nothing. Three bounds, each below the one before:

* *fluid*: a job may also be done in part, and counts in part.
* *whole shares*: a job takes at least the GPU time that some real sequence of sizes takes, each of
  which pays its overhead. Sizes in between two others, at no cost, are what the fluid one lives on.
* *whole jobs*: besides, a job is done or not. What the solver has proved when its time is up.

On the long traces neighbouring intervals are merged, which only raises the bounds.
"""

from __future__ import annotations

import math
import os
import time
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]
from scipy.sparse import coo_array  # type: ignore[import-untyped]

from ef_slurm.formats.throughput import read_throughputs
from ef_slurm.planner.timeline.curve import cheapest_mix, envelope
from ef_slurm.simulator.trace import Trace, read_trace

pytestmark = pytest.mark.benchmark

MOST_INTERVALS = 400
SOLVER_SECONDS = float(os.environ.get("EF_BOUND_SECONDS", "120"))


@dataclass(frozen=True)
class Asked:
    """A deadline job: iterations, useful (GPUs, iterations/s), arrival and deadline in seconds."""

    iterations: float
    sizes: tuple[tuple[int, float], ...]
    arrival: float
    deadline: float

    @property
    def window(self) -> float:
        """Seconds from the arrival to the deadline."""
        return self.deadline - self.arrival

    def least_gpu_seconds(self, overhead: float) -> float:
        """GPU time below which no sequence of sizes ends it in time; infinite where none does.

        Of two sizes each has its share of the window and pays its overhead. More than two never
        cost less: an average of three lies on a line between two of them.
        """
        best = math.inf
        for gpus, rate in self.sizes:
            seconds = overhead + self.iterations / rate
            if seconds <= self.window:
                best = min(best, gpus * seconds)
        trained = self.window - 2 * overhead
        for low, slow in self.sizes:
            for high, fast in self.sizes:
                if fast <= slow or not slow * trained < self.iterations <= fast * trained:
                    continue
                quick = (self.iterations - slow * trained) / (fast - slow)
                best = min(best, high * (quick + overhead) + low * (trained - quick + overhead))
        return best


def asked(trace: Trace, gpus: int) -> tuple[Asked, ...]:
    """The deadline jobs of a trace, with the sizes that a cluster of `gpus` has."""
    found = []
    for spec in trace.jobs:
        known = envelope(spec.curve, gpus)
        if spec.deadline is not None and known is not None:
            found.append(Asked(spec.iterations, known.sizes, spec.submitted, spec.deadline))
    return tuple(found)


def intervals(jobs: Iterable[Asked], most: int) -> NDArray[np.float64]:
    """Where time is cut: at arrivals and deadlines, or at as many of them as are allowed."""
    cuts = np.unique([moment for job in jobs for moment in (job.arrival, job.deadline)])
    if len(cuts) > most + 1:
        cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, most + 1).round().astype(int))]
    return cuts


class Rows:
    """Constraints `low <= row <= high` of a sparse program."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, float]] = []
        self._low: list[float] = []
        self._high: list[float] = []

    def add(
        self, entries: Iterable[tuple[int, float]], low: float = -math.inf, high: float = math.inf
    ) -> None:
        """One row: (variable, coefficient) pairs, and what it lies between."""
        self._entries += [(len(self._low), place, value) for place, value in entries]
        self._low.append(low)
        self._high.append(high)

    def constraint(self, variables: int) -> LinearConstraint:
        """All rows, for the solver."""
        rows, columns, values = zip(*self._entries, strict=True)
        shape = (len(self._low), variables)
        matrix = coo_array((values, (rows, columns)), shape=shape).tocsr()
        return LinearConstraint(matrix, self._low, self._high)


def upper_bound(
    jobs: tuple[Asked, ...], gpus: int, overhead: float, *, shares: bool, whole: bool
) -> float:
    """No more deadlines than this can be met.

    Args:
        jobs: all that have a deadline.
        gpus: of the cluster.
        overhead: seconds that every start and every change of size costs.
        shares: whether a job takes the GPU time of a real sequence of sizes.
        whole: whether a job is done or not; otherwise it may be done in part.
    """
    possible = [job for job in jobs if job.least_gpu_seconds(overhead) < math.inf]
    cuts = intervals(possible, MOST_INTERVALS)
    used: list[list[tuple[int, float]]] = [[] for _ in cuts[1:]]
    rows = Rows()
    variables = len(possible)  # first how much of each job is done
    for number, job in enumerate(possible):
        corners = cheapest_mix(job.sizes)[1:]
        work: list[tuple[int, float]] = []
        held: list[tuple[int, float]] = []
        first = max(0, bisect_right(cuts, job.arrival) - 1)
        for place in range(first, len(used)):
            seconds = min(cuts[place + 1], job.deadline) - max(cuts[place], job.arrival)
            if seconds <= 0:
                break
            here = range(variables, variables + len(corners))
            variables += len(corners)
            work += [(one, rate) for one, (rate, _) in zip(here, corners, strict=True)]
            held += [(one, size) for one, (_, size) in zip(here, corners, strict=True)]
            rows.add([(number, -seconds), *((one, 1.0) for one in here)], high=0.0)
            used[place] += held[-len(corners) :]
        # The first overhead is spent on some size, at the least on the slowest.
        wanted = job.iterations + overhead * corners[0][0]
        rows.add([(number, -1.0), *((one, rate / wanted) for one, rate in work)], low=0.0)
        if shares:
            least = job.least_gpu_seconds(overhead)
            rows.add([(number, -1.0), *((one, size / least) for one, size in held)], low=0.0)
    for place, shares_held in enumerate(used):
        if shares_held:
            seconds = cuts[place + 1] - cuts[place]
            rows.add([(one, size / gpus) for one, size in shares_held], high=seconds)
    high = np.full(variables, math.inf)
    high[: len(possible)] = 1.0
    gain = np.zeros(variables)
    gain[: len(possible)] = -1.0
    kinds = np.zeros(variables)
    kinds[: len(possible)] = float(whole)
    answer = milp(
        gain,
        integrality=kinds,
        bounds=Bounds(0.0, high),
        constraints=rows.constraint(variables),
        options={"time_limit": SOLVER_SECONDS, "mip_rel_gap": 1e-4},
    )
    if whole:
        return float(math.floor(-answer.mip_dual_bound + 1e-6))
    assert answer.status == 0, answer.message
    return float(-answer.fun)


@pytest.mark.parametrize("overhead", [0.0, 30.0])
@pytest.mark.parametrize(
    ("name", "tables", "nodes", "per_node"),
    [
        ("195job", "A100", 16, 8),
        ("fig8a_64gpus_T4", "T4", 16, 4),
        ("cluster03", "A100", 64, 8),
    ],
)
def test_what_any_scheduler_could_do(
    shared_data: Path, name: str, tables: str, nodes: int, per_node: int, overhead: float
) -> None:
    """Prints the bounds; each is below the one before."""
    curves = read_throughputs(shared_data / f"throughputs_{tables}")
    trace = read_trace(shared_data / "elasticflow-traces" / f"{name}.csv", curves)
    jobs = asked(trace, nodes * per_node)
    found: list[float] = []
    for shares, whole in ((False, False), (True, False), (True, True)):
        began = time.process_time()
        bound = upper_bound(jobs, nodes * per_node, overhead, shares=shares, whole=whole)
        if whole:  # if its time is up the solver may have proved less than is known
            bound = min(bound, math.floor(found[-1] + 1e-6))
        found.append(bound)
        print(
            f"\n{name}, {overhead:g} s, whole shares {shares}, whole jobs {whole}: at most "
            f"{bound:.1f} of {len(jobs)}, {bound / len(jobs):.4f}; "
            f"{time.process_time() - began:.0f} CPU s"
        )
    assert found[0] >= found[1] - 1e-6 >= found[2] - 1e-3
