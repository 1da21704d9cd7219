"""What the cluster tests of the daemon share: a site, and what users do with it."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mini.client import MiniSlurm, wait_until
from mini.site import Site

from tests.cluster.training_jobs import scripts

RATES = "1:10,2:18,4:32,8:56,16:90"

Rows = dict[int, dict[str, Any]]
"""What ef-squeue shows, by Slurm's id."""


class Bench:
    """A site with its daemon, and what a user does with it."""

    def __init__(self, cluster: MiniSlurm) -> None:
        self.cluster = cluster
        self.site = Site(self._shell, {"start": 6.0, "restart": 8.0, "shrink": 6.0})

    def _shell(
        self, command: str, *, user: str = "root", on: str = "ctl", stdin: str | None = None
    ) -> str:
        return self.cluster.output(command, user=user, on=on, stdin=stdin)

    @property
    def pacer(self) -> str:
        """The training command of these tests, as the nodes see it."""
        return shlex.quote(f"{self.site.paths['checkout']}/tests/cluster/daemon_pacer.py")

    def command(self, iterations: int, *options: str, more: str = "") -> str:
        """An ef-sbatch of a pacer."""
        return " ".join(
            (
                "ef-sbatch --json",
                f"--iterations={iterations} --global-batch-size=32 --throughput={RATES}",
                *options,
                f"python3 {self.pacer} --rates {RATES} {more}",
            )
        )

    def submit(
        self, iterations: int, *options: str, user: str = "user1", more: str = ""
    ) -> dict[str, Any]:
        """ef-sbatch's answer."""
        words = self.command(iterations, *options, more=more)
        done = self.cluster.run(words, user=user, check=False)
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def job(self, iterations: int, *options: str, user: str = "user1", more: str = "") -> int:
        """The id of a job that was taken."""
        return self.register(self.submit(iterations, *options, user=user, more=more), user=user)

    def real_training(self, *arguments: str, rates: str = "4:10,8:18") -> int:
        """The id of a best-effort job that trains a real model.

        Args:
            arguments: for its script.
            rates: by GPUs, on as many as which it may train.
        """
        shape = f"--iterations=50000 --global-batch-size=32 --throughput={rates} --best-effort"
        script = f"{scripts(self.cluster)}/chars.py {shlex.join(arguments)}"
        return int(self.cluster.output(f"ef-sbatch --parsable {shape} {script}", user="user1"))

    def occupy(self, nodes: str) -> int:
        """The id of a Slurm job, none of ef-slurm's, that has all GPUs of these nodes."""
        count = len(nodes.split(","))
        return self.cluster.sbatch(
            *("--partition=batch", f"--nodelist={nodes}", f"--nodes={count}"),
            *("--gres=gpu:4", "--time=10"),
            script="#!/bin/sh\nsleep 600\n",
        )

    def register(self, answer: dict[str, Any], *, user: str = "user1") -> int:
        """The id of a submitted job, once the daemon has taken it."""
        while not answer.get("registered", True):  # no daemon at that moment: the job stays held
            again = f"ef-sbatch --json --register={answer['state_dir']}"
            done = self.cluster.run(again, user=user, check=False)
            assert done.stdout, done.stderr
            answer = {**answer, "registered": True, **json.loads(done.stdout)}
        return int(answer["job_id"])

    def queue(self) -> Rows:
        """ef-squeue's view of all jobs, ended ones too."""
        shown = json.loads(self.cluster.poll("ef-squeue --json --states=all"))
        return {int(job["job_id"]): job for job in shown["jobs"]}

    def active(self) -> list[int]:
        """Jobs that have not ended."""
        shown = json.loads(self.cluster.poll("ef-squeue --json"))
        return [int(job["job_id"]) for job in shown["jobs"]]

    def state(self, job_id: int) -> str:
        state: str = self.queue()[job_id]["state"]
        return state

    def wait_state(self, job_id: int, *states: str, timeout: float = 60) -> dict[str, Any]:
        """The job as soon as it is in one of the states."""

        def reached() -> dict[str, Any] | None:
            job = self.queue()[job_id]
            return job if job["state"] in states else None

        try:
            found = wait_until(f"job {job_id} to be {states}", reached, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.explain(job_id)}\n{self.site.log()}") from None
        assert found is not None
        return found

    def check_promises(self, before: Rows) -> None:
        """The jobs and promises are those of before; some may have been kept meanwhile."""
        rows = self.queue()
        deadlines = [
            {job_id: (row["deadline"], row["grace"]) for job_id, row in each.items()}
            for each in (rows, before)
        ]
        assert deadlines[0] == deadlines[1]
        for job_id, row in before.items():
            outcome = row["promise_outcome"]
            stands = {"open", "kept"} if outcome == "open" else {outcome}
            assert rows[job_id]["promise_outcome"] in stands, self.explain(job_id)

    def explain(self, job_id: int) -> str:
        return self.cluster.poll(f"ef-squeue --explain {job_id}")

    def gpus_given_twice(self) -> list[str]:
        """GPUs, as node and index, that more than one running job has according to Slurm."""
        shown = self.cluster.output("scontrol --details --oneliner show job --all || true")
        return gpus_given_twice(shown)


def gpus_given_twice(shown: str) -> list[str]:
    """GPUs that more than one running job has, in what `scontrol --details` shows, a job a line."""
    held: Counter[str] = Counter()
    for line in shown.splitlines():
        if not re.search(r"JobState=(RUNNING|COMPLETING)", line):
            continue
        for nodes, indices in re.findall(r"Nodes=(\S+) \S+ \S+ GRES=gpu\S*?\(IDX:([^)]*)\)", line):
            for node in expand(nodes):
                held.update(f"{node}:{index}" for index in numbers(indices))
    return [gpu for gpu, count in held.items() if count > 1]


@contextmanager
def fresh_bench(cluster: MiniSlurm) -> Iterator[Bench]:
    """A site with an empty queue and a daemon that runs; afterwards none does."""
    bench = Bench(cluster)
    bench.site.stop("KILL")
    bench.site.prepare()
    bench.site.start()
    yield bench
    bench.site.stop()
    bench.cluster.heal()


@contextmanager
def idle_bench(cluster: MiniSlurm) -> Iterator[Bench]:
    """A site with an empty queue and no daemon yet; afterwards nothing is left of either."""
    bench = Bench(cluster)
    bench.site.stop("KILL")
    bench.cluster.heal()
    bench.site.prepare()
    try:
        yield bench
    finally:
        bench.site.stop("KILL")
        bench.cluster.heal()
        bench.site.prepare()


def expand(nodes: str) -> list[str]:
    """Names of a short host list (n1, n[1-2,4])."""
    match = re.fullmatch(r"(\w+?)\[(.*)\]", nodes)
    if match is None:
        return [nodes]
    return [f"{match[1]}{number}" for number in numbers(match[2])]


def numbers(text: str) -> list[int]:
    """The numbers of `0-2,5`."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
