"""What a scheduler knows while it schedules, and what a simulation makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from ef_slurm.model import OBSERVE_SECONDS, ThroughputCurve
from ef_slurm.profiling.measuring import MAX_SECONDS, Need
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.knowledge import (
    CurvesOption,
    LearnedCurves,
    WrongCurves,
    parse_curves,
)
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.trace import TraceJob, make_trace

EASY = Need(seconds_left=1e6, iterations_left=100.0)
MakeJob = Callable[..., TraceJob]


@pytest.fixture
def job(make_job: MakeJob) -> TraceJob:
    """Scales perfectly to 16 GPUs: as many iterations/s as GPUs."""
    return make_job(sizes=(1, 2, 4, 8, 16))


class TestLearnedCurves:
    def test_a_node_and_a_gpu_are_measured_before_anything_is_believed(self, job: TraceJob) -> None:
        known = LearnedCurves(gpus_per_node=4, gpus=16)
        asked = []
        while (measurement := known.measurement(job, EASY)) is not None:
            assert known.belief(job, EASY) is None
            asked.append(measurement.gpus)
            known.learn(job, measurement.gpus, float(measurement.gpus))
        assert asked == [4, 1]
        belief = known.belief(job, EASY)
        assert belief is not None
        assert dict(belief.promised.points)[4] == 4.0

    def test_one_job_of_a_key_is_measured_and_the_next_one_knows(self, job: TraceJob) -> None:
        known = LearnedCurves(gpus_per_node=4, gpus=16)
        other = replace(job, id="other")
        assert known.measurement(job, EASY) is not None
        assert known.measurement(other, EASY) is None
        known.learn(job, 1, 1.0)
        known.learn(job, 4, 4.0)
        assert known.belief(other, EASY) is not None

    def test_when_the_measured_job_leaves_another_takes_over(self, job: TraceJob) -> None:
        known = LearnedCurves(gpus_per_node=4, gpus=16)
        assert known.measurement(job, EASY) is not None
        known.leave(job)
        assert known.measurement(replace(job, id="other"), EASY) is not None

    def test_time_is_up_after_three_minutes(self, job: TraceJob) -> None:
        known = LearnedCurves(gpus_per_node=4, gpus=16)
        known.learn(job, 1, 1.0)
        assert known.belief(job, replace(EASY, trained_seconds=MAX_SECONDS - 1)) is None
        belief = known.belief(job, replace(EASY, trained_seconds=MAX_SECONDS))
        assert belief is not None
        # One point says nothing about any other size.
        assert belief.promised.points == belief.expected.points == ((1, 1.0),)

    def test_a_size_across_nodes_is_measured_where_the_deadline_asks_for_it(
        self, job: TraceJob
    ) -> None:
        known = LearnedCurves(gpus_per_node=4, gpus=16)
        known.learn(job, 1, 1.0)
        known.learn(job, 4, 4.0)
        tight = Need(seconds_left=100.0, iterations_left=900.0)
        measurement = known.measurement(job, tight)
        assert measurement is not None
        assert measurement.gpus == 16
        known.learn(job, 16, 14.0)
        assert known.belief(job, tight) is not None

    def test_measuring_is_bounded_in_gpu_seconds(self, job: TraceJob) -> None:
        known = LearnedCurves(gpus_per_node=4, gpus=16)
        known.learn(job, 1, 1.0)
        known.learn(job, 4, 4.0)
        spent = MAX_SECONDS * 4 - 16 * OBSERVE_SECONDS + 1
        tight = Need(seconds_left=100.0, iterations_left=900.0, gpu_seconds=spent)
        assert known.belief(job, tight) is not None


class TestWrongCurves:
    def test_every_told_curve_is_off_by_its_own_factor(self, make_job: MakeJob) -> None:
        known = WrongCurves(0.3, seed=1)
        factors = set()
        for number in range(50):
            job = make_job(name=f"job{number}")
            stated = known.belief(job, EASY).expected
            ratios = {told_rate / rate for (_, told_rate), (_, rate) in pairs(stated, job.curve)}
            assert len({round(ratio, 9) for ratio in ratios}) == 1
            factors.add(ratios.pop())
        assert 0.7 <= min(factors) < 0.8
        assert 1.2 < max(factors) <= 1.3

    def test_the_seed_and_the_job_decide(self, job: TraceJob) -> None:
        first, again = WrongCurves(0.3, seed=1), WrongCurves(0.3, seed=1)
        assert first.belief(job, EASY) == again.belief(job, EASY)
        assert first.belief(job, EASY) != WrongCurves(0.3, seed=2).belief(job, EASY)

    def test_what_was_measured_is_the_truth_and_a_promise_never_counts_on_more(
        self, job: TraceJob
    ) -> None:
        known = WrongCurves(0.5, seed=3)
        stated = dict(known.belief(job, EASY).expected.points)
        known.learn(job, 4, 0.5 * stated[4])
        belief = known.belief(job, EASY)
        assert dict(belief.promised.points)[4] == 0.5 * stated[4]
        assert dict(belief.promised.points)[8] == pytest.approx(0.5 * stated[8])
        known.learn(job, 8, 2.0 * stated[8])
        assert dict(known.belief(job, EASY).promised.points)[16] == stated[16]
        assert dict(known.belief(job, EASY).expected.points)[16] == 2.0 * stated[16]

    def test_how_far_others_were_off_is_a_margin_for_whoever_comes(self, make_job: MakeJob) -> None:
        known = WrongCurves(0.3, seed=1)
        for number in range(30):
            job = make_job(name=f"job{number}")
            known.learn(job, 1, 1.0)
        newcomer = known.belief(make_job(name="newcomer"), EASY)
        (_, promised), (_, expected) = newcomer.promised.points[0], newcomer.expected.points[0]
        assert 1.1 < expected / promised <= 1.3


def pairs(
    one: ThroughputCurve, other: ThroughputCurve
) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    return list(zip(one.points, other.points, strict=True))


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("known", CurvesOption("known")),
        ("learned", CurvesOption("learned")),
        ("off:0.3", CurvesOption("off:0.3", 0.3, 0)),
        ("off:0:5", CurvesOption("off:0:5", 0.0, 5)),
    ],
)
def test_curves_are_parsed(text: str, option: CurvesOption) -> None:
    assert parse_curves(text) == option


@pytest.mark.parametrize(
    "text",
    [
        *("", "Known", "learned:1", "off", "off:", "off:1", "off:-0.1", "off:nan"),
        *("off:0.3:x", "off:0.3:-1", "off:0.3:1:2", "off:0.3:٣", "off:0_0.3", "off:0.3:1_0"),
    ],
)
def test_other_curves_are_refused(text: str) -> None:
    with pytest.raises(SimulatorError, match=r"known, learned or off:SPREAD"):
        parse_curves(text)


def simulated(jobs: list[TraceJob], curves: str) -> Result:
    request = Request(
        make_trace("t", jobs),
        uniform(4, 4),
        policy="elasticflow",
        overhead=parse_overhead("constant:10"),
        check=True,
        curves=parse_curves(curves),
    )
    return simulate(request)


def test_the_first_job_pays_for_being_measured_and_the_second_does_not(make_job: MakeJob) -> None:
    first = make_job(name="a", iterations=2000.0, deadline=3000.0)
    second = make_job(name="b", submitted=200.0, iterations=2000.0, deadline=3200.0)
    result = simulated([first, second], "learned")
    a, b = result.jobs
    assert result.metrics.ratio == 1.0
    # 10 s to start and 30 s of training, on a node and then on one GPU
    assert a.measured_gpu_seconds == pytest.approx(4 * 40.0 + 40.0)
    assert a.promised_at == pytest.approx(80.0)
    assert b.measured_gpu_seconds == 0.0
    assert b.promised_at == 200.0
    assert result.metrics.measured_gpu_hours == pytest.approx(200.0 / 3600)


def test_measuring_takes_what_others_hold_beyond_their_promises_only(make_job: MakeJob) -> None:
    grown = make_job(name="a", iterations=20000.0, deadline=9000.0, sizes=(1, 2, 4, 8, 16))
    unknown = make_job(name="b", submitted=500.0, iterations=100.0, deadline=9000.0)
    result = simulated([grown, replace(unknown, model="other")], "learned")
    assert [job.finished is not None and job.finished <= 9000.0 for job in result.jobs] == [
        True,
        True,
    ]
    assert result.metrics.broken_promises == 0


def test_a_curve_that_is_too_fast_is_warned_of_before_the_promise_is_broken(
    make_job: MakeJob,
) -> None:
    # Nobody was ever wrong before, so nobody has a margin; the cluster is full, so nothing helps.
    jobs = [
        make_job(name=f"job{number}", iterations=5000.0, deadline=1000.0, sizes=(1, 2, 4))
        for number in range(4)
    ]
    result = simulated(jobs, "off:0.5:2")
    broken = [job for job in result.jobs if job.promised_at is not None and not met(job)]
    assert broken
    assert result.metrics.unwarned_broken_promises == 0
    assert result.metrics.at_risk_warnings is not None
    assert result.metrics.at_risk_warnings >= len(broken)
    lead = result.metrics.warning_lead_seconds
    assert lead is not None
    assert 0 < lead < math.inf


def met(job: object) -> bool:
    finished, deadline = getattr(job, "finished", None), 1000.0
    return finished is not None and finished <= deadline
