"""What Slurm says of nodes → what the planner may use."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ef_slurm.daemon.act.free_gpus import free_gpus_of
from ef_slurm.daemon.observe.capacity import OVERDUE_SECONDS, ResourceScope, cluster_of
from ef_slurm.daemon.observe.gpu_types import slurm_type
from ef_slurm.formats.gres import GpuCount
from ef_slurm.model import Block, Outage, PerGpu
from ef_slurm.slurm.site_types import SlurmReservation
from ef_slurm.slurm.types import (
    HeldGpus,
    HoldKind,
    JobBaseState,
    Observation,
    SlurmJob,
    SlurmNode,
)
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
    assert free_gpus.by_node == {f"n{number}": {"": 0} for number in range(1, 5)} | {"n5": {"": 4}}
    block = Block("gpu", ("n5",), 2)
    assert free_gpus.fits(block)
    free_gpus.take(block)
    assert not free_gpus.fits(Block("gpu", ("n5",), 4))
    assert not free_gpus.fits(Block("gpu", ("gone",), 1))


MIXED = SlurmNode(
    "m1", frozenset({"MIXED"}), (GpuCount("a100", 4), GpuCount("1g.10gb", 7)), ("ef",)
)


def held(*counts: HeldGpus, job_id: int = 5) -> SlurmJob:
    return slurm_job(
        JobBaseState.RUNNING, job_id=job_id, nodes=("m1",), held=counts, end_time=NOW + 60
    )


def test_a_node_with_several_types_is_in_the_group_of_each() -> None:
    jobs = (held(HeldGpus("m1", "a100", 3)),)
    groups = {g.gpu_type: g for g in cluster_of(seen(MIXED, jobs=jobs), SCOPE, ()).groups}
    assert groups["a100"].nodes[0].outages == (Outage(0.0, NOW + 60, 3),)
    assert groups["1g.10gb"].gpus_per_node == 8
    assert groups["1g.10gb"].nodes[0].outages == (Outage(0.0, gpus=1),)


def test_a_job_that_names_no_type_may_hold_any() -> None:
    observation = seen(MIXED, jobs=(held(HeldGpus("m1", "", 5)),))
    found = {g.gpu_type: g.nodes[0].outages for g in cluster_of(observation, SCOPE, ()).groups}
    assert Outage(0.0, NOW + 60, 4) in found["a100"]
    assert Outage(0.0, NOW + 60, 5) in found["1g.10gb"]


def test_free_gpus_are_counted_by_type() -> None:
    free_gpus = free_gpus_of(seen(MIXED, jobs=(held(HeldGpus("m1", "a100", 3)),)), ())
    assert not free_gpus.fits(Block("a100", ("m1",), 2))
    assert free_gpus.fits(Block("1g.10gb", ("m1",), 4))
    assert not free_gpus.fits(Block("t4", ("m1",), 1))
    free_gpus.take(Block("a100", ("m1",), 1))
    assert free_gpus.by_node == {"m1": {"a100": 0, "1g.10gb": 7}}


def test_an_update_names_the_type_that_slurm_knows() -> None:
    observation = seen(MIXED, node("n1"), node("n2", kind="a100"))
    assert slurm_type(observation, Block("a100", ("m1",), 2)) == "a100"
    assert slurm_type(observation, Block("1g.10gb", ("m1",), 2)) == "1g.10gb"
    assert slurm_type(observation, Block("gpu", ("n1",), 2)) == ""
    # The site calls its untyped GPUs a100, too: Slurm would find none of that type on n1.
    assert slurm_type(observation, Block("a100", ("n1", "n2"), 4)) == ""


def with_cores(name: str, **other: Any) -> SlurmNode:
    """A node of four GPUs, 64 CPUs and 256,000 MiB."""
    return replace(node(name), cpus=64, memory=256_000.0, **other)


def holds(job_id: int, cpus: float, memory: float = 0.0, *, end: float, gpus: int = 0) -> SlurmJob:
    """Somebody's job on n1."""
    held = (HeldGpus("n1", "", gpus),) if gpus else ()
    return replace(
        slurm_job(JobBaseState.RUNNING, job_id=job_id, end_time=end),
        nodes=("n1",),
        held=held,
        cpus_per_node=cpus,
        memory_per_node=memory,
    )


def lost(
    *jobs: SlurmJob, memory_counts: bool = False, asked: PerGpu | None = None
) -> dict[float, int]:
    """GPUs of n1 that are gone at NOW, by the moment at which they come back."""
    observation = replace(seen(with_cores("n1"), jobs=jobs), memory_counts=memory_counts)
    found: dict[float, int] = {}
    (group,) = cluster_of(observation, SCOPE, {1}, asked).groups
    for outage in group.nodes[0].outages:
        assert outage.gpus is not None
        found[outage.end] = found.get(outage.end, 0) + outage.gpus
    return found


