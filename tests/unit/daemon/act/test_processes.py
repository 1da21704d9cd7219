"""How many of Slurm's programs a start and a reshape run, looks at everything left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.daemon.act.steps import OrderStop, Release, Requeue, Step, Update
from ef_slurm.daemon.observe.job_status import JobStatus
from tests.unit.daemon.act.test_executor import actor
from tests.unit.daemon.make import TWO_NODES, launch, pending, running
from tests.unit.daemon.world import World
from tests.unit.slurm.test_command_slurm import HELD, Console, console, looked_at, sets


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


def processes(world: World, slurm: Console, status: JobStatus, *steps: Step) -> list[str]:
    """What is run for these steps, just after a look."""
    shaped = {"tasks": 2, "node_count": 2, "max_nodes": 2, "required_nodes": "n[1-2]"}
    slurm.effects["scontrol update"] = sets(**shaped, tres_per_node="gres/gpu:4")
    slurm.effects["scontrol release"] = sets(priority=100)
    slurm.effects["scontrol requeue"] = sets(job_state=["PENDING"], nodes="")
    slurm.effects["scontrol hold"] = sets(**HELD)
    job = world.submit(1000, deadline=900.0)
    asked = looked_at(slurm)
    acting = actor(world, asked)
    for step in steps:
        after = acting.execute(job, status, step, "test")
        assert isinstance(after, JobStatus), after
        status = after
    return slurm.processes


def test_a_start_runs_three(world: World) -> None:
    slurm = console(**HELD)
    run = processes(world, slurm, pending(), Update(TWO_NODES), Release(TWO_NODES))
    assert run == ["scontrol update", "squeue --json", "scontrol release"]


def test_a_reshape_runs_five(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = console("RUNNING")
    monkeypatch.setattr(world.bench, "order", lambda _job, _order: None)
    status = running(TWO_NODES, launch=launch())
    stopped = processes(world, slurm, status, OrderStop(1), Requeue())
    assert stopped == ["scancel --signal=USR2", "scontrol"]
    again = processes(world, slurm, pending(), Update(TWO_NODES), Release(TWO_NODES))
    assert again == ["scontrol update", "squeue --json", "scontrol release"]
