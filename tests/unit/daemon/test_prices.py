"""`admission = "most-promises"` in the daemon: its price, its words, and what a restart leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.plan.planner_input import weighted
from ef_slurm.daemon.settings import Settings
from ef_slurm.model import Admission, Outcome, Policy, QueueJob, ReasonCode, StoredVerdict, Weight
from ef_slurm.planner.what_if import WhatIf
from tests.unit.daemon.world import World

PRICED = Policy(admission=Admission.MOST_PROMISES)


def world_with(path: Path, policy: Policy) -> World:
    settings = Settings(ResourceScope(frozenset({"ef"})), policy=policy, idle_interval=5.0, uid=0)
    return World(path, settings=settings)


def crowded(path: Path, policy: Policy = PRICED) -> World:
    """Many short jobs have come within a short time, and most of them are done."""
    world = world_with(path, policy)
    for _ in range(20):
        world.submit(1_000, 100.0)
        world.run(2)
    world.run(40)
    return world


def verdict_on(world: World, job: QueueJob) -> StoredVerdict:
    world.run(3)
    verdict = world.queue.promises.verdict(job.id)
    assert verdict is not None
    return verdict


def test_the_price_survives_a_restart_and_is_told_in_words(tmp_path: Path) -> None:
    world = crowded(tmp_path / "queue.sqlite")
    remembered = world.queue.arrivals.all()
    assert len(remembered) == 20
    world.restart()
    verdict = verdict_on(world, world.submit(25_000, 400.0))
    assert (verdict.outcome, verdict.reason.code) == (Outcome.REJECTED, ReasonCode.PRICED)
    assert "worth as much as" in verdict.explanation
    assert "typical jobs now; the earliest deadline that can be promised is" in verdict.explanation
    assert world.queue.arrivals.all()[:-1] == remembered


def test_a_what_if_tells_the_price_and_is_no_arrival(tmp_path: Path) -> None:
    world = crowded(tmp_path / "queue.sqlite")
    submitted = world.submit(25_000, 400.0)
    before = world.queue.arrivals.all()
    answer, words = world.scheduler.judge(submitted.request)
    assert isinstance(answer, WhatIf)
    assert answer.verdict.reason.code is ReasonCode.PRICED
    assert "typical jobs" in words
    assert world.queue.arrivals.all() == before


def test_without_prices_the_same_job_is_promised_and_nothing_is_remembered(tmp_path: Path) -> None:
    world = crowded(tmp_path / "queue.sqlite", Policy())
    verdict = verdict_on(world, world.submit(25_000, 400.0))
    assert verdict.outcome is Outcome.PROMISED
    assert world.queue.arrivals.all() == ()


def test_a_weight_is_that_of_its_account_and_its_qos(tmp_path: Path) -> None:
    world = crowded(tmp_path / "queue.sqlite", replace(PRICED, weights=(Weight(20.0),)))
    job = world.submit(25_000, 400.0)
    assert verdict_on(world, job).outcome is Outcome.REJECTED  # all others weigh as much
    policy = Policy(weights=(Weight(3.0, account="vision"), Weight(4.0, qos="urgent")))
    seen = replace(job.for_planner(), account="vision")
    assert weighted(seen, policy).weight == 3.0
    assert weighted(seen, policy, "urgent").weight == 12.0
