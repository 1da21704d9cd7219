"""A site's ef-slurm on a mini-Slurm with variants: what people submit, and what becomes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mini.client import MiniSlurm, wait_until
from mini.site import Site

RATES = "1:10,2:19,4:36,8:60"
ENDED = ("completed", "failed", "cancelled", "rejected")


class VariantPeople:
    """Users of one cluster."""

    def __init__(self, cluster: MiniSlurm) -> None:
        self.cluster = cluster
        self.site = Site(self._shell, {"start": 5.0, "restart": 8.0, "shrink": 6.0})

    def _shell(
        self, command: str, *, user: str = "root", on: str = "ctl", stdin: str | None = None
    ) -> str:
        return self.cluster.output(command, user=user, on=on, stdin=stdin)

    def sbatch(
        self, options: str, rates: str = RATES, *, curve: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`ef-sbatch` of a training at these rates, whatever comes of it."""
        pacer = f"{self.site.paths['checkout']}/tests/cluster/daemon_pacer.py --rates {rates}"
        curve = curve or f"--throughput={rates}"
        return self.cluster.run(
            f"ef-sbatch --parsable --global-batch-size=32 {curve} {options} python3 {pacer}",
            user="user1",
            check=False,
        )

    def submit(self, options: str, rates: str = RATES, *, curve: str = "") -> int:
        """The id of a job that was promised."""
        done = self.sbatch(options, rates, curve=curve)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def queue(self) -> dict[int, dict[str, Any]]:
        shown = json.loads(self.cluster.poll("ef-squeue --json --all"))
        return {job["job_id"]: job for job in shown["jobs"]}

    def story(self, job: int) -> str:
        return self.cluster.poll(f"ef-squeue --explain {job}")

    def wait_for_story(self, job: int, *words: str, timeout: float = 120) -> str:
        """Wait until a job's story has one of these words; returns it."""

        def told() -> str:
            story = self.story(job)
            return story if any(word in story for word in words) else ""

        return wait_until(f"{' or '.join(words)} in the story of {job}", told, timeout=timeout)

    def wait_for_kept(self, *jobs: int, timeout: float = 240) -> None:
        """Wait until these jobs have ended; each promise was kept."""
        wait_until(
            "the ends of the promised jobs",
            lambda: all(self.queue()[job]["state"] in ENDED for job in jobs),
            timeout=timeout,
            every=1.0,
        )
        found = {job: self.queue()[job]["promise_outcome"] for job in jobs}
        stories = "\n\n".join(self.story(job) for job in jobs)
        assert found == dict.fromkeys(jobs, "kept"), stories

    def clear(self) -> None:
        """Nobody's job is left."""
        self.cluster.run("ef-scancel --me", user="user1", check=False)
        self.cluster.heal()

    def allocated(self, job: int) -> dict[str, str]:
        """What Slurm has given a running job (AllocTRES, or TRES before 24.05)."""
        shown = self.cluster.job(job)
        words = shown.get("AllocTRES") or shown.get("TRES") or ""
        return dict(word.split("=", 1) for word in words.split(",") if "=" in word)


@contextmanager
def people_of(cluster: MiniSlurm) -> Iterator[VariantPeople]:
    """The daemon runs; afterwards it does not, and nothing is left in Slurm."""
    people = VariantPeople(cluster)
    people.site.stop("KILL")
    people.site.prepare()
    people.site.start()
    try:
        yield people
    finally:
        people.clear()
        people.site.stop()
