"""All plans made anew: for whom it is tried once more if somebody is late."""

from __future__ import annotations

import pytest

from ef_slurm.model import Cluster, Job, Outcome, Policy, ThroughputCurve
from tests.unit.planner.world import World

RATES = {1: 1.0, 2: 1.8, 4: 3.2, 8: 5.6}


def job(name: str, iterations: float, deadline: float, least: int = 1) -> Job:
    """A job that runs on `least` GPUs and more."""
    points = {gpus: rate for gpus, rate in RATES.items() if gpus >= least}
    curves = (("gpu", ThroughputCurve.of(points)),)
    return Job(name, 0.0, iterations, curves, deadline=deadline)


def full_world(offers: bool = False) -> World:
    """Sixteen GPUs on which, planned in either order with a newcomer, somebody is late."""
    world = World(Cluster.uniform(nodes=4, gpus_per_node=4), Policy(offers=offers))
    world.submit(
        job("a", 280.0, 120.0, least=2),
        job("b", 560.0, 200.0, least=4),
        job("c", 640.0, 240.0, least=8),
        job("d", 360.0, 200.0),
        job("e", 440.0, 200.0, least=2),
    )
    assert len(world.promised) == 5
    return world


@pytest.mark.parametrize(
    ("iterations", "outcome"),
    [
        (10.0, Outcome.PROMISED),  # less than a fiftieth of what 16 GPUs do until its deadline
        (100.0, Outcome.REJECTED),
    ],
)
def test_a_large_job_that_is_late_is_taken_before_one_that_asks_for_little(
    iterations: float, outcome: Outcome
) -> None:
    world = full_world()
    world.submit(job("new", iterations, 140.0))
    assert world.verdicts["new"].outcome is outcome
    world.advance(300.0)  # promises are kept, the world checks it
    assert len(world.finished) == 5 + (outcome is Outcome.PROMISED)


def test_an_offer_counts_on_the_same() -> None:
    world = full_world(offers=True)
    twin = world.copy()
    world.submit(job("new", 10.0, 9.5))  # not even alone
    offer = world.verdicts["new"].earliest_deadline
    assert offer is not None
    twin.submit(job("new", 10.0, offer))
    assert twin.verdicts["new"].outcome is Outcome.PROMISED
