"""Reports say what the metrics say, and need nothing but themselves."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ef_slurm.charts import library
from ef_slurm.model import OVERHEAD_KINDS
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.metrics import gpu_seconds
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.report.html import compare_page, run_page
from ef_slurm.simulator.report.series import (
    OUTCOME_LABELS,
    JobOutcome,
    Rectangle,
    Window,
    allocation,
    coarsened,
    outcome_of,
    outcomes_over_time,
    time_line,
    window,
)
from ef_slurm.simulator.report.table import HEADINGS, cells, grid, sheet
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.trace import TraceJob, make_trace

NODES, WIDTH = 4, 4


@pytest.mark.parametrize("policy", ["elasticflow", "tiresias"])
def test_rectangles_are_disjoint_and_hold_all_gpu_hours(
    results: dict[str, Result], policy: str
) -> None:
    result = results[policy]
    rectangles = allocation(result.jobs, uniform(NODES, WIDTH))
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
    request = Request(make_trace("t", jobs), uniform(1, 4), "tiresias", parse_overhead("zero"))
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


@pytest.fixture(autouse=True)
def no_javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own is long, and a browser's to run."""
    monkeypatch.setattr(library, "javascript", lambda: "window.vegaEmbed = null;")


def charts(page: str) -> list[Any]:
    """What is drawn, in order."""
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', page)
    return [json.loads(block) for block in blocks]


def rows_of(chart: Any) -> list[Any]:
    """The values of all its layers."""
    return [row for layer in chart["layer"] for row in layer["data"]["values"]]


def test_pages_are_self_contained(results: dict[str, Result]) -> None:
    pages = (run_page(results["elasticflow"]), compare_page(list(results.values())))
    for page, count in zip(pages, (3, 4), strict=True):
        assert "http:" not in page
        assert "https:" not in page
        assert "src=" not in page
        assert "<link" not in page
        assert "default-src 'none'" in page
        assert len(charts(page)) == count


def test_the_page_of_a_run_has_its_numbers(results: dict[str, Result]) -> None:
    numbers = results["elasticflow"].metrics
    page = run_page(results["elasticflow"])
    found = re.findall(r'<li class="tile[^"]*"><b>(.*?)</b> <span>(.*?)</span>', page)
    tiles = {label: value for value, label in found}
    assert numbers.ratio is not None
    met = f"deadlines met ({numbers.met} of {numbers.deadline_jobs})"
    assert tiles[met] == f"{numbers.ratio:.1%}"
    assert tiles["jobs admitted of 60"] == str(numbers.admitted)
    assert tiles["broken promises"] == str(numbers.broken_promises) == "0"
    assert tiles["reshapes per job"] == f"{numbers.reshapes_per_job:.1f}"
    assert tiles["GPU-hours"] == f"{numbers.gpu_hours:,.0f}"
    assert re.findall(r"<td[^>]*>(.*?)</td>", page) == list(cells(numbers))
    assert re.findall(r"<th [^>]*>(.*?)</th>", page) == list(HEADINGS)
    assert "tile alarm" not in page


