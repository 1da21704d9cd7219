"""Synthetic traces with documented distributions, after the paper's Figures 9 to 11.

- inter-arrival: exponential with a given mean;
- model and batch size: uniform over the throughput tables;
- requested GPUs: 1 (probability .83), 2 (.03), 4 (.03), 8 (.10), 16 (.01), cut to the curve;
- run time at that size: 60 · 10^U(1, 2.5) s (probability .8) or 60 · 10^U(2.5, 4) s (.2);
- iterations: run time times the curve at that size, rounded down, at least 1;
- deadline: submission + U(low, high) times the run time, (0.5, 1.5) by default;
- best effort: every job with a given probability, instead of a deadline;
- account: of `accounts`, a1, a2, …, the k-th with a probability in proportion to 1/k, from a stream
  of its own.

The same arguments give the same trace (numpy's PCG64, one stream, in the order above).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ef_slurm.formats.throughput import ThroughputTables
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.trace import Trace, TraceJob, make_trace

_SIZES = (1, 2, 4, 8, 16)
_SIZE_WEIGHTS = (0.83, 0.03, 0.03, 0.10, 0.01)
_LONG = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to generate.

    Args:
        jobs: how many, 1 or more.
        mean_interarrival: seconds between two submissions, on average.
        seed: of the random numbers.
        slack: deadlines lie uniformly so many run times after the submission.
        best_effort: part of the jobs without a deadline, 0 to 1.
        accounts: whose the jobs are, so many; 0: it is not said.

    Raises:
        SimulatorError: a number out of these bounds.
    """

    jobs: int
    mean_interarrival: float
    seed: int = 0
    slack: tuple[float, float] = (0.5, 1.5)
    best_effort: float = 0.0
    accounts: int = 0

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise SimulatorError(f"jobs: {self.jobs} is not valid: 1 or more")
        if not 0 < self.mean_interarrival < float("inf"):
            raise SimulatorError(
                f"mean inter-arrival: {self.mean_interarrival} is not valid: positive seconds"
            )
        low, high = self.slack
        if not 0 < low <= high < float("inf"):
            raise SimulatorError(
                f"slack: {low} {high} is not valid: two positive factors, the smaller one first"
            )
        if self.accounts < 0:
            raise SimulatorError(f"accounts: {self.accounts} is not valid: 0 or more")
        if not 0 <= self.best_effort <= 1:
            raise SimulatorError(
                f"best-effort share: {self.best_effort} is not valid: between 0 and 1"
            )


def only_models(tables: ThroughputTables, names: list[str]) -> ThroughputTables:
    """The tables of some models.

    Raises:
        SimulatorError: there is none for one of them.
    """
    known = sorted({model for model, _ in tables})
    for name in names:
        if name not in known:
            raise SimulatorError(f"no table for model {name!r}; known: {', '.join(known)}")
    return {key: curve for key, curve in tables.items() if key[0] in names}


def generate(recipe: Recipe, tables: ThroughputTables) -> Trace:
    """A trace of the recipe.

    Args:
        recipe: how many jobs, how often, how tight.
        tables: the models and batch sizes to draw from, uniformly.
    """
    random = np.random.default_rng(recipe.seed)
    templates = sorted(tables)
    parts = 1.0 / np.arange(1, recipe.accounts + 1)
    of_accounts = np.random.default_rng([recipe.seed, recipe.accounts])
    submitted = 0.0
    jobs = []
    for number in range(1, recipe.jobs + 1):
        submitted += float(random.exponential(recipe.mean_interarrival))
        model, batch = templates[int(random.integers(len(templates)))]
        curve = tables[model, batch]
        wanted = int(random.choice(_SIZES, p=_SIZE_WEIGHTS))
        gpus, rate = curve.points[0]
        for size, at_size in curve.points:
            if size <= wanted:
                gpus, rate = size, at_size
        long = random.random() < _LONG
        seconds = 60 * 10 ** float(random.uniform(2.5, 4) if long else random.uniform(1, 2.5))
        deadline = submitted + float(random.uniform(*recipe.slack)) * seconds
        best_effort = random.random() < recipe.best_effort
        account = ""
        if recipe.accounts:
            account = f"a{1 + int(of_accounts.choice(recipe.accounts, p=parts / parts.sum()))}"
        jobs.append(
            TraceJob(
                id=str(number),
                submitted=round(submitted, 3),
                iterations=max(1.0, float(int(seconds * rate))),
                model=model,
                batch_size=batch,
                curve=curve,
                deadline=None if best_effort else round(deadline, 3),
                requested_gpus=gpus,
                duration=round(seconds, 3),
                account=account,
            )
        )
    return make_trace(f"generated-{recipe.seed}", jobs)
