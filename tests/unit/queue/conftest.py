"""A queue on disk and what goes into it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.model import BatchScript, JobKind, JobRequest, Overhead, QueueJob, ThroughputCurve
from ef_slurm.queue.store import Queue
from tests.fakes.new_queue import open_queue

REQUEST = JobRequest(
    slurm_job_id=100,
    owner="user1",
    uid=3001,
    name="train",
    submitted=1000.0,
    kind=JobKind.DEADLINE,
    iterations=5000,
    global_batch_size=256,
    curves=(
        ("a100", ThroughputCurve.of({1: 10.0, 2: 18.5, 8: 40.0})),
        ("t4", ThroughputCurve.of({1: 1.25})),
    ),
    state_dir="/shared/jobs/100",
    deadline=9000.0,
    overhead=Overhead(start=20.0, grow=30.0, move=30.0, restart=30.0, shrink=5.0, per_doubling=0.5),
    curve_source="--throughput",
    max_gpus=8,
    max_time=7200.0,
    cluster="mini",
    account="acct1",
    partition="ef",
)
SCRIPT = BatchScript(
    "#!/bin/bash\ntrue\n",
    options=("--account=acct1", "--job-name=train"),
    arguments=("--data", "a b"),
    directory="/home/user1",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue.sqlite"


@pytest.fixture
def queue(path: Path) -> Iterator[Queue]:
    with open_queue(path) as queue:
        yield queue


@pytest.fixture
def add(queue: Queue) -> Callable[..., QueueJob]:
    """Put another job into the queue."""

    def do(slurm_job_id: int = 100, script: BatchScript = SCRIPT, **changes: object) -> QueueJob:
        own = {"state_dir": f"/shared/jobs/{slurm_job_id}", **changes}
        request = replace(REQUEST, slurm_job_id=slurm_job_id, **own)  # type: ignore[arg-type]
        return queue.jobs.add(request, script, actor="user1")

    return do
