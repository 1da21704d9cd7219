"""Jobs that train otherwise than they were said to, on the mini-Slurm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until
from mini.site import Site

pytestmark = pytest.mark.cluster

STEADY = "1:5,2:9.5,4:18,8:33,16:60"
FALLING = "1:10,2:18,4:32,8:28,16:20"


@pytest.fixture
def site(running_cluster: MiniSlurm) -> Iterator[Site]:
    cluster = running_cluster

    def shell(
        command: str, *, user: str = "root", on: str = "ctl", stdin: str | None = None
    ) -> str:
        return cluster.output(command, user=user, on=on, stdin=stdin)

    site = Site(shell, {"start": 5.0, "restart": 8.0, "shrink": 5.0})
    site.stop("KILL")
    site.prepare()
    site.start()
    yield site
    cluster.run("ef-scancel --me", user="user1", check=False)
    cluster.heal()
    site.stop()


def submit(cluster: MiniSlurm, site: Site, options: str, rates: str, command: str = "") -> int:
    pacer = f"{site.paths['checkout']}/tests/cluster/daemon_pacer.py --rates {rates} {command}"
    shown = cluster.output(
        f"ef-sbatch --parsable --global-batch-size=32 --throughput={rates} {options}"
        f" python3 {pacer}",
        user="user1",
    )
    return int(shown)


def queue(cluster: MiniSlurm) -> dict[int, dict[str, Any]]:
    shown = json.loads(cluster.poll("ef-squeue --json --all"))
    return {job["job_id"]: job for job in shown["jobs"]}


def story(cluster: MiniSlurm, job: int) -> list[dict[str, Any]]:
    shown = json.loads(cluster.poll(f"ef-squeue --explain {job} --json"))
    events: list[dict[str, Any]] = shown["events"]
    return events


def shares(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["to"] for event in events if event["kind"] == "share"]


@pytest.mark.flaky_on_busy_machine(
    reason="sixteen ranks must train at the pace that they pretend, once they are to save a promise"
)
def test_a_job_that_slows_down_is_saved_and_a_falling_curve_is_kept_below_its_peak(
    running_cluster: MiniSlurm, site: Site
) -> None:
    """On 8 GPUs the one takes 138 s. From iteration 1320 (40 s) on it trains at half its rate: it
    would end after 235 s, and is due after 215 s. The other one stands in its way until then."""
    cluster = running_cluster
    falling = submit(cluster, site, "--best-effort --iterations=50000", FALLING)
    wait_until("it trains", lambda: queue(cluster)[falling]["state"] == "running", timeout=30)
    slow = submit(
        cluster, site, "--deadline=+215s --iterations=4400", STEADY, "--slower-from 1320 50"
    )
    wait_until(
        "it is seen to be slow",
        lambda: "of its rate since" in queue(cluster)[slow]["note"],
        timeout=150,
    )
    wait_until("it has ended", lambda: queue(cluster)[slow]["state"] == "completed", timeout=200)
    events = story(cluster, slow)
    assert queue(cluster)[slow]["promise_outcome"] == "kept", [event["message"] for event in events]
    (named,) = [event for event in events if event["data"].get("what") == "slowdown"]
    assert named["data"]["value"] == pytest.approx(0.5, rel=0.1)
    assert shares(events) == [8, 16]
    wait_until("the other goes on", lambda: queue(cluster)[falling]["share"] == 4, timeout=30)
    assert max(shares(story(cluster, falling))) == 4
