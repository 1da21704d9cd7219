"""Where the seconds of a stop and of a start go, on the mini-Slurm:
MINISLURM_NAME=... pytest -s tests/benchmarks/test_training_restart.py
"""

import json
import os
import shlex
import statistics
import time
from pathlib import Path

import pytest
from mini.client import MiniSlurm

from tests.cluster.training_jobs import TrainingJob, new_job, training_request

pytestmark = pytest.mark.cluster
ROUNDS = 5


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    cluster = MiniSlurm.named(os.environ.get("MINISLURM_NAME", "minislurm"))
    assert cluster is not None, "no mini-Slurm is up"
    return new_job(cluster, tmp_path.name)


def starts(job: TrainingJob) -> list[dict[str, float]]:
    text = job.shell(f"cat {shlex.quote(job.directory)}/times 2>/dev/null || true")
    return [json.loads(line) for line in text.splitlines()]


def print_table(title: str, rows: list[dict[str, float]]) -> None:
    print(f"\n{title} (median of {len(rows)}, seconds; load {os.getloadavg()[0]:.1f})")
    for name in rows[0]:
        print(f"  {name:<42}{statistics.median(row[name] for row in rows):6.2f}")


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 2), (2, 1)])
def test_stop_and_start(job: TrainingJob, nodes: int, gpus: int) -> None:
    job.submit(
        training_request(
            job,
            *("--times", f"{job.directory}/times", "--sleep", "0.01"),
            nodes=nodes,
            gpus_per_node=gpus,
            iterations=10**6,
        )
    )
    stopping, starting = [], []
    for generation in range(1, ROUNDS + 1):
        job.wait_for_generation(generation)
        time.sleep(2)
        launch, instants = job.read("launch.json"), starts(job)[-1]
        if generation > 1:
            starting.append(
                {
                    "srun, agent: its python, torch, rendezvous": instants["began"]
                    - launch["started_at"],
                    "import of torch in the ranks": instants["imported"] - instants["began"],
                    "process group": instants["joined"] - instants["imported"],
                    "model, DDP, optimizer, data": instants["built"] - instants["joined"],
                    "session: restore": instants["restored"] - instants["built"],
                    "first iteration": instants["iterated"] - instants["restored"],
                    "all": instants["iterated"] - launch["started_at"],
                }
            )
        ordered = time.time()
        progress = job.stop()
        waiting = job.read("launch.json")["updated_at"]
        saved = progress["save_seconds"]
        stopping.append(
            {
                "order seen, iteration agreed": progress["updated_at"] - saved - ordered,
                "checkpoint": saved,
                "exit of the processes, srun, batch script": waiting - progress["updated_at"],
                "all": waiting - ordered,
            }
        )
        job.order("relaunch")
    print_table(f"stop, {nodes} x {gpus}: order to all processes gone", stopping)
    print_table(f"start, {nodes} x {gpus}: launch to first iteration", starting)
    job.run("scancel", str(job.job_id))
