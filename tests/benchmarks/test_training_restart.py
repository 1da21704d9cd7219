"""Where the seconds of a stop and of a start go, on the mini-Slurm:
MINISLURM_NAME=... pytest -s tests/benchmarks/test_training_restart.py
"""

import json
import os
import shlex
import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from mini.client import MiniSlurm

from ef_slurm.model import Launcher, LaunchSettings
from tests.cluster.training_jobs import TrainingJob, new_job, training_request

pytestmark = pytest.mark.cluster
ROUNDS = int(os.environ.get("EF_ROUNDS", "5"))


@pytest.fixture
def cluster() -> MiniSlurm:
    cluster = MiniSlurm.named(os.environ.get("MINISLURM_NAME", "minislurm"))
    assert cluster is not None, "no mini-Slurm is up"
    return cluster


def starts(job: TrainingJob) -> list[dict[str, float]]:
    text = job.shell(f"cat {shlex.quote(job.directory)}/times 2>/dev/null || true")
    return [json.loads(line) for line in text.splitlines()]


def print_table(title: str, columns: dict[str, list[dict[str, float]]]) -> None:
    """Medians, one column for each launcher, and the first over the second."""
    rounds = min(map(len, columns.values()))
    print(f"\n{title} (median of {rounds}, seconds; load {os.getloadavg()[0]:.1f})")
    print(f"  {'':<34}" + "".join(f"{name:>12}" for name in columns) + f"{'ratio':>8}")
    for stage in next(iter(columns.values()))[0]:
        medians = [statistics.median(row[stage] for row in rows) for rows in columns.values()]
        text = "".join(f"{median:12.2f}" for median in medians)
        print(f"  {stage:<34}{text}{medians[0] / max(medians[1], 0.01):8.1f}")


@dataclass
class Measured:
    """One job that is stopped and started again in its allocation, and what that took."""

    job: TrainingJob
    stopping: list[dict[str, float]] = field(default_factory=list)
    starting: list[dict[str, float]] = field(default_factory=list)

    def round(self, generation: int) -> None:
        job = self.job
        job.wait_for_generation(generation)
        time.sleep(2)
        launch, instants = job.read("launch.json"), starts(job)[-1]
        if generation > 1:  # the first launch of all reads torch from the disk, and learns
            began, joined = instants["began"], instants["joined"]
            self.starting.append(
                {
                    "srun, launcher, up to the script": began - launch["started_at"],
                    "the script's imports": instants["imported"] - began,
                    "process group": joined - instants["imported"],
                    "model, DDP, optimizer, data": instants["built"] - joined,
                    "session: restore": instants["restored"] - instants["built"],
                    "first iteration": instants["iterated"] - instants["restored"],
                    "all": instants["iterated"] - launch["started_at"],
                }
            )
        ordered = time.time()
        progress = job.stop()
        waiting = job.read("launch.json")["updated_at"]
        saved = progress["save_seconds"]
        self.stopping.append(
            {
                "order seen, iteration agreed": progress["updated_at"] - saved - ordered,
                "checkpoint": saved,
                "exit of processes, srun, script": waiting - progress["updated_at"],
                "all": waiting - ordered,
            }
        )


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 2), (2, 1), (2, 4)])
def test_stop_and_start(cluster: MiniSlurm, tmp_path: Path, nodes: int, gpus: int) -> None:
    """Both launchers in turn, so that both have the same machine."""
    measured: dict[str, Measured] = {}
    for launcher in (Launcher.TORCHRUN, Launcher.FORKSERVER):
        job = new_job(cluster, f"{tmp_path.name}-{launcher.value}")
        times = f"{job.directory}/times"
        settings = LaunchSettings(launcher=launcher, decision_wait=10_000)
        request = training_request(
            job, "--times", times, "--sleep", "0.01", nodes=nodes, gpus_per_node=gpus
        )
        job.submit(replace(request, iterations=10**6, settings=settings))
        measured[launcher.value] = Measured(job)
        measured[launcher.value].round(1)
    for generation in range(2, ROUNDS + 2):
        for one in measured.values():
            one.job.order("relaunch")
            one.round(generation)
    for one in measured.values():
        one.job.run("scancel", str(one.job.job_id))
    shape = f"{nodes} x {gpus}"
    for title, rows in (
        (f"stop, {shape}: order to all processes gone", "stopping"),
        (f"start, {shape}: launch to first iteration", "starting"),
    ):
        print_table(title, {name: getattr(one, rows) for name, one in measured.items()})


def stands_still(job: TrainingJob, gpus: int, *, beside: bool) -> dict[str, float]:
    """Relaunch a job that runs; how long it takes, and how long nothing is trained.

    Args:
        gpus: on which it goes on.
        beside: the next launch is made ready while this one trains; False: it is stopped first.
    """
    ordered = time.time()
    generation = job.order("relaunch", gpus=gpus) if beside else 0
    if not beside:
        generation = int(job.stop()["generation"])
        job.order("relaunch", gpus=gpus)
    last = 0.0
    while last == 0.0:
        progress = job.read("progress.json")
        if progress["generation"] == generation and progress["phase"] == "stopped":
            last = progress["last_iteration_at"]
        elif progress["generation"] > generation:  # it was faster than this look at it
            last = job.read("launch.json")["started_at"]
    progress = job.wait_for_generation(generation + 1)
    return {
        "order to last iteration": last - ordered,
        "stands still": progress["first_iteration_at"] - last,
        "order to first iteration": progress["first_iteration_at"] - ordered,
    }


def test_relaunch_beside(cluster: MiniSlurm, tmp_path: Path) -> None:
    """Between both GPUs of two nodes and those of one."""
    job = new_job(cluster, tmp_path.name)
    settings = LaunchSettings(decision_wait=10_000)
    request = training_request(job, "--sleep", "0.01", nodes=2, gpus_per_node=2)
    job.submit(replace(request, iterations=10**6, settings=settings))
    job.wait_for_generation(1)
    rows: dict[str, list[dict[str, float]]] = {"stopped first": [], "beside": []}
    for number in range(2 * ROUNDS):
        time.sleep(2)
        beside = number % 4 > 1
        found = stands_still(job, (2, 4)[number % 2], beside=beside)
        rows["beside" if beside else "stopped first"].append(found)
    job.run("scancel", str(job.job_id))
    print(job.log())
    print_table("relaunch, 2 x 2 to 1 x 2 and back", rows)
