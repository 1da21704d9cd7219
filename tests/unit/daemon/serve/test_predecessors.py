"""Whom a job may be let to wait for: nobody learns of a job that they may not see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.serve.predecessors import check_array, check_dependency
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import ArrayMember, ModelError
from tests.unit.daemon.world import World

OWNER = Viewer(0, sees_all=False)
STRANGER = Viewer(5, sees_all=False)
COORDINATOR = Viewer(5, sees_all=False, accounts=frozenset({"lab"}))
OPERATOR = Viewer(6, sees_all=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def refused(world: World, viewer: Viewer, text: str, own: int = 0) -> str:
    dependency = parse_dependency(text)
    try:
        check_dependency(world.queue, world.slurm, viewer, dependency, own)
    except ModelError as error:
        return str(error)
    return ""


def test_the_own_and_what_one_may_see(world: World) -> None:
    job = world.submit(100, None)
    foreign = world.cluster.add_job("user1", "other", now=world.clock.now, account="lab")
    for job_id in (job.request.slurm_job_id, foreign.job_id):
        assert refused(world, OWNER, f"afterok:{job_id}") == ""
        assert refused(world, OPERATOR, f"afterok:{job_id}") == ""
    assert refused(world, COORDINATOR, f"afterok:{foreign.job_id}") == ""
    assert refused(world, STRANGER, "singleton") == ""


def test_a_job_that_may_not_be_seen_is_as_one_that_is_none(world: World) -> None:
    job = world.submit(100, None)
    foreign = world.cluster.add_job("user1", "other", now=world.clock.now)
    said = {
        refused(world, STRANGER, f"afterok:{job_id}").replace(str(job_id), "N")
        for job_id in (job.request.slurm_job_id, foreign.job_id, 9999)
    }
    assert len(said) == 1
    assert "a job that Slurm or ef-slurm knows, and you may see" in said.pop()
    assert refused(world, OPERATOR, "afterok:9999")


def test_all_of_several_are_looked_at(world: World) -> None:
    job = world.submit(100, None)
    assert refused(world, OWNER, f"afterok:{job.request.slurm_job_id}:9999")


def test_itself(world: World) -> None:
    job = world.submit(100, None)
    slurm_id = job.request.slurm_job_id
    assert "itself" in refused(world, OPERATOR, f"afterany:{slurm_id}", slurm_id)


def test_the_queue_knows_its_own_by_their_rows(world: World) -> None:
    first = world.submit(100, None)
    second = world.submit(100, None, after=f"afterok:{first.request.slurm_job_id}:77")
    rows = [one.row for one in world.row(second).request.dependency.conditions]
    assert rows == [first.id, None]
    forged = replace(
        second.request.dependency,
        conditions=tuple(replace(one, row=4711) for one in second.request.dependency.conditions),
    )
    changed = world.queue.jobs.change(second.id, replace(second.request, dependency=forged))
    assert [one.row for one in changed.request.dependency.conditions] == [first.id, None]


def joins(world: World, uid: int, name: int, own: int) -> bool:
    try:
        check_array(world.queue, world.slurm, uid, ArrayMember(name, 1, 2, 0, 1), own)
    except ModelError:
        return False
    return True


def test_nobody_joins_somebody_elses_array(world: World) -> None:
    first = world.submit(100, None).request
    held = world.cluster.add_job("user1", "not here yet", now=world.clock.now)
    for name in (first.slurm_job_id, held.job_id):
        assert joins(world, first.uid, name, 4711)
        assert not joins(world, first.uid + 5, name, 4711)
    assert joins(world, first.uid, 4711, 4711)
    assert not joins(world, first.uid, 9999, 4711)
    assert not joins(world, first.uid, 0, 4711)
    check_array(world.queue, world.slurm, first.uid, None, 4711)
