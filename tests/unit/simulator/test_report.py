"""Reports say what the metrics say, and need nothing but themselves."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.metrics import gpu_seconds
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.report.html import compare_page, run_page
from ef_slurm.simulator.report.png import (
    check_figure_file,
    write_compare_figure,
    write_run_figure,
)
from ef_slurm.simulator.report.series import (
    JobOutcome,
    Rectangle,
    Window,
    allocation,
    coarsened,
    outcome_of,
    outcomes_over_time,
    ticks,
    time_line,
    window,
)
from ef_slurm.simulator.report.table import HEADINGS, cells, grid, sheet
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.trace import TraceJob, make_trace

NODES, WIDTH = 4, 4


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    trace = generate(Recipe(60, 120.0, seed=2, best_effort=0.2), analytic_tables())
    overhead = parse_overhead("constant:10")
    return {
        policy: simulate(Request(trace, NODES, WIDTH, policy, overhead))
        for policy in ("elasticflow", "tiresias")
    }


@pytest.mark.parametrize("policy", ["elasticflow", "tiresias"])
def test_rectangles_are_disjoint_and_hold_all_gpu_hours(
    results: dict[str, Result], policy: str
) -> None:
    result = results[policy]
    rectangles = allocation(result.jobs, WIDTH, NODES * WIDTH)
    area = sum((r.end - r.start) * r.height for r in rectangles)
    assert area == pytest.approx(sum(map(gpu_seconds, result.jobs)))
    assert area / 3600 == pytest.approx(result.metrics.gpu_hours)
    by_row: dict[int, list[tuple[float, float]]] = {}
    for r in rectangles:
        assert r.row >= 0
        assert r.row + r.height <= NODES * WIDTH
        for row in range(r.row, r.row + r.height):
            by_row.setdefault(row, []).append((r.start, r.end))
    for spans in by_row.values():
        spans.sort()
        assert all(end <= start + 1e-6 for (_, end), (start, _) in pairwise(spans))


def test_the_time_line_averages_to_the_mean_efficiency(results: dict[str, Result]) -> None:
    done, numbers = results["elasticflow"].jobs, results["elasticflow"].metrics
    start = min(job.spec.submitted for job in done)
    whole = Window(start, start + numbers.makespan_seconds)
    line = time_line(done, NODES * WIDTH, whole)
    assert line.efficiency.mean() == pytest.approx(numbers.efficiency)
    hours = line.in_use.mean() * NODES * WIDTH * whole.seconds / 3600
    assert hours == pytest.approx(numbers.gpu_hours)
    assert line.in_use.max() <= 1 + 1e-9


def test_every_job_has_one_outcome(results: dict[str, Result]) -> None:
    for result in results.values():
        bins = outcomes_over_time(result.jobs, window(result.jobs))
        counts = {one: sum(bins.counts[one]) for one in JobOutcome}
        assert sum(counts.values()) == result.metrics.jobs
        assert counts[JobOutcome.MET] == result.metrics.met
        assert counts[JobOutcome.BEST_EFFORT] == result.metrics.best_effort_jobs
        assert counts[JobOutcome.BROKEN] == (result.metrics.broken_promises or 0)
    outcomes = {outcome_of(job) for job in results["tiresias"].jobs}
    assert JobOutcome.TURNED_AWAY not in outcomes


def test_the_window_leaves_out_a_long_tail(make_job: Callable[..., TraceJob]) -> None:
    jobs = [make_job(str(n), submitted=100.0 * n, iterations=50) for n in range(99)]
    jobs.append(make_job("long", submitted=9000, iterations=1e6, deadline=2e6))
    request = Request(make_trace("t", jobs), 1, 4, "tiresias", parse_overhead("zero"))
    shown = window(simulate(request).jobs)
    assert shown.start == 0
    assert 9850 < shown.end < 11_000


def test_coarse_pictures_keep_the_picture() -> None:
    slices = [Rectangle(n % 3, 10.0 * n, 10.0 * n + 10, 0, 4) for n in range(10_000)]
    coarse, width = coarsened(slices, 1500)
    assert len(coarse) <= 1500
    assert width > 0
    assert sum(r.end - r.start for r in coarse) == pytest.approx(100_000, rel=0.01)
    assert coarsened(slices[:5], 1500) == (slices[:5], 0.0)


def test_ticks_are_few_and_round() -> None:
    for length in (0.3, 1, 2.04, 7.3, 59, 86_400):
        marks = ticks(length)
        assert marks[0] == 0
        assert marks[-1] <= length * (1 + 1e-9)
        assert 3 <= len(marks) <= 10


def test_pages_are_self_contained(results: dict[str, Result]) -> None:
    for page in (run_page(results["elasticflow"]), compare_page(list(results.values()))):
        assert "http" not in page
        assert "src=" not in page
        assert "<link" not in page
        for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
            ET.fromstring(chart)
        for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page):
            json.loads(data)
        assert page.count("<canvas") == page.count('class="gantt"')


def test_text_from_the_trace_cannot_break_out_of_the_page(
    make_job: Callable[..., TraceJob],
) -> None:
    evil = "</script><b>x"
    request = Request(
        make_trace(evil, [make_job(evil)]), 1, 4, "elasticflow", parse_overhead("zero")
    )
    page = run_page(simulate(request))
    assert evil not in page
    assert "\\u003c/script>" in page


def test_a_trace_in_which_nothing_runs(make_job: Callable[..., TraceJob]) -> None:
    jobs = [make_job("a", iterations=1e6, deadline=10.0)]
    request = Request(make_trace("t", jobs), 1, 4, "elasticflow", parse_overhead("zero"))
    result = simulate(request)
    assert result.metrics.admitted == 0
    assert "0.0%" in run_page(result)
    assert "0 of 1" in run_page(result)
    assert "0.000  of 1 deadline jobs" in sheet(result.metrics)


def test_tables_line_up(results: dict[str, Result]) -> None:
    text = grid(HEADINGS, [cells(result.metrics) for result in results.values()])
    lines = text.splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1


def test_figures(results: dict[str, Result], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        check_figure_file(tmp_path / name)
        write_run_figure(results["elasticflow"], tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
        write_compare_figure(list(results.values()), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_figures_of_unknown_kind_are_refused_early() -> None:
    with pytest.raises(SimulatorError, match=r"'a\.gif'.*\.png, \.svg, \.pdf"):
        check_figure_file(Path("a.gif"))
