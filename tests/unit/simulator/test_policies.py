"""Each baseline does what its definition says, on cases small enough to follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ef_slurm.model import IfInfeasible, Overhead, ThroughputCurve
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.engine import Engine
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.metrics import is_broken, is_met
from ef_slurm.simulator.policies.base import ClusterSetup
from ef_slurm.simulator.policies.gandiva import SLICE_SECONDS
from ef_slurm.simulator.policies.registry import POLICIES, make_policy
from ef_slurm.simulator.policies.themis import fair_shares
from ef_slurm.simulator.simulated_job import SimulatedJob
from ef_slurm.simulator.trace import TraceJob, make_trace

Maker = Callable[..., TraceJob]


def simulate(
    name: str,
    jobs: list[TraceJob],
    nodes: int = 1,
    gpus_per_node: int = 4,
    overhead: Overhead | None = None,
    if_infeasible: IfInfeasible = IfInfeasible.WAIT,
) -> dict[str, SimulatedJob]:
    setup = ClusterSetup(uniform(nodes, gpus_per_node), overhead or Overhead(), if_infeasible)
    engine = Engine(make_trace("test", jobs), setup, make_policy(name, setup), check=True)
    return {job.spec.id: job for job in engine.simulate().jobs}


def test_edf_gives_the_earliest_deadline_all_it_can_take(make_job: Maker) -> None:
    done = simulate("edf", [make_job("late", deadline=900), make_job("soon", deadline=500)])
    assert done["soon"].finished == 25
    assert done["late"].finished == 50


def test_edf_scales_past_the_peak_of_the_curve(make_job: Maker) -> None:
    job = make_job("a", iterations=60, requested=1, duration=30)
    falling = ThroughputCurve.of({1: 2.0, 2: 3.0, 4: 1.0})
    done = simulate("edf", [TraceJob("a", 0, 60, "m", 8, falling, 1000, 1, job.duration)])
    assert done["a"].finished == 60


def test_edf_serves_late_jobs_first_and_best_effort_last(make_job: Maker) -> None:
    jobs = [
        make_job("none", deadline=None),
        make_job("late", iterations=400, deadline=10),
        make_job("fine", deadline=120),
    ]
    done = simulate("edf", jobs)
    assert [done[name].finished for name in ("late", "fine", "none")] == [100, 125, 150]
    assert not is_met(done["fine"])


def test_edf_admission_turns_away_what_would_break_a_promise(make_job: Maker) -> None:
    jobs = [
        make_job("first", iterations=400, deadline=105),
        make_job("second", iterations=100, deadline=100, submitted=1),
        make_job("third", iterations=40, deadline=200, submitted=2),
        make_job("none", iterations=40, deadline=None, submitted=2),
    ]
    done = simulate("edf-admission", jobs)
    assert done["first"].finished == 100
    assert done["second"].finished is None
    assert done["third"].finished == 110
    assert done["none"].finished == 120


def test_tiresias_demotes_by_attained_service(make_job: Maker) -> None:
    jobs = [
        make_job("old", iterations=40_000, requested=4),
        make_job("new", iterations=4 * 500, requested=4, submitted=100),
    ]
    done = simulate("tiresias", jobs)
    # `old` has its first 3,250 GPU-seconds at 812.5 and makes way for `new` until that is done.
    assert done["new"].held_shares[0].start == 812.5
    assert done["new"].finished == 1312.5
    assert done["old"].pauses == 1


def test_tiresias_backfills(make_job: Maker) -> None:
    jobs = [
        make_job("wide", iterations=200, requested=2),
        make_job("whole", iterations=400, requested=4, submitted=1),
        make_job("small", iterations=50, requested=1, submitted=2),
    ]
    done = simulate("tiresias", jobs)
    assert done["small"].held_shares[0].start == 2
    assert done["whole"].held_shares[0].start == 100


def test_gandiva_takes_turns(make_job: Maker) -> None:
    jobs = [make_job(name, iterations=1200, requested=4) for name in "ab"]
    done = simulate("gandiva", jobs)
    lengths = {share.end - share.start for job in done.values() for share in job.held_shares}
    assert lengths == {SLICE_SECONDS}
    assert {job.finished for job in done.values()} == {540, 600}


def test_gandiva_moves_nodes_to_the_class_that_needs_them(make_job: Maker) -> None:
    jobs = [make_job(f"small{n}", iterations=10_000, requested=1) for n in range(5)]
    jobs += [make_job(f"wide{n}", iterations=4_000, requested=4, submitted=1) for n in range(3)]
    done = simulate("gandiva", jobs, nodes=2)
    # Five small jobs opened both nodes; one goes to the wide jobs at the next slice.
    wide = [job.held_shares[0].start for name, job in done.items() if name.startswith("wide")]
    assert min(wide) <= SLICE_SECONDS


def test_themis_shares_by_finish_time(make_job: Maker) -> None:
    jobs = [make_job(name, iterations=4 * 600, requested=4) for name in "ab"]
    done = simulate("themis", jobs)
    finished = [job.finished for job in done.values() if job.finished is not None]
    assert max(finished) == 1200
    assert min(finished) >= 1140


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1.0, 2.0, 4.0, 8.0]),
            st.floats(1, 1e6),
            st.floats(0, 1e6),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None)
def test_fair_shares_fit_and_leave_nobody_behind(jobs: list[tuple[float, float, float]]) -> None:
    sizes, left, age = (np.array(column) for column in zip(*jobs, strict=True))
    gpus = 8
    shares = fair_shares(sizes, left, age, gpus)
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    assert shares @ sizes <= gpus * (1 + 1e-6)
    if shares @ sizes < gpus * (1 - 1e-6):  # something is left over: somebody has all of the time
        assert shares.max() >= 1 - 1e-6


def test_chronus_promises_the_largest_set_that_fits(make_job: Maker) -> None:
    jobs = [
        make_job("whole", iterations=4 * 720, requested=4, deadline=960),
        make_job("half1", iterations=2 * 480, requested=2, deadline=960),
        make_job("half2", iterations=2 * 480, requested=2, deadline=960),
        make_job("hopeless", iterations=4 * 720, requested=4, deadline=700),
        make_job("none", iterations=40, requested=4, deadline=None),
    ]
    done = simulate("chronus", jobs)
    assert is_met(done["half1"])
    assert is_met(done["half2"])
    assert done["whole"].finished is None
    assert done["hopeless"].finished is None
    assert done["none"].finished == 490


def test_slurm_backfills_only_what_does_not_delay_the_first(make_job: Maker) -> None:
    jobs = [
        make_job("running", iterations=300, requested=3, duration=100, sizes=(1, 2, 4)),
        make_job("head", iterations=400, requested=4, submitted=1),
        make_job("short", iterations=90, requested=1, submitted=2),
        make_job("long", iterations=200, requested=1, submitted=2),
    ]
    done = simulate("slurm", jobs)
    assert done["short"].held_shares[0].start == 2
    assert done["head"].held_shares[0].start == 100
    assert done["long"].held_shares[0].start == 200
    assert sum(job.reshapes for job in done.values()) == 0


def test_slurm_believes_the_time_limit(make_job: Maker) -> None:
    jobs = [
        make_job("running", iterations=300, requested=3, duration=100, sizes=(1, 2, 4)),
        make_job("head", iterations=400, requested=4, submitted=1),
        make_job("short", iterations=90, requested=1, submitted=2, time_limit=3600),
    ]
    assert simulate("slurm", jobs)["short"].held_shares[0].start == 200


@pytest.mark.parametrize("policy", ["gandiva", "tiresias", "themis", "chronus", "slurm"])
def test_a_job_larger_than_the_cluster_never_runs(policy: str, make_job: Maker) -> None:
    done = simulate(policy, [make_job("huge", requested=8), make_job("small", submitted=1)])
    assert done["huge"].finished is None
    assert done["small"].finished is not None


def test_an_unknown_policy() -> None:
    with pytest.raises(SimulatorError, match="'lottery' is not known: one of elasticflow"):
        make_policy("lottery", ClusterSetup(uniform(1, 4)))


@st.composite
def traces(draw: st.DrawFn) -> list[TraceJob]:
    jobs = []
    for number in range(draw(st.integers(1, 12))):
        top = draw(st.sampled_from([1, 2, 4, 8]))
        rates = {1: 1.0}
        size = 2
        while size <= top:
            rates[size] = rates[size // 2] * draw(st.floats(0.8, 2.0))
            size *= 2
        requested = draw(st.sampled_from([size for size in rates if size <= 8]))
        submitted = float(draw(st.integers(0, 300)))
        iterations = float(draw(st.integers(1, 2000)))
        duration = iterations / rates[requested]
        slack = draw(st.floats(0.3, 3.0))
        deadline = None if draw(st.booleans()) and slack > 2 else submitted + slack * duration
        curve = ThroughputCurve.of(rates)
        jobs.append(
            TraceJob(
                str(number), submitted, iterations, "m", 8, curve, deadline, requested, duration
            )
        )
    return jobs


@pytest.mark.parametrize("policy", POLICIES)
@given(jobs=traces(), seconds=st.sampled_from([0.0, 5.0, 30.0]))
@settings(deadline=None, max_examples=40)
def test_no_policy_breaks_a_rule(policy: str, jobs: list[TraceJob], seconds: float) -> None:
    done = simulate(policy, jobs, nodes=2, gpus_per_node=4, overhead=Overhead.constant(seconds))
    assert all(job.finished is not None for job in done.values() if job.admitted)
    if policy == "elasticflow" or (policy == "edf-admission" and seconds == 0):
        assert not any(map(is_broken, done.values()))


def test_a_deadline_that_cannot_be_promised_may_run_as_best_effort(make_job: Maker) -> None:
    jobs = [
        make_job("hopeless", iterations=400, deadline=50),
        make_job("promised", iterations=160, deadline=300, submitted=10),
    ]
    for choice, finishes in ((IfInfeasible.BEST_EFFORT, True), (IfInfeasible.REJECT, False)):
        done = simulate("elasticflow", jobs, if_infeasible=choice)
        assert (done["hopeless"].finished is not None) is finishes
        assert done["hopeless"].promised_at is None
        assert is_met(done["promised"])
