"""Reports say what the metrics say, and need nothing but themselves."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

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
    ticks,
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
        assert len(svgs(page)) == 2
        assert page.count("<canvas") == page.count('class="gantt"')


def svgs(page: str) -> list[ET.Element]:
    return [ET.fromstring(chart) for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def texts(chart: ET.Element) -> list[str]:
    return [text.text or "" for text in chart.iter("text")]


def page_json(page: str, key: str) -> Any:
    (data,) = re.findall(rf'<script type="application/json" id="{key}">(.*?)</script>', page)
    return json.loads(data)


def legends(page: str) -> list[list[tuple[str, str]]]:
    return [
        re.findall(r'<li><i style="background:(#\w+)"></i>(.*?)</li>', one)
        for one in re.findall(r'<ul class="legend">(.*?)</ul>', page, re.DOTALL)
    ]


def test_the_page_of_a_run_has_its_numbers(results: dict[str, Result]) -> None:
    numbers = results["elasticflow"].metrics
    page = run_page(results["elasticflow"])
    found = re.findall(r'<div class="tile[^"]*"><b>(.*?)</b><span>(.*?)</span>', page)
    tiles = {label: value for value, label in found}
    assert numbers.ratio is not None
    met = f"deadlines met ({numbers.met} of {numbers.deadline_jobs})"
    assert tiles[met] == f"{numbers.ratio:.1%}"
    assert tiles["jobs admitted of 60"] == str(numbers.admitted)
    assert tiles["broken promises"] == str(numbers.broken_promises) == "0"
    assert tiles["reshapes per job"] == f"{numbers.reshapes_per_job:.1f}"
    assert tiles["GPU-hours"] == f"{numbers.gpu_hours:,.0f}"
    assert re.findall(r"<td>(.*?)</td>", page) == list(cells(numbers))
    assert re.findall(r"<th>(.*?)</th>", page) == list(HEADINGS)
    assert "tile alarm" not in page


def test_a_broken_promise_is_an_alarm(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    broken = replace(result, metrics=replace(result.metrics, broken_promises=2))
    assert '<div class="tile alarm"><b>2</b><span>broken promises</span>' in run_page(broken)


def test_the_stacked_bars_hold_every_job_once(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    page = run_page(result)
    bars, _ = svgs(page)
    drawn: Counter[str] = Counter()
    for rect in bars.iter("rect"):
        count, label = (rect.findtext("title") or "").split(" ", 1)
        drawn[label] += int(count)
    assert drawn == Counter(OUTCOME_LABELS[outcome_of(job)] for job in result.jobs)
    heights = {
        round(float(rect.get("height") or 0) / int((rect.findtext("title") or "").split()[0]), 0)
        for rect in bars.iter("rect")
    }
    assert len(heights) == 1, "a job is everywhere as high"
    assert "days since the first submission" in texts(bars)
    _, legend, _ = legends(page)
    assert {label for _, label in legend} == set(drawn)
    assert {rect.get("fill") for rect in bars.iter("rect")} == {colour for colour, _ in legend}


def test_the_gantt_chart_gets_every_rectangle(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    page = run_page(result)
    shared, chart = page_json(page, "page-data"), page_json(page, "gantt0-data")
    assert shared["gpus"] == NODES * WIDTH
    assert [job[0] for job in shared["jobs"]] == [job.spec.id for job in result.jobs]
    assert [shared["outcomes"][job[0]] for job in chart["jobs"]] == [
        OUTCOME_LABELS[outcome_of(job)] for job in result.jobs
    ]
    assert [job[2] for job in chart["jobs"]] == [job.reshapes for job in result.jobs]
    seconds = sum((end - start) * height for _, start, end, _, height in chart["rectangles"])
    assert seconds / 3600 == pytest.approx(result.metrics.gpu_hours, rel=1e-3)
    ran = {OUTCOME_LABELS[outcome_of(job)] for job in result.jobs if job.held_shares}
    assert {label for _, label in legends(page)[0]} == ran


def test_the_page_of_a_comparison_has_a_bar_and_a_line_per_policy(
    results: dict[str, Result],
) -> None:
    page = compare_page(list(results.values()))
    bars, efficiency = svgs(page)
    ratios = [result.metrics.ratio or 0.0 for result in results.values()]
    heights = [float(rect.get("height") or 0) for rect in bars.iter("rect")]
    assert heights[0] / heights[1] == pytest.approx(ratios[0] / ratios[1], rel=0.01)
    assert {f"{ratio:.1%}" for ratio in ratios} | set(results) <= set(texts(bars))
    assert {"0%", "25%", "50%", "75%", "100%", "deadlines met"} <= set(texts(bars))
    lines = [path for path in efficiency.iter("path") if path.get("stroke")]
    assert [line.findtext("title") for line in lines] == list(results)
    assert [(line.get("stroke"), line.findtext("title")) for line in lines] == legends(page)[-1]
    rows = re.findall(r"<tr>(<td>.*?)</tr>", page)
    assert [re.findall(r"<td>(.*?)</td>", row) for row in rows] == [
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
