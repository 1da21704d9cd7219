"""A training job on the mini-Slurm, as its daemon and its owner see it."""

import json
import os
import shlex
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until

from ef_slurm.launch import LaunchRequest, render
from ef_slurm.model import LaunchSettings

BATCH = 30
ITERATIONS = 210
LONG = bool(os.environ.get("EF_LONG"))
"""Whether the tests that take many minutes are wanted."""
TOLERANCE = 1e-8
"""Relative difference of losses in double precision that is rounding: 1e-16, times what training
makes of it over some thousand iterations."""


def scripts(cluster: MiniSlurm) -> str:
    """Where the hosts see the training scripts."""
    return f"{cluster.checkout}/tests/cluster/training_scripts"


def new_job(cluster: MiniSlurm, name: str) -> "TrainingJob":
    """A job in a directory of its own, with a name that a careless script trips over."""
    unique = f"{name}-{time.time_ns()}"
    return TrainingJob(cluster, f"{cluster.home('user1')}/{unique} ü'")


@dataclass
class TrainingJob:
    """One job of user1, with the daemon's means: orders, requeue, update."""

    cluster: MiniSlurm
    directory: str
    """On the shared directory; made by `submit`."""
    job_id: int = 0

    @property
    def state_dir(self) -> str:
        return f"{self.directory}/state"

    def submit(self, request: LaunchRequest, *options: str) -> None:
        """Submit; GPUs that the request names go on the command line: its script asks once."""
        gpus = [word for word in request.sbatch_options if word.startswith("--gres=")]
        rest = tuple(word for word in request.sbatch_options if word not in gpus)
        request, options = replace(request, sbatch_options=rest), (*gpus, *options)
        script = f"{self.directory}/job.sh"
        directory = shlex.quote(self.directory)
        self.shell(f"mkdir -p {directory} && cat >{shlex.quote(script)}", stdin=render(request))
        words = ("sbatch", "--parsable", f"--output={self.directory}/log", *options, script)
        self.job_id = int(self.run(*words))

    def run(self, *command: str, user: str = "user1", stdin: str | None = None) -> str:
        """The output of a command on the login node, which must succeed."""
        done = self.cluster.exec(*command, user=user, stdin=stdin)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, text: str, *, user: str = "user1", stdin: str | None = None) -> str:
        return self.run("bash", "-c", text, user=user, stdin=stdin)

    def scontrol(self, *words: str) -> str:
        return self.run("scontrol", *words)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the state directory; empty when there is none."""
        text = self.shell(f"cat {shlex.quote(self.state_dir)}/{name} 2>/dev/null || true")
        return dict(json.loads(text)) if text else {}

    def log(self) -> str:
        return self.shell(f"cat {shlex.quote(self.directory)}/log 2>/dev/null || true")

    def record(self) -> list[dict[str, Any]]:
        """What the training script recorded, one entry per iteration done."""
        text = self.shell(f"cat {shlex.quote(self.directory)}/record 2>/dev/null || true")
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def checkpoints(self) -> list[int]:
        """Iterations of the visible checkpoints."""
        text = self.shell(f"ls {shlex.quote(self.state_dir)}/checkpoint 2>/dev/null || true")
        return sorted(int(name) for name in text.split() if name.isdecimal())

    def saving(self) -> bool:
        """Whether a checkpoint has been begun and is not yet visible."""
        return ".tmp" in self.shell(f"ls -A {shlex.quote(self.state_dir)}/checkpoint")

    def wait_for_checkpoint(self, iteration: int, timeout: float = 180) -> None:
        """Wait for a checkpoint of this iteration or a later one."""
        wait_until(
            f"a checkpoint of iteration {iteration}",
            lambda: max(self.checkpoints(), default=-1) >= iteration,
            timeout=timeout,
        )

    def verify_checkpoints(self) -> None:
        """Every visible checkpoint matches its manifest."""
        program = (
            "import sys; from pathlib import Path\n"
            "from ef_slurm.training.checkpoint import CheckpointStore\n"
            "store = CheckpointStore(Path(sys.argv[1]))\n"
            "[store.verify(n) for n in store.iterations()] or sys.exit('none')"
        )
        self.run("python3", "-c", program, f"{self.state_dir}/checkpoint")

    def order(
        self, action: str, reason: str = "test", gpus: int | None = None, **more: object
    ) -> int:
        """Write an order for the present generation, as the daemon does; the generation."""
        generation = int(self.read("launch.json").get("generation", 0))
        text = json.dumps(
            {
                "version": 1,
                "generation": generation,
                "action": action,
                "issued_at": time.time(),
                "reason": reason,
                "gpus": gpus,
                **more,
            },
            indent=1,
        )
        state = shlex.quote(self.state_dir)
        self.shell(
            f"cat >{state}/.order.tmp && mv {state}/.order.tmp {state}/order.json", stdin=text
        )
        return generation

    def wait_for_iteration(self, iteration: int, timeout: float = 180) -> None:
        def there() -> bool:
            progress = self.read("progress.json")
            assert self.read("launch.json").get("state") != "failed", self.log()
            return int(progress.get("iteration", 0)) >= iteration

        wait_until(f"iteration {iteration} of job {self.job_id}", there, timeout=timeout)

    def wait_for_launch(self, state: str, timeout: float = 180) -> dict[str, Any]:
        def there() -> dict[str, Any]:
            launch = self.read("launch.json")
            return launch if launch.get("state") == state else {}

        return wait_until(f"launch state {state} of job {self.job_id}", there, timeout=timeout)

    def wait_for_generation(self, generation: int, timeout: float = 180) -> dict[str, Any]:
        """Wait until this launch or a later one has done an iteration; what it reports."""

        def there() -> dict[str, Any]:
            progress = self.read("progress.json")
            assert self.read("launch.json").get("state") != "failed", self.log()
            fresh = progress.get("generation", 0) >= generation and progress["first_iteration_at"]
            return progress if fresh else {}

        return wait_until(f"an iteration of launch {generation}", there, timeout=timeout)

    def wait_for_state(self, state: str, timeout: float = 180) -> dict[str, str]:
        return self.cluster.wait_for_state(self.job_id, state, timeout=timeout)

    def wait_for_requeue(self) -> None:
        """Wait until a requeued job may start again: not within the second in which it ended, when
        slurmd takes the new run for the old one and ends it."""
        self.wait_for_state("PENDING")
        time.sleep(1.1)

    def prepare(self, change: int) -> int:
        """Order a companion; its job id."""
        self.order("prepare", change=change)

        def there() -> dict[str, Any]:
            found = self.read("companion.json")
            return found if found.get("change") == change else {}

        found = wait_until(f"a companion for change {change}", there, timeout=60)
        assert found["slurm_job_id"], found
        return int(found["slurm_job_id"])

    def start_companion(self, companion: int, *nodes: str, gpus: int = 2) -> None:
        """As the daemon does: shape, release."""
        count = len(nodes)
        self.scontrol(
            "update",
            f"jobid={companion}",
            f"NumNodes={count}-{count}",
            f"NumTasks={count}",
            f"NumCPUs={gpus * count}",
            f"ReqNodeList={','.join(nodes)}",
            f"TresPerNode=gres:gpu:{gpus}",
        )
        self.scontrol("release", str(companion))
        self.cluster.wait_for_state(companion, "RUNNING")

    def resize(self, change: int, *nodes: str, gpus: int = 2, leave: bool = True) -> dict[str, Any]:
        """Order a live change; what the training reports when it is done."""
        names = ",".join(nodes)
        self.order("resize", change=change, nodes=names, gpus=gpus * len(nodes), leave=leave)

        def done() -> dict[str, Any]:
            progress = self.read("progress.json")
            assert progress["refused_change"] < change, progress["refusal"]
            return progress if progress["change"] == change else {}

        return wait_until(f"change {change}", done, timeout=120)

    def stop(self) -> dict[str, Any]:
        """Order to stop; what the training reports when no process of it is left."""
        generation = self.order("stop")
        launch = self.wait_for_launch("waiting")
        assert launch["generation"] == generation
        return self.read("progress.json")

    def reshape(self, nodes: int, gpus: int) -> None:
        """Requeue into another shape and start; the job is running or waiting."""
        job = str(self.job_id)
        self.scontrol("requeuehold", job)
        self.wait_for_requeue()
        self.scontrol(
            "update",
            f"jobid={job}",
            f"NumNodes={nodes}-{nodes}",
            f"NumTasks={nodes}",
            f"NumCPUs={nodes}",
            f"TresPerNode=gres:gpu:{gpus}",
            "StartTime=now",
        )
        self.scontrol("release", job)


def training_request(
    job: TrainingJob,
    *arguments: str,
    nodes: int = 1,
    gpus_per_node: int = 2,
    settings: LaunchSettings | None = None,
    **options: object,
) -> LaunchRequest:
    """The character model, recording what it does."""
    record = f"{job.directory}/record"
    shape = (f"--nodes={nodes}", f"--gres=gpu:{gpus_per_node}")
    values: dict[str, object] = {
        "command": (f"{scripts(job.cluster)}/chars.py", "--record", record, *arguments),
        "state_dir": job.state_dir,
        "order_file": f"{job.state_dir}/order.json",
        "iterations": ITERATIONS,
        "global_batch_size": BATCH,
        "sbatch_options": ("--partition=batch", "--time=20", *shape),
        "settings": settings or LaunchSettings(),
    }
    return LaunchRequest(**{**values, **options})  # type: ignore[arg-type]


def fixed_run(
    job: TrainingJob, *arguments: str, iterations: int = ITERATIONS
) -> list[dict[str, Any]]:
    """What the same training does in one process, uninterrupted, without Slurm."""
    fixed = TrainingJob(job.cluster, f"{job.directory}/fixed")
    job.run("mkdir", "-p", fixed.directory)
    script = f"{scripts(job.cluster)}/chars.py"
    sizes = ("--iterations", str(iterations), "--batch", str(BATCH))
    job.run("python3", script, *sizes, "--record", f"{fixed.directory}/record", *arguments)
    return fixed.record()


def assert_same_training(job: TrainingJob, reference: list[dict[str, Any]]) -> None:
    """Every iteration of the reference was done, with its samples and its loss.

    An iteration that was done again after a failure must have given the very same once more;
    against the reference at another world size there is only rounding, of double precision.
    """
    record = job.record()
    seen: dict[int, dict[str, Any]] = {}
    for found in record:
        before = seen.setdefault(found["iteration"], found)
        if before["world"] == found["world"]:
            assert found["loss"] == pytest.approx(before["loss"], rel=1e-12)
    assert sorted({entry["iteration"] for entry in record}) == list(range(len(reference)))
    for found in record:
        expected = reference[found["iteration"]]
        assert found["indices"] == expected["indices"]
        assert found["lr"] == expected["lr"]
        assert found["loss"] == pytest.approx(expected["loss"], rel=TOLERANCE)
