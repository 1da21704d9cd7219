"""What Slurm says of nodes → what the planner may use."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

from ef_slurm.daemon.act.free_gpus import free_gpus_of
from ef_slurm.daemon.observe.capacity import OVERDUE_SECONDS, ResourceScope, cluster_of
from ef_slurm.model import Block, Outage
from ef_slurm.slurm.types import HoldKind, JobBaseState, Observation, SlurmJob, SlurmReservation
from tests.unit.daemon.make import ELSEWHERE, NOW, TWO_NODES, node, slurm_job

SCOPE = ResourceScope(frozenset({"ef"}))


def seen(*nodes: Any, jobs: tuple[SlurmJob, ...] = (), reservations: Any = ()) -> Observation:
    by_id = MappingProxyType({job.job_id: job for job in jobs})
    return Observation(NOW, by_id, nodes, reservations)


def outages(
    observation: Observation, scope: ResourceScope = SCOPE
) -> dict[str, tuple[Outage, ...]]:
    (group,) = cluster_of(observation, scope, {1}).groups
    return {node.name: node.outages for node in group.nodes}


def test_nodes_that_slurm_cannot_use_are_out() -> None:
    found = outages(seen(node("n1"), node("n2", 4, "IDLE", "DRAIN"), node("n3", 4, "DOWN")))
    assert found == {"n1": (), "n2": (Outage(0.0),), "n3": (Outage(0.0),)}


def test_a_node_with_fewer_gpus_lacks_the_rest() -> None:
    assert outages(seen(node("n1", 8), node("n2", 6)))["n2"] == (Outage(0.0, gpus=2),)


def test_others_jobs_are_gone_until_their_time_limit() -> None:
    limited = slurm_job(JobBaseState.RUNNING, on=TWO_NODES, job_id=2, end_time=NOW + 60)
    endless = slurm_job(JobBaseState.RUNNING, on=ELSEWHERE, job_id=3, end_time=math.inf)
    ours = slurm_job(JobBaseState.RUNNING, on=ELSEWHERE, job_id=1)
    nodes = [node(f"n{number}") for number in range(1, 5)]
    found = outages(seen(*nodes, jobs=(limited, endless, ours)))
    assert found["n1"] == (Outage(0.0, NOW + 60, 4),)
    assert found["n3"] == (Outage(0.0, math.inf, 4),)


def test_an_overdue_job_is_not_over_yet() -> None:
    late = slurm_job(JobBaseState.RUNNING, on=TWO_NODES, job_id=2, end_time=NOW - 5)
    found = outages(seen(node("n1"), node("n2"), jobs=(late,)))
    assert OVERDUE_SECONDS == 60.0  # Slurm's own OverTimeLimit and KillWait are of that order
    assert found["n1"] == (Outage(0.0, NOW + 60.0, 4),)


def test_reservations_take_nodes_and_ours_gives_them() -> None:
    maintenance = SlurmReservation("maint", NOW + 100, NOW + 200, ("n1",))
    mine = SlurmReservation("ef", 0.0, NOW + 1e6, ("n1",))
    observation = seen(node("n1"), node("n2"), reservations=(maintenance, mine))
    assert Outage(NOW + 100, NOW + 200) in outages(observation)["n1"]
    inside = outages(observation, ResourceScope(frozenset({"ef"}), reservation="ef"))
    assert inside == {"n1": (Outage(NOW + 100, NOW + 200),)}


def test_types_and_order() -> None:
    observation = seen(node("b1", kind="a100"), node("b2", kind="a100"), node("t1", kind="t4"))
    scope = ResourceScope(frozenset({"ef"}), order=("b2", "b1"))
    groups = cluster_of(observation, scope, ()).groups
    assert [group.gpu_type for group in groups] == ["a100", "t4"]
    assert [one.name for one in groups[0].nodes] == ["b2", "b1"]


def test_other_partitions_and_nodes_without_gpus_are_not_ours() -> None:
    assert cluster_of(seen(node("c1", 0)), SCOPE, ()).groups == ()
    assert cluster_of(seen(node("n1")), ResourceScope(frozenset({"other"})), ()).groups == ()


def test_what_is_really_free_is_counted() -> None:
    leaving = slurm_job(
        JobBaseState.PENDING, on=TWO_NODES, job_id=1, flags=frozenset({"COMPLETING"})
    )
    released = slurm_job(asks=ELSEWHERE, job_id=2)
    theirs = slurm_job(asks=Block("gpu", ("n5",), 4), job_id=3)
    held = slurm_job(asks=Block("gpu", ("n5",), 4), job_id=4, hold=HoldKind.ADMIN)
    nodes = [node(f"n{number}") for number in range(1, 6)]
    free_gpus = free_gpus_of(seen(*nodes, jobs=(leaving, released, theirs, held)), {1, 2, 4})
    assert free_gpus.by_node == {"n1": 0, "n2": 0, "n3": 0, "n4": 0, "n5": 4}
    block = Block("gpu", ("n5",), 2)
    assert free_gpus.fits(block)
    free_gpus.take(block)
    assert not free_gpus.fits(Block("gpu", ("n5",), 4))
    assert not free_gpus.fits(Block("gpu", ("gone",), 1))
