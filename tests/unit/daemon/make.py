"""Short ways to make what Slurm and jobs say."""

from __future__ import annotations

from typing import Any

from ef_slurm.contract import Action, Launch, LaunchState, Order, Phase, Progress
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.formats.gres import GpuCount
from ef_slurm.model import (
    BatchScript,
    Block,
    JobKind,
    JobRequest,
    JobState,
    Overhead,
    QueueJob,
    ThroughputCurve,
)
from ef_slurm.slurm.types import (
    HeldGpus,
    HoldKind,
    JobBaseState,
    Requested,
    SlurmJob,
    SlurmNode,
)

NOW = 1000.0
TWO_NODES = Block("gpu", ("n1", "n2"), 4)
FOUR_NODES = Block("gpu", ("n1", "n2", "n3", "n4"), 4)
ELSEWHERE = Block("gpu", ("n3", "n4"), 4)

SCRIPT = BatchScript("#!/bin/sh\n")


def slurm_job(
    state: JobBaseState = JobBaseState.PENDING,
    *,
    on: Block | None = None,
    asks: Block | None = None,
    hold: HoldKind = HoldKind.NONE,
    **other: Any,
) -> SlurmJob:
    """A job that runs on `on`, or pends and asks for `asks`."""
    wanted = asks or on
    requested = Requested(1, 1, 1, 1)
    if wanted is not None:
        count = len(wanted.nodes)
        requested = Requested(count, count, count, wanted.gpus_per_node, wanted.nodes)
    nodes = () if on is None else on.nodes
    values: dict[str, Any] = {
        "job_id": 7,
        "name": "train",
        "user": "user1",
        "uid": 1001,
        "account": "",
        "state": state,
        "flags": frozenset(),
        "reason": "",
        "hold": hold,
        "requested": requested,
        "nodes": nodes,
        "held": tuple(HeldGpus(node, "", 0 if on is None else on.gpus_per_node) for node in nodes),
        "batch_host": nodes[0] if nodes else "",
        "start_time": NOW - 100.0 if on is not None else None,
    }
    return SlurmJob(**{**values, **other})


def launch(state: LaunchState = LaunchState.RUNNING, generation: int = 1, **other: Any) -> Launch:
    values: dict[str, Any] = {
        "generation": generation,
        "state": state,
        "slurm_job_id": 7,
        "restart_count": 0,
        "nodes": "n1,n2",
        "gpus_per_node": 4,
        "port": 15000,
        "started_at": NOW - 99.0,
        "updated_at": NOW - 99.0,
        "finds_orders": True,
    }
    return Launch(**{**values, **other})


def progress(phase: Phase = Phase.RUNNING, generation: int = 1, **other: Any) -> Progress:
    values: dict[str, Any] = {
        "generation": generation,
        "phase": phase,
        "world_size": 8,
        "iteration": 500,
        "updated_at": NOW,
        "started_at": NOW - 95.0,
        "first_iteration_at": NOW - 94.0,
        "iterations_per_second": 10.0,
        "checkpoint_iteration": 400,
    }
    return Progress(**{**values, **other})


def stop(generation: int = 1, at: float = NOW) -> Order:
    return Order(generation, Action.STOP, at)


def running(block: Block, **reports: Any) -> JobStatus:
    """A job that trains on a block; `reports` replace its own word."""
    there = launch(nodes=",".join(block.nodes), gpus_per_node=block.gpus_per_node)
    values: dict[str, Any] = {"launch": there, "progress": progress(), "order": None}
    return JobStatus(slurm_job(JobBaseState.RUNNING, on=block), JobReports(**{**values, **reports}))


def pending(asks: Block | None = None, hold: HoldKind = HoldKind.ADMIN, **other: Any) -> JobStatus:
    return JobStatus(slurm_job(asks=asks, hold=hold, **other), JobReports(), NOW - 5.0)


def node(name: str, gpus: int = 4, *state: str, kind: str = "") -> SlurmNode:
    counts = (GpuCount(kind, gpus),) if gpus else ()
    return SlurmNode(name, frozenset(state or ("IDLE",)), counts, ("ef",))


def row(state: JobState = JobState.RUNNING, **other: Any) -> QueueJob:
    request = JobRequest(
        slurm_job_id=7,
        owner="user1",
        uid=1001,
        name="train",
        submitted=NOW - 200.0,
        kind=JobKind.DEADLINE,
        iterations=10_000,
        global_batch_size=32,
        curves=(("gpu", ThroughputCurve.of({1: 2.0, 2: 4.0, 4: 7.0, 8: 10.0, 16: 15.0})),),
        state_dir="/nowhere",
        deadline=NOW + 5000.0,
        overhead=Overhead.constant(30.0),
    )
    return QueueJob(**{"id": 1, "request": request, "state": state, **other})
