"""Property 2 over thousands of events: a busy cluster, all seeds of which keep their promises.

Hypothesis finds small counterexamples (`test_properties_stateful`); these lives are long, so that
plans are overtaken many times by new ones. Every plan on the way is checked by `world`.
"""

from __future__ import annotations

import os
import random

import pytest

from ef_slurm.model import Cluster, Outcome
from tests.unit.planner.churn import live, random_cluster, random_events, random_policy
from tests.unit.planner.world import World

# Hours of simulated life: measured, they take three times as long.
pytestmark = pytest.mark.no_cover

LONG = os.environ.get("EF_HYPOTHESIS_PROFILE") == "long"
SIZES = [(1, 8), (4, 4), (5, 8), (16, 8)]


@pytest.mark.parametrize("seed", range(40 if LONG else 2))
@pytest.mark.parametrize(("nodes", "gpus_per_node"), SIZES)
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
def test_promises_hold_in_a_long_life(
    nodes: int, gpus_per_node: int, holes: bool, seed: int
) -> None:
    rng = random.Random(f"{seed} {nodes} {gpus_per_node} {holes}")
    cluster = Cluster.uniform(nodes, gpus_per_node)
    if holes:
        cluster = random_cluster(rng, nodes, gpus_per_node)
    world = World(cluster, random_policy(rng))
    arrivals = 400 if LONG else 60
    events = list(random_events(rng, arrivals, cluster.gpus, load=rng.choice([0.7, 1.3, 2.5])))
    live(world, events)
    outcomes = [verdict.outcome for verdict in world.verdicts.values()]
    print(
        f"\n{nodes} x {gpus_per_node}, seed {seed}: {len(events)} events, {len(outcomes)} jobs, "
        f"{outcomes.count(Outcome.PROMISED)} promised, {world.reshapes} reshapes"
    )
    assert not world.promised
