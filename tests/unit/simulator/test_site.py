"""A site's history replayed."""

from __future__ import annotations

import pytest

from ef_slurm.model import IfInfeasible
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.history.records import History, SiteJob
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.report.site_page import site_page
from ef_slurm.simulator.simulate import simulate
from ef_slurm.simulator.site import (
    SiteQuestion,
    answer_site,
    parse_scaling,
    recorded,
    site_trace,
)


def job(name: str, submitted: float, started: float, ended: float, gpus: int) -> SiteJob:
    return SiteJob(name, submitted, started, ended, gpus, None)


HISTORY = [
    job("a", 0, 0, 1000, 4),
    job("b", 0, 1000, 2000, 4),
    job("c", 100, 2000, 2500, 3),
    job("d", 100, 2000, 2100, 1),
]


def question(if_infeasible: IfInfeasible, jobs: list[SiteJob] = HISTORY) -> SiteQuestion:
    return SiteQuestion(
        History(tuple(jobs), {"job steps": 5}),
        1,
        4,
        (1.5, 3.0),
        parse_scaling("linear", 8),
        parse_overhead("zero"),
        if_infeasible,
    )


def test_scalings() -> None:
    assert parse_scaling("linear", 1).speedup(8) == 8
    assert parse_scaling("amdahl:0.1", 1).speedup(8) == pytest.approx(1 / (0.1 + 0.9 / 8))
    assert parse_scaling("power:0.5", 1).speedup(16) == 4
    for text in ("", "linear:1", "amdahl", "amdahl:2", "power:0", "gut feeling"):
        with pytest.raises(SimulatorError, match="linear, amdahl:SERIAL_FRACTION"):
            parse_scaling(text, 1)


def test_a_job_takes_as_long_as_it_took_at_its_own_size() -> None:
    trace = site_trace(HISTORY, 2.0, parse_scaling("amdahl:0.05", 2), 16)
    by_name = {one.id: one for one in trace.jobs}
    first = by_name["a"]
    assert dict(first.curve.points)[4] == pytest.approx(1.0)
    assert [gpus for gpus, _ in first.curve.points] == [1, 2, 4, 8]
    assert (first.iterations, first.deadline, first.duration) == (1000, 2000, 1000)
    third = by_name["c"]
    assert [gpus for gpus, _ in third.curve.points] == [1, 2, 4]
    rates = dict(third.curve.points)
    assert rates[2] < 1 < rates[4]


def test_the_recorded_history_is_judged_by_the_same_deadlines() -> None:
    past = recorded(HISTORY, 1.5)
    assert (past.jobs, past.met) == (4, 1)
    assert past.gpu_hours == pytest.approx((4000 + 4000 + 1500 + 100) / 3600)
    assert past.gpu_hours_late == pytest.approx((4000 + 1500 + 100) / 3600)
    assert recorded(HISTORY, 21.0).met == 4


def test_answers_per_factor_and_scheduler() -> None:
    answer = answer_site(
        question(IfInfeasible.BEST_EFFORT), lambda requests: [simulate(r) for r in requests]
    )
    assert [(row.deadline_factor, row.source) for row in answer.rows] == [
        (factor, source)
        for factor in (1.5, 3.0)
        for source in ("recorded", "elasticflow", "edf", "slurm")
    ]
    found = {(row.deadline_factor, row.source): row for row in answer.rows}
    ours, plain = found[3.0, "elasticflow"], found[3.0, "slurm"]
    assert (ours.met, plain.met) == (4, 2)
    assert ours.broken_promises == 0
    assert plain.gpu_hours_saved == 0
    # With perfect scaling and all jobs run, the same work takes the same GPU-hours.
    assert ours.gpu_hours == pytest.approx(plain.gpu_hours)
    text = answer.text()
    assert "left out: 5 job steps" in text
    assert "assumed: speed-up linear" in text
    assert "ef-slurm meets" in text
    content = answer.as_json()
    assert content["jobs"] == 4


def test_jobs_larger_than_the_cluster_are_left_out_and_counted() -> None:
    asked = question(IfInfeasible.WAIT, [*HISTORY, job("big", 0, 5, 10, 8)])
    answer = answer_site(asked, lambda requests: [simulate(r) for r in requests])
    assert answer.as_json()["left_out"] == {"job steps": 5, "larger than 4 GPUs": 1}


def test_nothing_fits() -> None:
    asked = question(IfInfeasible.WAIT, [job("big", 0, 5, 10, 8)])
    with pytest.raises(SimulatorError, match="no job of the history fits a cluster of 4 GPUs"):
        answer_site(asked, lambda requests: [simulate(r) for r in requests])


def test_a_page_says_all_that_the_terminal_says() -> None:
    answer = answer_site(
        question(IfInfeasible.BEST_EFFORT), lambda requests: [simulate(r) for r in requests]
    )
    page = site_page(answer)
    assert page.count('class="chart"') == 3 + 3  # two factors, efficiency; allocations
    for text in (answer.headline(), *answer.verdict(), "as recorded", "rows left out: job steps"):
        assert text in page
    assert "src=" not in page.partition("<script>")[0]
    for row in answer.cells():
        first, *others = row
        cells = "".join(f'<td class="n">{cell}</td>' for cell in others)
        assert f"<td>{first}</td>{cells}" in page
