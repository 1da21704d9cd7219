"""Synthetic traces follow their documented distributions."""

from __future__ import annotations

import numpy as np
import pytest

from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.generate import Recipe, generate, only_models

TABLES = analytic_tables()


def test_the_same_seed_gives_the_same_trace() -> None:
    recipe = Recipe(100, 60.0, seed=5, best_effort=0.5)
    assert generate(recipe, TABLES) == generate(recipe, TABLES)
    assert generate(recipe, TABLES) != generate(Recipe(100, 60.0, seed=6), TABLES)


def test_distributions() -> None:
    jobs = generate(Recipe(20_000, 900.0, seed=1, best_effort=0.25), TABLES).jobs
    arrivals = np.diff([job.submitted for job in jobs])
    assert arrivals.mean() == pytest.approx(900, rel=0.05)
    assert arrivals.std() == pytest.approx(900, rel=0.05)
    asked = np.array([job.requested_gpus for job in jobs])
    for size, weight in ((1, 0.83), (2, 0.03), (4, 0.03), (8, 0.10), (16, 0.01)):
        assert (asked == size).mean() == pytest.approx(weight, abs=0.01)
    minutes = np.log10([(job.duration or 0) / 60 for job in jobs])
    assert minutes.min() >= 1 - 1e-3
    assert minutes.max() <= 4
    assert (minutes < 2.5).mean() == pytest.approx(0.8, abs=0.01)
    assert np.mean([job.deadline is None for job in jobs]) == pytest.approx(0.25, abs=0.02)
    slack = [
        (job.deadline - job.submitted) / job.duration
        for job in jobs
        if job.deadline is not None and job.duration is not None
    ]
    assert min(slack) >= 0.5 - 1e-3
    assert max(slack) <= 1.5 + 1e-3
    assert np.mean(slack) == pytest.approx(1.0, abs=0.02)
    assert {(job.model, job.batch_size) for job in jobs} == set(TABLES)


def test_iterations_are_the_run_time_at_the_requested_size() -> None:
    for job in generate(Recipe(200, 60.0), TABLES).jobs:
        rate = dict(job.curve.points)[job.requested_gpus or 0]
        assert job.iterations == pytest.approx((job.duration or 0) * rate, abs=1.1)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ((0, 1.0), "jobs: 0"),
        ((1, 0.0), "mean inter-arrival: 0.0"),
        ((1, float("nan")), "mean inter-arrival: nan"),
        ((1, 1.0, 0, (1.5, 0.5)), "slack: 1.5 0.5"),
        ((1, 1.0, 0, (0.0, 0.5)), "slack: 0.0 0.5"),
        ((1, 1.0, 0, (0.5, 1.5), 1.5), "best-effort share: 1.5"),
    ],
)
def test_bad_recipes(recipe: tuple[int, float], message: str) -> None:
    with pytest.raises(SimulatorError, match=message):
        Recipe(*recipe)


def test_only_some_models() -> None:
    tables = only_models(TABLES, ["bert", "gpt2"])
    jobs = generate(Recipe(50, 60.0), tables).jobs
    assert {job.model for job in jobs} == {"bert", "gpt2"}
    with pytest.raises(SimulatorError, match="no table for model 'elmo'; known: bert"):
        only_models(TABLES, ["elmo"])
