"""A shrink of a job that cannot change while it runs: stopped first, and prepared beside.

Prints a table; asserts nothing on time.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.daemon_bench import Bench, fresh_bench
from tests.cluster.test_daemon_reshape import report, story

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="a measurement: EF_LONG=1"),
]


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    with fresh_bench(running_cluster) as bench:
        yield bench


ROUNDS = int(os.environ.get("EF_ROUNDS", "3"))


def test_a_shrink_stopped_first_and_prepared_beside(bench: Bench) -> None:
    """To half of the nodes, by both ways in turn: what stands still, and when GPUs are free.

    Of four nodes where they have one GPU each; of two where 16 ranks would be too many.
    """
    count = 4 if bench.cluster.gpus_per_node == 1 else 2
    ways: dict[str, list[dict[str, float]]] = {"stopped first": [], "beside": []}
    for number in range(1, 2 * ROUNDS + 1):
        way = list(ways)[number % 2]
        bench.site.stop()
        # To go elsewhere costs more than to stay on half of the nodes.
        ready = 0.0 if way == "stopped first" else 25.0
        bench.site.settings = {**bench.site.settings, "restart": 60.0, "ready": ready}
        bench.site.prepare()
        bench.site.start()
        ways[way].append(shrink_to_half(bench, count, beside=way == "beside"))
        print(f"{way}: {ways[way][-1]}", flush=True)
        bench.cluster.cancel_all()
    for stage in next(iter(ways.values()))[0]:
        print(f"\n{stage:<36}", end="")
        for way, rows in ways.items():
            found = " ".join(f"{row[stage]:.1f}" for row in rows)
            print(f"{way} {statistics.median(row[stage] for row in rows):5.1f} ({found})  ", end="")
    print(f"\nload {os.getloadavg()[0]:.1f}")


def shrink_to_half(bench: Bench, count: int, *, beside: bool) -> dict[str, float]:
    """Have a job give half of its nodes to a newcomer; what took how long."""
    if count == 2:
        bench.occupy("n3,n4")
    rates = "1:10,2:18,4:32" if count == 4 else "4:10,8:18"
    first = bench.real_training("--sleep", "0.05", rates=rates)
    directory = wait_until("it to be known", lambda: bench.queue()[first]["state_dir"])
    wait_until("it to train", lambda: trained(bench, directory, 1), timeout=90)
    before = report(bench, first, "launch.json")
    assert len(before["nodes"].split(",")) == count
    time.sleep(5)  # its speed is known then
    newcomer = bench.job(2000, "--deadline=+300s")
    last = 0.0

    def goes_on() -> dict[str, Any] | None:
        nonlocal last
        seen = told(bench, directory)
        if seen["generation"] == 1 and seen.get("phase") == "stopped":
            last = seen["last_iteration_at"]
        return trained(bench, directory, 2)

    try:
        seen = wait_until("it to go on", goes_on, timeout=120, every=0.02)
        assert seen is not None
        bench.wait_state(newcomer, "running", "completed")
        launch = report(bench, first, "launch.json")
        events = story(bench, first)
        log = bench.cluster.output(f"cat {bench.cluster.job(first)['StdOut']}")
        assert (launch["generation"], launch["restart_count"]) == (2, 0), log
        assert seen["world_size"] == ranks_on_half(before), log
        assert ("while launch 1 goes on" in log) is beside, log
        assert "started anew" not in log, log
        assert bench.gpus_given_twice() == []
        assert "drain" not in bench.cluster.output("sinfo --noheader --format=%T")
    except AssertionError:
        print(bench.explain(first), bench.queue()[first], bench.site.log()[-3000:])
        raise
    began = [e for e in events if e["kind"] == "share" and e["data"]["from"]][-1]["at"]
    intents = [e for e in events if e["kind"] == "intent" and e["at"] >= began]
    freed = next(e["at"] for e in intents if e["data"]["action"] == "shrink")
    last = last or launch["started_at"]
    return {
        "decision to last iteration": last - began,
        "decision to the resize": freed - began,
        "stands still": seen["first_iteration_at"] - last,
        "decision to first iteration": seen["first_iteration_at"] - began,
    }


def ranks_on_half(launch: dict[str, Any]) -> int:
    """Ranks on half of the nodes of a launch."""
    return int(len(launch["nodes"].split(",")) * launch["gpus_per_node"] // 2)


def told(bench: Bench, directory: str) -> dict[str, Any]:
    """What a training reports; of launch 0 before there is anything."""
    text = bench.cluster.run(f"cat {directory}/progress.json", check=False).stdout
    seen: dict[str, Any] = json.loads(text or '{"generation": 0}')
    return seen


def trained(bench: Bench, directory: str, generation: int) -> dict[str, Any] | None:
    """What it reports, once that launch or a later one has done an iteration."""
    seen = told(bench, directory)
    return seen if seen["generation"] >= generation and seen["first_iteration_at"] else None
