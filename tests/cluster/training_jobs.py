"""A training job on the mini-Slurm, as its daemon and its owner see it."""

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ef_slurm.launch import LaunchRequest, render

SCRIPTS = "/opt/ef-slurm/tests/cluster/training_scripts"


class Cluster(Protocol):
    """What is used of the mini-Slurm."""

    def exec(
        self, *command: str, user: str = ..., on: str = ..., stdin: str | None = ...
    ) -> subprocess.CompletedProcess[str]: ...


def eventually(
    condition: Callable[[], Any], what: str, seconds: float = 90.0, every: float = 0.2
) -> Any:
    """The first true value of ``condition()``; fails the test if there is none."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(every)
    return value


@dataclass
class TrainingJob:
    """One job of user1, with the daemon's means: orders, requeue, update."""

    cluster: Cluster
    directory: str
    """On the shared directory; made by ``submit``."""
    job_id: int = 0

    @property
    def state_dir(self) -> str:
        return f"{self.directory}/state"

    def submit(self, request: LaunchRequest, *options: str) -> None:
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

    def show(self) -> dict[str, str]:
        """``scontrol show job``."""
        words = self.scontrol("--oneliner", "show", "job", str(self.job_id)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the state directory; empty when there is none."""
        text = self.shell(f"cat {shlex.quote(self.state_dir)}/{name} 2>/dev/null || true")
        return json.loads(text) if text else {}

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

    def order(self, action: str, reason: str = "test") -> int:
        """Write an order for the present generation, as the daemon does; the generation."""
        generation = int(self.read("launch.json")["generation"])
        text = json.dumps(
            {
                "version": 1,
                "generation": generation,
                "action": action,
                "issued_at": time.time(),
                "reason": reason,
            },
            indent=1,
        )
        state = shlex.quote(self.state_dir)
        self.shell(
            f"cat >{state}/.order.tmp && mv {state}/.order.tmp {state}/order.json", stdin=text
        )
        return generation

    def wait_for_iteration(self, iteration: int, seconds: float = 120.0) -> None:
        def there() -> bool:
            progress = self.read("progress.json")
            assert self.read("launch.json").get("state") != "failed", self.log()
            return int(progress.get("iteration", 0)) >= iteration

        eventually(there, f"iteration {iteration} of job {self.job_id}", seconds)

    def wait_for_launch(self, state: str, seconds: float = 120.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            launch = self.read("launch.json")
            return launch if launch.get("state") == state else None

        return eventually(there, f"launch state {state} of job {self.job_id}", seconds)

    def wait_for_state(self, state: str, seconds: float = 120.0) -> dict[str, str]:
        def there() -> dict[str, str] | None:
            shown = self.show()
            return shown if shown["JobState"] == state else None

        return eventually(there, f"job {self.job_id} {state}", seconds)

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
        self.wait_for_state("PENDING")
        self.scontrol(
            "update",
            f"jobid={job}",
            f"NumNodes={nodes}-{nodes}",
            f"NumTasks={nodes}",
            f"NumCPUs={nodes}",
            f"TresPerNode=gres:gpu:{gpus}",
            "StartTime=now",
        )
        time.sleep(1.1)  # never start within the second of the end: see Requeue in Slurm's facts
        self.scontrol("release", job)

    def cancel(self) -> None:
        if self.job_id:
            self.cluster.exec("scancel", str(self.job_id), user="user1")
