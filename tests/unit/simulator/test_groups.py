"""Clusters of several GPU types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as CliResult

from ef_slurm.cli.sim.command import main
from ef_slurm.model import ThroughputCurve
from ef_slurm.simulator.cluster import (
    GpuGroup,
    describe,
    first_rows,
    parse_group,
    side_by_side,
    uniform,
)
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.failures import parse_failures
from ef_slurm.simulator.knowledge import parse_curves
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.policies.registry import POLICIES
from ef_slurm.simulator.report.html import run_page
from ef_slurm.simulator.report.series import allocation
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.trace import TraceJob, make_trace

SLOW = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 4.0})
FAST = ThroughputCurve.of({1: 3.0, 2: 6.0, 4: 12.0})
MIXED = side_by_side([GpuGroup("new", 1, 4), GpuGroup("old", 2, 2)])
BOTH = (("new", FAST), ("old", SLOW))


def job(
    name: str,
    iterations: float,
    deadline: float | None,
    curves: tuple[tuple[str, ThroughputCurve], ...] = BOTH,
    submitted: float = 0.0,
    gpus: int = 2,
) -> TraceJob:
    curve = curves[0][1]
    duration = iterations / dict(curve.points)[gpus]
    return TraceJob(
        name, submitted, iterations, "m", 32, curve, deadline, gpus, duration, curves=curves
    )


def run(jobs: Sequence[TraceJob], policy: str = "elasticflow", failures: str = "none") -> Result:
    return simulate(
        Request(
            make_trace("t", jobs),
            MIXED,
            policy,
            parse_overhead("constant:10"),
            check=True,
            failures=parse_failures(failures),
        )
    )


def types(result: Result) -> dict[str, set[str]]:
    return {one.spec.id: {s.gpu_type for s in one.held_shares} for one in result.jobs}


def test_groups_are_read_and_named() -> None:
    assert parse_group("1g.10gb:2x8") == GpuGroup("1g.10gb", 2, 8)
    assert [group.names for group in MIXED] == [("n1",), ("n2", "n3")]
    assert first_rows(MIXED) == {"n1": 0, "n2": 4, "n3": 6}
    assert describe(MIXED) == "1 nodes of 4 new GPUs, 2 nodes of 2 old GPUs"
    assert str(uniform(4, 8)[0]) == "gpu:4x8"


@pytest.mark.parametrize(
    "text", ["", "a100", "a100:4", "a100:4x6", "a100:0x8", ":4x8", "a:4x8x2", "a:4X8", "a,b:4x8"]
)
def test_what_is_no_group(text: str) -> None:
    with pytest.raises(SimulatorError, match="TYPE:NODESxGPUS, as a100:4x8"):
        parse_group(text)


def test_one_group_for_each_type() -> None:
    with pytest.raises(SimulatorError, match="there is one of type a already"):
        side_by_side([GpuGroup("a", 1, 4), GpuGroup("a", 2, 4)])


def test_a_job_takes_the_type_on_which_its_deadline_holds() -> None:
    result = run([job("tight", 3000.0, 320.0), job("loose", 600.0, 320.0)])
    assert result.metrics.met == 2
    assert types(result)["tight"] == {"new"}
    assert types(result)["loose"] == {"old"}


def test_who_can_run_on_one_type_only_is_served_by_it() -> None:
    """The one that can use both makes room for the one that cannot."""
    picky = job("picky", 3000.0, 400.0, (("new", FAST),))
    free = job("free", 1000.0, 400.0)
    result = run([free, picky])
    assert result.metrics.met == 2
    assert types(result)["picky"] == {"new"}


def test_a_type_without_a_curve_is_never_used() -> None:
    result = run([job("a", 500.0, 2000.0, (("old", SLOW),))])
    assert types(result) == {"a": {"old"}}


WORKLOAD = [
    job(
        f"j{n}",
        400.0 + 97.0 * (n * 7 % 11),
        n * 60.0 + 500.0 + 40.0 * (n % 5) if n % 6 else None,
        BOTH if n % 3 else (BOTH[n // 3 % 2],),
        submitted=n * 60.0,
        gpus=1 << n % 2,
    )
    for n in range(24)
]


@pytest.mark.parametrize("failures", ["none", "2h:10m:3"])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_runs_on_a_mixed_cluster(policy: str, failures: str) -> None:
    """`check` looks after them: nobody gets GPUs that are not there, all work adds up."""
    if policy == "chronus":
        pytest.importorskip("scipy.optimize")
    result = run(WORKLOAD, policy, failures)
    assert result.metrics.met > 0
    used = {kind for kinds in types(result).values() for kind in kinds}
    assert used == {"new", "old"}
    rectangles = allocation(result.jobs, MIXED)
    assert max(one.row + one.height for one in rectangles) <= result.metrics.gpus == 8
    assert result.metrics.cluster == "new:1x4,old:2x2"
    if policy == "elasticflow" and failures == "none":
        assert result.metrics.broken_promises == 0
        assert "1 nodes of 4 new GPUs, 2 nodes of 2 old GPUs" in run_page(result)


def test_elasticflow_meets_more_than_any_baseline() -> None:
    met = {policy: run(WORKLOAD, policy).metrics.met for policy in ("elasticflow", "edf", "slurm")}
    assert met["elasticflow"] >= max(met.values())


def test_curves_that_have_to_be_learned_need_one_type() -> None:
    request = Request(
        make_trace("t", [job("a", 100.0, 900.0)]),
        MIXED,
        "elasticflow",
        parse_overhead("zero"),
        curves=parse_curves("learned"),
    )
    with pytest.raises(SimulatorError, match="are for clusters of one GPU type"):
        simulate(request)


TRACE = """submission_time,num_iteration,model_name,deadline,batch_size,num_gpu,duration
0,3000,m,400,32,2,500
0,600,m,400,32,1,600
60,500,picky,900,32,1,300
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "trace.csv").write_text(TRACE)
    for name, rates in (("new", "3,6,12"), ("old", "1,2,4")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.csv").write_text(f"global_batch_size,1,2,4\n32,{rates}\n")
    (tmp_path / "old" / "picky.csv").write_text("global_batch_size,1,2\n32,1,2\n")
    return tmp_path


def invoke(site: Path, command: str, *options: str) -> CliResult:
    return CliRunner().invoke(main, [command, str(site / "trace.csv"), *options])


GROUPS = ("--group", "new:1x4", "--group", "old:2x2")


def tables(site: Path) -> tuple[str, ...]:
    return ("--throughputs", f"new={site}/new", "--throughputs", f"old={site}/old")


def test_run_and_compare(site: Path) -> None:
    out, page, database = site / "o.json", site / "o.html", site / "o.db"
    result = invoke(site, "run", *GROUPS, *tables(site), "--json", str(out), "--html", str(page))
    assert result.exit_code == 0, result.output
    numbers = json.loads(out.read_text())
    assert (numbers["met"], numbers["cluster"], numbers["gpus"]) == (3, "new:1x4,old:2x2", 8)
    result = invoke(
        site, "compare", *GROUPS, *tables(site), "--policies", "elasticflow,edf,slurm",
        "--html", str(page), "--sqlite", str(database), "--processes", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 nodes of 2 old GPUs" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Missing option '--nodes' (or '--group')"),
        (("--nodes", "2"), "Missing option '--gpus-per-node'"),
        ((*GROUPS, "--nodes", "2"), "--group stands instead of --nodes"),
        (("--group", "a:1x3"), "TYPE:NODESxGPUS"),
        (("--group", "a:1x4", "--group", "a:2x4"), "there is one of type a already"),
        ((*GROUPS, "--throughputs", "t4=x"), "the cluster has no such GPU type; it has new, old"),
        ((*GROUPS, "--throughputs", "x", "--throughputs", "y"), "twice for every GPU type"),
        ((*GROUPS, "--curves", "learned"), "clusters of one GPU type"),
    ],
)
def test_wrong_clusters_are_refused(site: Path, options: tuple[str, ...], message: str) -> None:
    if "--curves" in options:
        options = (*options, *tables(site))
    result = invoke(site, "run", *options)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output
