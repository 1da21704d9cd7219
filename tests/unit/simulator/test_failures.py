"""Nodes that fail: when, whom it hits, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ef_slurm.model import Overhead, ThroughputCurve
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.engine import Engine, Outcomes
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.failures import (
    REPAIR_SECONDS,
    FailuresOption,
    NodeFailures,
    jobs_on,
    parse_failures,
)
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.metrics import is_met, lost_gpu_seconds, unwarned
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.policies.base import ClusterSetup, SchedulingPolicy
from ef_slurm.simulator.policies.registry import POLICIES, make_policy
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.simulated_job import CHECKPOINT_SECONDS, Grant, SimulatedJob
from ef_slurm.simulator.trace import TraceJob, make_trace
from tests.unit.simulator.test_engine import Scripted, block

Maker = Callable[..., TraceJob]

TIMINGS = frozenset(
    {"planning_seconds", "longest_round_seconds", "wall_seconds", "cpu_seconds", "peak_rss_mb"}
)


def played(
    jobs: Sequence[TraceJob],
    policy: SchedulingPolicy | str,
    works: dict[str, list[float]],
    repair: float = 1000.0,
    overhead: Overhead | None = None,
    nodes: int = 2,
) -> Outcomes:
    """Two nodes of 4 GPUs; `works` says for how long each node works each time until it fails."""
    setup = ClusterSetup(uniform(nodes, 4), overhead or Overhead())
    names = [f"n{number + 1}" for number in range(nodes)]
    failures = NodeFailures({name: iter(works.get(name, ())) for name in names}, repair, 0.0)
    made = make_policy(policy, setup) if isinstance(policy, str) else policy
    return Engine(make_trace("t", jobs), setup, made, check=True, failures=failures).simulate()


@pytest.mark.parametrize(
    ("text", "mtbf", "repair", "seed"),
    [
        ("30d", 30 * 86400, REPAIR_SECONDS, 0),
        ("30-00:00:00", 30 * 86400, REPAIR_SECONDS, 0),
        ("720h:2h", 720 * 3600, 7200, 0),
        ("720h:2h:7", 720 * 3600, 7200, 7),
        ("5-0:30:00:2h:7", 5 * 86400 + 1800, 7200, 7),
        ("5d:1:00:00:7", 5 * 86400, 3600, 7),
    ],
)
def test_failures_are_parsed(text: str, mtbf: float, repair: float, seed: int) -> None:
    assert parse_failures(text) == FailuresOption(text, mtbf, repair, seed)


def test_none_is_no_failures() -> None:
    assert parse_failures("none") == FailuresOption()
    assert FailuresOption().failures(4, 0.0).next_change() == math.inf


@pytest.mark.parametrize(
    "text",
    [*("", "x", "0", "30s", "30d:", "30d:30s", "30d:1h:x", "30d:1h:-1"), "30d:1h:1:1", "UNLIMITED"],
)
def test_other_failures_are_refused(text: str) -> None:
    with pytest.raises(SimulatorError, match=r"none or MTBF\[:REPAIR"):
        parse_failures(text)


def test_the_times_depend_on_the_seed_and_the_node_alone() -> None:
    def first_hundred(option: FailuresOption, nodes: int) -> list[tuple[float, tuple[str, ...]]]:
        failures = option.failures(nodes, 50.0)
        seen = []
        while failures.count < 100:
            when = failures.next_change()
            failed = failures.pass_until(when)
            seen += [(when, tuple(failed))] if failed else []
        return seen

    two = first_hundred(parse_failures("10h:1h:3"), 2)
    assert two == first_hundred(parse_failures("10h:1h:3"), 2)
    assert two != first_hundred(parse_failures("10h:1h:4"), 2)
    three = first_hundred(parse_failures("10h:1h:3"), 3)
    of_the_same = [item for item in three if item[1] != ("n3",)]
    assert two[: len(of_the_same)] == of_the_same
    # 100 failures of two nodes, each after 10 h of work and 1 h of repair
    assert 0.7 < (two[-1][0] - 50.0) / (50 * 11 * 3600) < 1.3


def test_a_failed_node_is_down_until_it_is_repaired() -> None:
    failures = NodeFailures({"n1": iter([100.0, 10.0]), "n2": iter([100.0])}, 30.0, 1000.0)
    assert failures.pass_until(1099.0) == frozenset()
    assert failures.pass_until(1100.0) == {"n1", "n2"}
    assert failures.down == {"n1": 1100.0, "n2": 1100.0}
    assert not failures.up
    assert failures.pass_until(1130.0) == frozenset()
    assert failures.up == ("n1", "n2")
    assert failures.pass_until(2000.0) == {"n1"}
    assert (failures.count, failures.next_change()) == (3, math.inf)


def test_what_was_trained_since_the_last_checkpoint_is_lost(make_job: Maker) -> None:
    policy = Scripted((0, {"a": block(0, 2)}), (710, {"a": block(0, 2, node=2)}))
    outcomes = played([make_job(iterations=2000)], policy, {"n1": [710]}, overhead=Overhead(10))
    (job,) = outcomes.jobs
    # 10-710: a checkpoint after 600 s, 100 s lost; a start, and the other 800 iterations
    assert [(s.start, s.end, s.lost) for s in job.held_shares] == [(0, 710, 100), (710, 1120, 0)]
    assert job.finished == 710 + 10 + 800 / 2
    assert lost_gpu_seconds(job) == 200
    assert (job.starts, job.reshapes, job.pauses) == (1, 1, 0)
    assert outcomes.node_failures == 1


def test_a_reshape_is_a_checkpoint(make_job: Maker) -> None:
    policy = Scripted((0, {"a": block(0, 1)}), (100, {"a": block(0, 2)}), (150, {}))
    (job,) = played([make_job(iterations=2000)], policy, {"n1": [150]}).jobs
    assert job.remaining == 1900


def test_a_failure_during_overhead_loses_no_training_but_the_start(make_job: Maker) -> None:
    policy = Scripted((0, {"a": block(0, 2)}), (25, {"a": block(0, 2, node=2)}))
    overhead = Overhead.constant(30)
    (job,) = played([make_job(iterations=100)], policy, {"n1": [25]}, overhead=overhead).jobs
    assert [share.lost for share in job.held_shares] == [0, 0]
    assert job.finished == 25 + 30 + 50


def test_nodes_of_others_and_of_a_paused_job_may_fail(make_job: Maker) -> None:
    policy = Scripted(
        (0, {"a": block(0, 2), "b": block(0, 4, node=2)}),
        (40, {"b": block(0, 4, node=2)}),
        (60, {"a": block(0, 2, node=2)}),
    )
    jobs = [make_job("a", iterations=100), make_job("b", iterations=200)]
    first, second = played(jobs, policy, {"n1": [45]}).jobs
    assert (first.finished, second.finished) == (60 + 20 / 2, 50)
    assert lost_gpu_seconds(first) == lost_gpu_seconds(second) == 0
    assert policy.down == [("n1",)]


def test_two_nodes_that_fail_at_once_stop_a_job_once(make_job: Maker) -> None:
    wide = replace(block(0, 4), gpus=8)
    assert wide.block is not None
    wide = replace(wide, block=replace(wide.block, nodes=("n1", "n2")))
    policy = Scripted((0, {"a": wide}), (50, {}), (1050, {"a": wide}))
    spec = make_job(iterations=800, sizes=(8,))
    works = {"n1": [50.0], "n2": [50.0]}
    outcomes = played([spec], policy, works)
    (job,) = outcomes.jobs
    assert (outcomes.node_failures, len(job.held_shares)) == (2, 2)
    assert lost_gpu_seconds(job) == 50 * 8
    assert job.finished == 1050 + 100


@pytest.mark.parametrize("policy", POLICIES)
def test_when_all_nodes_have_failed_work_goes_on_after_the_repair(
    make_job: Maker, policy: str
) -> None:
    jobs = [make_job("a", iterations=400, deadline=5000), make_job("b", deadline=None)]
    outcomes = played(jobs, policy, {"n1": [20.0], "n2": [21.0]}, repair=1000.0)
    assert outcomes.node_failures == 2
    for job in outcomes.jobs:
        assert job.finished is not None
        assert job.finished > 1020 or not lost_gpu_seconds(job)
    assert sum(map(lost_gpu_seconds, outcomes.jobs)) > 0


@pytest.mark.parametrize(("repair", "kept"), [(200.0, True), (2000.0, False)])
def test_a_promise_without_nodes_is_at_risk_and_kept_if_they_are_back_in_time(
    make_job: Maker, repair: float, *, kept: bool
) -> None:
    spec = make_job(iterations=400, deadline=500)
    (job,) = played([spec], "elasticflow", {"n1": [90.0]}, repair=repair, nodes=1).jobs
    assert job.promised_at == 0
    assert job.at_risk_since == 90
    assert is_met(job) is kept
    assert job.finished is not None
    assert unwarned([job]) == 0


def test_elasticflow_moves_to_the_nodes_that_are_left(make_job: Maker) -> None:
    jobs = [make_job(name, iterations=4000, deadline=3000) for name in "ab"]
    outcomes = played(jobs, "elasticflow", {"n2": [700.0]}, repair=1e6)
    assert all(map(is_met, outcomes.jobs))
    assert sorted(map(lost_gpu_seconds, outcomes.jobs)) == [0, 400]


def test_jobs_without_blocks_fill_the_nodes_by_size_then_arrival(make_job: Maker) -> None:
    jobs = []
    for name, gpus in (("one", 1), ("four", 4), ("two", 2), ("uno", 1), ("none", 0)):
        job = SimulatedJob(make_job(name), Overhead())
        if gpus:
            job.assign(0.0, Grant(gpus))
        jobs.append(job)

    def hit(*failed: str, up: tuple[str, ...] = ("n1", "n2", "n3")) -> list[str]:
        return [job.spec.id for job in jobs_on(failed, up, 4, jobs)]

    assert hit("n1") == ["four"]
    assert hit("n2") == ["two", "one", "uno"]
    assert hit("n3") == []
    assert hit("n3", up=("n1", "n3")) == ["two", "one", "uno"]
    assert hit("n1", "n2") == ["four", "two", "one", "uno"]


def test_a_job_that_never_gets_further_does_not_go_on_for_ever(make_job: Maker) -> None:
    works = {"n1": [CHECKPOINT_SECONDS / 2] * 500}
    outcomes = played([make_job(iterations=1000, sizes=(1,))], "edf", works, nodes=1)
    assert outcomes.jobs[0].finished is None
    assert outcomes.node_failures == 102


def request(policy: str, failures: str) -> Request:
    trace = generate(Recipe(40, 120.0, seed=2, best_effort=0.2), analytic_tables(4))
    option = parse_failures(failures)
    overhead = parse_overhead("constant:10")
    return Request(trace, uniform(4, 4), policy, overhead, check=True, failures=option)


def numbers(result: Result) -> dict[str, object]:
    given = {name: getattr(result.metrics, name) for name in result.metrics.__slots__}
    return {name: value for name, value in given.items() if name not in {*TIMINGS, "failures"}}


def test_the_same_seed_gives_the_same_result() -> None:
    first = simulate(request("elasticflow", "6h:1h:5"))
    assert first.metrics.node_failures > 0
    assert numbers(first) == numbers(simulate(request("elasticflow", "6h:1h:5")))
    assert numbers(first) != numbers(simulate(request("elasticflow", "6h:1h:6")))


@pytest.mark.parametrize("policy", ["elasticflow", "edf", "slurm"])
def test_nodes_that_hardly_ever_fail_change_nothing(policy: str) -> None:
    never = simulate(request(policy, "none"))
    hardly = simulate(request(policy, "2000000-00:00:00"))
    assert numbers(hardly) == numbers(never)


def elastic(
    name: str, submitted: float, iterations: float, requested: int, deadline: float | None
) -> TraceJob:
    curve = ThroughputCurve.of({1: 1.0, 2: 2.0, 4: 3.5, 8: 5.0})
    seconds = iterations / dict(curve.points)[requested]
    return TraceJob(name, submitted, iterations, "m", 8, curve, deadline, requested, seconds)


@pytest.mark.parametrize("policy", POLICIES)
@given(
    jobs=st.lists(
        st.builds(
            lambda at, size, iterations, slack: (at, size, iterations, slack),
            st.integers(0, 3000),
            st.sampled_from([1, 2, 4, 8]),
            st.integers(50, 20000),
            st.one_of(st.none(), st.integers(100, 9000)),
        ),
        min_size=1,
        max_size=8,
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_no_policy_breaks_a_rule_when_nodes_fail(
    policy: str, jobs: list[tuple[int, int, int, int | None]], seed: int
) -> None:
    specs = [
        elastic(f"j{number}", at, iterations, size, None if slack is None else at + slack)
        for number, (at, size, iterations, slack) in enumerate(jobs)
    ]
    setup = ClusterSetup(uniform(2, 4), Overhead.constant(10))
    failures = FailuresOption("x", mtbf=7200.0, repair=900.0, seed=seed).failures(2, 0.0)
    engine = Engine(
        make_trace("t", specs), setup, make_policy(policy, setup), check=True, failures=failures
    )
    outcomes = engine.simulate()
    assert all(job.finished is not None for job in outcomes.jobs if job.admitted)