def test_a_broken_promise_is_an_alarm(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    broken = replace(result, metrics=replace(result.metrics, broken_promises=2))
    assert '<li class="tile alarm"><b>2</b> <span>broken promises</span>' in run_page(broken)


def test_the_stacked_bars_hold_every_job_once(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    _, bars, _ = charts(run_page(result))
    drawn: Counter[str] = Counter()
    for row in rows_of(bars):
        if "tip" in row:
            assert row["tip"] == f"{row['y2'] - row['y']:g} {row['name']}"
            drawn[row["name"]] += row["y2"] - row["y"]
    assert drawn == Counter(OUTCOME_LABELS[outcome_of(job)] for job in result.jobs)
    assert set(bars["encoding"]["color"]["scale"]["domain"]) == set(drawn)
    assert bars["layer"][0]["encoding"]["x"]["title"] == "days since the first submission"


def test_the_allocation_has_every_rectangle(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    gantt, *_ = charts(run_page(result))
    shown = window(result.jobs)
    (items,) = gantt["datasets"].values()
    names = {item["i"]: item for item in items}
    bars = gantt["layer"][1]["data"]["values"]
    held = sum((bar["e"] - bar["s"]) * (bar["y2"] - bar["y"]) for bar in bars) * 86400.0
    expected = sum(
        (min(r.end, shown.end) - r.start) * r.height
        for r in allocation(result.jobs, result.groups)
        if r.start < shown.end
    )
    assert held == pytest.approx(expected, rel=1e-3)
    assert gantt["encoding"]["y"]["scale"]["domain"] == [0, NODES * WIDTH]
    by_id = {job.spec.id: job for job in result.jobs}
    assert {names[bar["i"]]["name"] for bar in bars} <= by_id.keys()
    for item in items:
        job = by_id[item["name"]]
        assert item["group"] == OUTCOME_LABELS[outcome_of(job)]
        assert f"{job.reshapes} reshapes" in item["tip"]
    ran = {OUTCOME_LABELS[outcome_of(job)] for job in result.jobs if job.held_shares}
    assert set(gantt["encoding"]["color"]["scale"]["domain"]) == ran


def test_the_page_of_a_comparison_has_a_bar_and_a_line_per_policy(
    results: dict[str, Result],
) -> None:
    page = compare_page(list(results.values()))
    bars, *_, efficiency = charts(page)
    ratios = {name: result.metrics.ratio for name, result in results.items()}
    assert {row["name"]: row["v"] for row in bars["data"]["values"]} == ratios
    assert efficiency["encoding"]["color"]["scale"]["domain"] == list(results)
    for name, result in results.items():
        line = time_line(result.jobs, NODES * WIDTH, window(results["elasticflow"].jobs))
        points = [row["y"] for row in rows_of(efficiency) if row.get("name") == name]
        assert points[:-1] == pytest.approx(line.efficiency.tolist(), abs=1e-4)
    rows = re.findall(r"<tr>(<td.*?)</tr>", page)
    assert [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows] == [
        list(cells(result.metrics)) for result in results.values()
    ]


def test_text_from_the_trace_cannot_break_out_of_the_page(
    make_job: Callable[..., TraceJob],
) -> None:
    evil = "</script><b>x"
    request = Request(
        make_trace(evil, [make_job(evil)]), uniform(1, 4), "elasticflow", parse_overhead("zero")
    )
    page = run_page(simulate(request))
    assert evil not in page
    assert "\\u003c/script>" in page


def test_a_trace_in_which_nothing_runs(make_job: Callable[..., TraceJob]) -> None:
    jobs = [make_job("a", iterations=1e6, deadline=10.0)]
    request = Request(make_trace("t", jobs), uniform(1, 4), "elasticflow", parse_overhead("zero"))
    result = simulate(request)
    assert result.metrics.admitted == 0
    assert "0.0%" in run_page(result)
    assert "0 of 1" in run_page(result)
    assert "0.000  of 1 deadline jobs" in sheet(result.metrics)


def test_tables_line_up(results: dict[str, Result]) -> None:
    rows = [cells(result.metrics) for result in results.values()]
    heading, *lines = grid(HEADINGS, rows).splitlines()
    assert len(lines) == 2
    assert {len(line) for line in lines} == {len(heading)}
    ends = [heading.index(word) + len(word) for word in HEADINGS]
    for line, row in zip(lines, rows, strict=True):
        assert re.split(r"  +", line) == list(row)
        assert line.startswith(row[0])
        for end, cell in list(zip(ends, row, strict=True))[1:]:
            assert line[:end].endswith(cell)


def test_a_sheet_has_every_number(results: dict[str, Result]) -> None:
    numbers = results["elasticflow"].metrics
    sheet_of = dict(re.split(r"  +", line, maxsplit=1) for line in sheet(numbers).splitlines())
    assert sheet_of["trace"] == "generated-2"
    assert sheet_of["cluster"] == "4 nodes of 4 GPUs"
    assert sheet_of["in time"] == str(numbers.met)
    assert sheet_of["ratio"] == f"{numbers.ratio:.3f}  of {numbers.deadline_jobs} deadline jobs"
    assert sheet_of["broken promises"] == "0"
    assert sheet_of["migrations"] == str(numbers.migrations)
    kinds = (numbers.resumes, numbers.grows, numbers.shrinks, numbers.migrations, numbers.restarts)
    assert sheet_of["changes by kind"] == (
        "{} starts; {} resumes, {} grows, {} shrinks, {} moves, {} restarts".format(
            numbers.starts, *kinds
        )
    )
    assert sum(kinds) == numbers.reshapes
    lost = numbers.overhead_gpu_hours
    assert sheet_of["lost to changes"].startswith(f"{lost:,.1f} GPU-hours")
    assert 0 < lost < numbers.gpu_hours
    by_kind = (getattr(numbers, f"{kind}_gpu_hours") for kind in OVERHEAD_KINDS)
    assert sum(by_kind) == pytest.approx(lost)
    promising_nothing = sheet(results["tiresias"].metrics)
    assert re.search(r"^broken promises +none given$", promising_nothing, re.M)
