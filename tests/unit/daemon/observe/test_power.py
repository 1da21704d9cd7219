"""Nodes that are powered down, as Slurm shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ef_slurm.daemon.observe.capacity import ResourceScope, cluster_of
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.power import power_times, wake_seconds, wake_seconds_of
from ef_slurm.model import Block
from ef_slurm.slurm.commands.listing import parse_configuration, parse_nodes, parse_partitions
from ef_slurm.slurm.site_types import PowerTimes, SlurmConfiguration, SlurmPartition
from ef_slurm.slurm.types import Observation
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.make import NOW, node

CONFIGURATION = """\
Configuration data as of 2026-09-01T00:00:00
ResumeTimeout           = 600 sec
SLURM_VERSION           = 24.11.5
SuspendTimeout          = 2 min
"""
POWER = PowerTimes(600.0, 120.0)


@pytest.mark.parametrize(
    ("state", "usable", "seconds"),
    [
        ("IDLE", True, 0.0),
        ("IDLE~", True, 600.0),
        ("IDLE#", True, 600.0),
        ("IDLE%", True, 720.0),
        ("IDLE!", True, 720.0),
        ("IDLE+CLOUD+POWERED_DOWN", True, 600.0),
        ("IDLE+POWERED_DOWN+NOT_RESPONDING", True, 600.0),
        ("MIXED+POWERING_UP+NOT_RESPONDING", True, 600.0),
        ("IDLE+POWERING_DOWN", True, 720.0),
        ("IDLE+POWER_DOWN", True, 720.0),
        ("IDLE*", False, 0.0),
        ("IDLE+NOT_RESPONDING", False, 0.0),
        ("DOWN~", False, 600.0),
        ("DOWN+POWERED_DOWN+NOT_RESPONDING", False, 600.0),
        ("IDLE+DRAIN+POWERED_DOWN", False, 600.0),
    ],
)
def test_what_has_to_be_woken(state: str, usable: bool, seconds: float) -> None:
    (seen,) = parse_nodes(f"NodeName=n1 CPUTot=4 Gres=gpu:4 State={state} Partitions=ef\n")
    assert (seen.usable, wake_seconds(seen, POWER)) == (usable, seconds)


def partition(name: str, resume: float | None = None) -> SlurmPartition:
    return SlurmPartition(name, True, (), resume_timeout=resume)


def test_the_sites_times() -> None:
    power = power_times(parse_configuration(CONFIGURATION), [partition("a"), partition("b", 900.0)])
    assert power == PowerTimes(600.0, 120.0, {"b": 900.0})
    asleep = replace(node("n1", 4, "IDLE", "POWERED_DOWN"), partitions=("a", "b"))
    assert wake_seconds(asleep, power) == 900.0
    bare = SlurmConfiguration((22, 5, 8), "", 30.0, 300.0, True, ())
    assert power_times(bare, ()) == PowerTimes(60.0, 30.0)


def test_a_partitions_own_time() -> None:
    text = "PartitionName=a Nodes=n1 ResumeTimeout={} SuspendTimeout=GLOBAL State=UP"
    assert parse_partitions(text.format("900"))[0].resume_timeout == 900.0
    assert parse_partitions(text.format("GLOBAL"))[0].resume_timeout is None
    assert parse_partitions("PartitionName=a Nodes=n1 State=UP")[0].resume_timeout is None


def test_a_sleeping_node_is_capacity_that_starts_late() -> None:
    nodes = (node("n1"), node("n2", 4, "IDLE", "POWERED_DOWN"), node("n3", 4, "DOWN"))
    observation = Observation(NOW, {}, nodes, power=POWER)
    (group,) = cluster_of(observation, ResourceScope(frozenset({"ef"})), ()).groups
    assert [one.wake_seconds for one in group.nodes] == [0.0, 600.0, 0.0]
    assert [bool(one.outages) for one in group.nodes] == [False, False, True]
    assert wake_seconds_of(observation, Block("gpu", ("n1", "n2"), 4)) == 600.0
    assert wake_seconds_of(observation, Block("gpu", ("n1",), 4)) == 0.0


class _Counting(MemorySlurm):
    """Counts how often it is asked for what only power saving needs: partitions' own times."""

    asked = 0

    def configuration(self) -> SlurmConfiguration:
        settings: Mapping[str, str] = {"ResumeTimeout": "600 sec", "SuspendTimeout": "120 sec"}
        return replace(super().configuration(), settings=settings)

    def partitions(self) -> tuple[SlurmPartition, ...]:
        self.asked += 1
        return super().partitions()


def test_the_times_are_read_only_where_a_node_sleeps_and_now_and_then() -> None:
    now = [NOW]
    memory = MemoryCluster({"n1": 4, "n2": 4})
    slurm = _Counting(memory, lambda: now[0])
    observer = Observer(slurm, _NoDirs(), lambda: now[0])  # type: ignore[arg-type]
    observer.refresh()
    assert slurm.asked == 0
    memory.power_down("n1")
    for _ in range(3):
        now[0] += 15.0
        observer.refresh()
    assert slurm.asked == 1
    assert observer.wake_seconds(Block("gpu", ("n1",), 4)) == 600.0
    now[0] += 601.0
    observer.refresh()
    assert slurm.asked == 2


class _NoDirs:
    """Nobody's reports are read."""
