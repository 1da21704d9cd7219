"""The kind of a change, over all pairs of blocks on four nodes of four GPUs.

What is expected is told from what Slurm can do, by the GPUs on each node; the planner, the
simulator and the daemon must all count with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from ef_slurm.daemon.observe.job_status import shrinks_in_place
from ef_slurm.daemon.plan.record import Reallocation
from ef_slurm.model import (
    Block,
    ChangeKind,
    Cluster,
    Job,
    ModelError,
    Overhead,
    Running,
    Standing,
    ThroughputCurve,
    active_part,
    change_kind,
)
from ef_slurm.planner.timeline.gpu_index import index_spaces
from ef_slurm.planner.timeline.task import Task, make_task
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob
from ef_slurm.simulator.trace import TraceJob
from ef_slurm.slurm.types import JobBaseState
from tests.unit.daemon.make import slurm_job

LINES = index_spaces(Cluster.uniform(nodes=4, gpus_per_node=4))
SIZES = (1, 2, 4, 8, 16)
PLACES = [(first, gpus) for gpus in SIZES for first in range(0, 16, gpus)]
BLOCKS = {place: LINES["gpu"].block(*place) for place in PLACES}
PAIRS = list(product(PLACES, PLACES))
CURVE = ThroughputCurve.of({size: float(size) for size in SIZES})
SECONDS = {
    ChangeKind.START: 1000.0,
    ChangeKind.GROW: 3.0,
    ChangeKind.SHRINK: 10.0,
    ChangeKind.RELAUNCH: 10.0,
    ChangeKind.MOVE: 70.0,
    ChangeKind.RESTART: 100.0,
    None: 0.0,
}
OVERHEAD = Overhead(start=1000.0, grow=3.0, shrink=10.0, move=70.0, restart=100.0)


def what_slurm_can_do(old: Block, new: Block) -> ChangeKind | None:
    """Whole nodes can be taken from a running job or brought to it, its first one stays the first.

    All else is a requeue.
    """
    before, after = (Counter(dict.fromkeys(b.nodes, b.gpus_per_node)) for b in (old, new))
    if before == after:
        return None
    if after.total() == before.total():
        return ChangeKind.MOVE
    fewer, more = sorted((before, after), key=Counter.total)
    changed = more - fewer
    whole = fewer < more and all(changed[node] == more[node] for node in changed)
    if not whole or old.nodes[0] not in after:
        return ChangeKind.RESTART
    if after == fewer:
        return ChangeKind.SHRINK
    return ChangeKind.GROW if old.nodes[0] == new.nodes[0] else ChangeKind.RESTART


def test_every_pair_is_what_slurm_can_do() -> None:
    kinds = Counter[ChangeKind | None]()
    for old, new in PAIRS:
        kind = change_kind(BLOCKS[old], BLOCKS[new])
        assert kind is what_slurm_can_do(BLOCKS[old], BLOCKS[new]), (BLOCKS[old], BLOCKS[new])
        kinds[kind] += 1
    # From four nodes to the first two or one, and from either pair of nodes to its first.
    assert kinds[ChangeKind.SHRINK] == kinds[ChangeKind.GROW] == 4
    assert kinds.total() == 31 * 31


def test_no_gpus_and_other_gpus() -> None:
    old, new = BLOCKS[0, 8], Block("other", ("m1", "m2"), 4)
    assert change_kind(None, old) is ChangeKind.START
    assert change_kind(old, None) is None
    assert change_kind(None, None) is None
    assert change_kind(old, new) is ChangeKind.RESTART


def test_another_part_of_the_same_gpus_is_a_relaunch() -> None:
    for old, new in PAIRS:
        kind = change_kind(BLOCKS[old], BLOCKS[new])
        wanted = ChangeKind.RELAUNCH if kind is None else kind
        assert change_kind(BLOCKS[old], BLOCKS[new], other_part=True) is wanted
        assert Reallocation(1, BLOCKS[old], BLOCKS[new], other_part=True).change is wanted
    assert change_kind(None, None, other_part=True) is None


@pytest.mark.parametrize("place", PLACES)
def test_a_part_of_a_block_is_a_block(place: tuple[int, int]) -> None:
    """The first GPUs of the block, on whole nodes as soon as one does not suffice."""
    block, first = BLOCKS[place], place[0]
    for gpus in SIZES:
        if gpus <= block.gpus:
            assert active_part(block, gpus) == BLOCKS[first, gpus]
        else:
            with pytest.raises(ModelError, match="active GPUs"):
                active_part(block, gpus)
    for wrong in (0, 3, -1):
        with pytest.raises(ModelError, match="active GPUs"):
            active_part(block, wrong)


def task_on(place: tuple[int, int]) -> Task:
    job = Job(
        "a",
        0.0,
        10.0,
        (("gpu", CURVE),),
        deadline=1e6,
        standing=Standing.ADMITTED,
        running=Running(BLOCKS[place], 0.0, 0.0),
        overhead=OVERHEAD,
    )
    return make_task(job, LINES)


def test_planner_simulator_and_daemon_say_the_same() -> None:
    for old, new in PAIRS:
        kind = change_kind(BLOCKS[old], BLOCKS[new])
        where = (BLOCKS[old], BLOCKS[new])
        task = task_on(old)
        assert task.change(task.current, new[1], "gpu", new[0]) is kind, where
        assert task.trains(50.0, new[1], "gpu", new[0]) == 50.0 + SECONDS[kind], where
        assert task.overhead(task.current, new[1], "gpu") >= SECONDS[kind], where
        if kind is not None:
            assert task.hoped_overhead(new[1], "gpu") <= SECONDS[kind], where
        keeps = kind in (ChangeKind.GROW, ChangeKind.SHRINK)
        assert (task.place_behind(new[1], "gpu") == new[0]) is keeps, where

        run = SimulatedJob(TraceJob("a", 0.0, 1e6, "bert", 64, CURVE, None), OVERHEAD)
        run.assign(0.0, Grant(old[1], BLOCKS[old]))
        began = run.trains_from
        assert run.assign(2000.0, Grant(new[1], BLOCKS[new])) is (kind is not None), where
        assert run.trains_from == (began if kind is None else 2000.0 + SECONDS[kind]), where

        assert Reallocation(1, BLOCKS[old], BLOCKS[new]).change is kind, where
        seen = slurm_job(JobBaseState.RUNNING, on=BLOCKS[old])
        assert shrinks_in_place(seen, BLOCKS[new]) is (kind is ChangeKind.SHRINK), where


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_each_kind_has_its_cost(kind: ChangeKind) -> None:
    doubling = replace(OVERHEAD, per_doubling=3.0)
    assert OVERHEAD.of(kind, 8) == SECONDS[kind]
    assert doubling.of(kind, 8) == SECONDS[kind] + 9.0


def test_a_shrink_depends_on_where_the_batch_script_really_runs() -> None:
    """Slurm orders nodes in its own way; its first node is the one that cannot go."""
    four, head, tail = BLOCKS[0, 16], BLOCKS[0, 8], BLOCKS[8, 8]
    seen = slurm_job(JobBaseState.RUNNING, on=four, batch_host="n3")
    assert not shrinks_in_place(seen, head)
    assert shrinks_in_place(seen, tail)
    assert not shrinks_in_place(slurm_job(asks=four), head)
