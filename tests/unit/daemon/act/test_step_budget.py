"""One job causes so many steps, whatever it reports."""

from __future__ import annotations

from ef_slurm.daemon.act.step_budget import SECONDS_PER_STEP, STEPS_AT_ONCE, StepBudget
from ef_slurm.daemon.act.steps import Hold, OrderStop, Requeue


def spent(budget: StepBudget, job_id: int, now: float) -> int:
    taken = 0
    while not budget.take(job_id, OrderStop(1), now):
        taken += 1
    return taken


def test_so_many_at_once_and_then_one_after_the_other() -> None:
    budget = StepBudget()
    assert spent(budget, 1, 100.0) == STEPS_AT_ONCE
    assert budget.take(1, OrderStop(1), 100.0) == SECONDS_PER_STEP
    assert spent(budget, 1, 100.0 + 3.5 * SECONDS_PER_STEP) == 3
    assert spent(budget, 2, 100.0) == STEPS_AT_ONCE
    assert spent(budget, 1, 1e9) == STEPS_AT_ONCE


def test_a_clock_that_is_set_back_gives_nothing() -> None:
    budget = StepBudget()
    spent(budget, 1, 1000.0)
    assert budget.take(1, OrderStop(1), 10.0) == SECONDS_PER_STEP
    assert spent(budget, 1, 10.0 + SECONDS_PER_STEP) == 1


def test_what_takes_gpus_from_it_is_done_all_the_same() -> None:
    budget = StepBudget()
    spent(budget, 1, 100.0)
    assert [budget.take(1, step, 100.0) for step in (Hold(), Requeue())] == [0.0, 0.0]


def test_it_is_told_once() -> None:
    budget = StepBudget()
    assert not budget.is_news(1)
    spent(budget, 1, 100.0)
    assert [budget.is_news(1), budget.is_news(1)] == [True, False]
    spent(budget, 1, 200.0)
    assert not budget.is_news(1)
    spent(budget, 1, 1e6)
    assert budget.is_news(1)
    budget.forget(1)
    assert spent(budget, 1, 1e6) == STEPS_AT_ONCE
