"""A real training whose ranks cannot stay grows all the same without a requeue: a larger launch is
prepared beside it and takes over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench, fresh_bench
from tests.cluster.test_live_changes import told, wait_for_nodes

pytestmark = pytest.mark.cluster


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    with fresh_bench(running_cluster) as bench:
        yield bench


def wait_for_companions(bench: Bench, job: int, *states: str) -> None:
    wait_until(
        f"companions that are {states}",
        lambda: [one["state"] for one in bench.queue()[job]["companions"]] == [*states],
        timeout=90,
    )


def test_it_grows_and_gives_back_what_it_got(bench: Bench) -> None:
    """DDP that the script makes itself. (FSDP of the cluster's torch trains on no CPU.)"""
    cluster = bench.cluster
    bench.occupy("n3,n4")
    other = bench.occupy("n2")
    cluster.wait_for_state(other, "RUNNING")
    first = bench.real_training("--wrapper", "ddp", "--sleep", "0.02")
    small = wait_for_nodes(bench, first, "n1")
    assert (small["live"], small["hands_over"], small["change"]) == (True, True, 0), small
    cluster.run(f"scancel {other}")
    grown = wait_for_nodes(bench, first, "n1,n2")
    assert (grown["world_size"], grown["change"], grown["generation"]) == (8, 1, 1)
    assert grown["iteration"] >= small["iteration"]
    wait_for_companions(bench, first, "joined")
    assert bench.gpus_given_twice() == []
    second = bench.job(300, "--deadline=+90s", "--nodelist=n2")
    shrunk = wait_for_nodes(bench, first, "n1")
    bench.wait_state(second, "running", "completed")
    assert (shrunk["world_size"], shrunk["generation"]) == (4, 2)
    assert shrunk["iteration"] >= grown["iteration"]
    assert bench.gpus_given_twice() == []
    job = cluster.job(first)
    assert (job["JobState"], job["Restarts"], job["NodeList"]) == ("RUNNING", "0", "n1")
    print(bench.explain(first))
    print(f"stood still: {grown['change_seconds']:.2f} s")
    cluster.cancel_all()


def test_it_grows_twice_and_goes_on_without_a_companion_that_is_cancelled(bench: Bench) -> None:
    cluster = bench.cluster
    others = [bench.occupy(nodes) for nodes in ("n2", "n3,n4")]
    for other in others:
        cluster.wait_for_state(other, "RUNNING")
    first = bench.real_training("--wrapper", "ddp", "--sleep", "0.05", rates="4:10,8:18,16:30")
    wait_for_nodes(bench, first, "n1")
    cluster.run(f"scancel {others[0]}")
    wait_for_nodes(bench, first, "n1,n2")
    wait_for_companions(bench, first, "joined")
    cluster.run(f"scancel {others[1]}")
    grown = wait_for_nodes(bench, first, "n1,n2,n3,n4")
    assert (grown["world_size"], grown["change"], grown["generation"]) == (16, 2, 1)
    wait_for_companions(bench, first, "joined", "joined")
    number = bench.queue()[first]["companions"][0]["job_id"]
    cluster.run(f"scancel {number}", user="user1")
    wait_until("the next launch", lambda: told(bench, first).get("generation") == 2, timeout=90)
    alone = wait_for_nodes(bench, first, "n1")
    assert alone["iteration"] >= grown["iteration"]
    assert bench.gpus_given_twice() == []
    job = cluster.job(first)
    assert (job["JobState"], job["Restarts"]) == ("RUNNING", "0")
    print(bench.explain(first))
    cluster.cancel_all()