def test_a_job_without_gpus_on_all_cores_is_capacity_that_is_gone() -> None:
    assert lost(holds(2, 64, end=NOW + 50)) == {NOW + 50: 4}
    assert lost(holds(2, 40, end=NOW + 50)) == {NOW + 50: 2}
    assert lost(holds(2, 15, end=NOW + 50)) == {}


def test_what_several_hold_adds_up_and_comes_back_in_parts() -> None:
    assert lost(holds(2, 8, end=NOW + 50), holds(3, 8, end=NOW + 90)) == {NOW + 50: 1}
    both = lost(holds(2, 24, end=NOW + 50), holds(3, 24, end=NOW + 90))
    assert both == {NOW + 90: 1, NOW + 50: 2}
    # Its GPUs come with CPUs: they are not counted twice.
    assert lost(holds(2, 32, end=NOW + 50, gpus=2)) == {NOW + 50: 2}
    assert lost(holds(2, 32, end=NOW + 50, gpus=2), holds(3, 32, end=NOW + 90)) == {
        NOW + 90: 2,
        NOW + 50: 2,
    }


def test_memory_counts_where_slurm_gives_it() -> None:
    job = holds(2, 1, 200_000, end=NOW + 50)
    assert lost(job) == {}
    assert lost(job, memory_counts=True) == {NOW + 50: 3}


def test_a_share_that_is_touched_is_gone_where_our_jobs_ask_for_all_of_theirs() -> None:
    fair, less = PerGpu(16, 64_000), PerGpu(12)
    assert lost(holds(2, 1, end=NOW + 50), asked=fair) == {NOW + 50: 1}
    assert lost(holds(2, 17, end=NOW + 50), asked=fair) == {NOW + 50: 2}
    # Four times twelve leave sixteen for others.
    assert lost(holds(2, 16, end=NOW + 50), asked=less) == {}
    assert lost(holds(2, 17, end=NOW + 50), asked=less) == {NOW + 50: 1}
    # Who asks for more than a share takes several GPUs' worth of a block.
    assert lost(holds(2, 16, end=NOW + 50), asked=PerGpu(32)) == {NOW + 50: 1}
    memory = holds(2, 0, 1000, end=NOW + 50)
    assert lost(memory, asked=fair) == {}
    assert lost(memory, asked=fair, memory_counts=True) == {NOW + 50: 1}


def test_a_gpu_knows_its_share_of_the_node() -> None:
    observation = replace(seen(with_cores("n1")), memory_counts=True)
    (group,) = cluster_of(observation, SCOPE, ()).groups
    assert group.nodes[0].per_gpu == PerGpu(16.0, 64_000.0)
    (group,) = cluster_of(replace(observation, memory_counts=False), SCOPE, ()).groups
    assert group.nodes[0].per_gpu == PerGpu(16.0, 0.0)


def test_a_reservation_is_capacity_of_the_jobs_that_ask_for_it() -> None:
    """Its nodes, while it lasts; to everybody else they are out for as long."""
    course = SlurmReservation("course", NOW + 100, NOW + 500, ("n2", "n3"))
    other = SlurmReservation("other", NOW + 200, NOW + 300, ("n3",))
    observation = seen(node("n1"), node("n2"), node("n3"), reservations=(course, other))
    wanted = {"course", "gone"}
    plain, inside = cluster_of(observation, SCOPE, (), reservations=wanted).groups
    assert inside.gpu_type == f"{plain.gpu_type} in reservation course"
    assert {one.name: one.outages for one in inside.nodes} == {
        "n2": (Outage(0.0, NOW + 100), Outage(NOW + 500)),
        "n3": (Outage(NOW + 200, NOW + 300), Outage(0.0, NOW + 100), Outage(NOW + 500)),
    }
    assert {one.name: one.outages for one in plain.nodes} == {
        "n1": (),
        "n2": (Outage(NOW + 100, NOW + 500),),
        "n3": (Outage(NOW + 100, NOW + 500), Outage(NOW + 200, NOW + 300)),
    }
    (alone,) = cluster_of(observation, SCOPE, ()).groups
    assert alone == plain


def test_the_reservation_that_all_of_ef_slurm_is_in_is_no_group_of_its_own() -> None:
    mine = SlurmReservation("ef", NOW - 100, math.inf, ("n1",))
    scope = ResourceScope(frozenset({"ef"}), reservation="ef")
    observation = seen(node("n1"), reservations=(mine,))
    (group,) = cluster_of(observation, scope, (), reservations={"ef"}).groups
    assert [one.outages for one in group.nodes] == [()]
    endless = cluster_of(observation, SCOPE, (), reservations={"ef"}).groups[1]
    assert endless.nodes[0].outages == (Outage(0.0, NOW - 100),)
