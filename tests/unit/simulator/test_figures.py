"""Figures as files show what the data say: bars, rectangles, legends, axes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.report.png import (
    check_figure_file,
    write_compare_figure,
    write_run_figure,
)
from ef_slurm.simulator.report.series import (
    OUTCOME_LABELS,
    JobOutcome,
    allocation,
    outcome_of,
    outcomes_over_time,
    time_line,
    window,
)
from ef_slurm.simulator.report.svg import COLOURS
from ef_slurm.simulator.simulate import Request, Result, simulate
from ef_slurm.simulator.trace import TraceJob, make_trace

NODES, WIDTH = 4, 4
GPUS = NODES * WIDTH
SVG = "{http://www.w3.org/2000/svg}"

Box = tuple[float, float, float, float, str]
"""Left, right, top, bottom (points), and fill colour."""


@pytest.fixture(autouse=True, scope="module")
def matplotlib_is_there() -> None:
    pytest.importorskip("matplotlib")


class Picture:
    """What stands in an SVG file, group by group."""

    def __init__(self, file: Path) -> None:
        self.root = ET.parse(file).getroot()
        self._groups = {group.get("id"): group for group in self.root.iter(f"{SVG}g")}

    def texts(self, group: str = "figure_1") -> list[str]:
        return [text.text or "" for text in self._groups[group].iter(f"{SVG}text")]

    def boxes(self, group: str) -> list[Box]:
        return list(boxes(self._groups[group]))

    def frame(self, axes: str) -> Box:
        """The plotted area of some axes: their first box."""
        return self.boxes(axes)[0]

    def path_of(self, axes: str, colour: str, what: str) -> np.ndarray:
        """The corners of the one path of that colour, (points, 2)."""
        (data,) = [
            path.get("d") or ""
            for path in self._groups[axes].iter(f"{SVG}path")
            if f"{what}: {colour}" in (path.get("style") or "")
            and (path.get("d") or "").count("L") > 9  # not a box
        ]
        return np.array(re.findall(r"([\d.]+) ([\d.]+)", data), dtype=float)


def boxes(group: ET.Element) -> Iterator[Box]:
    for path in group.iter(f"{SVG}path"):
        corners = re.findall(r"([\d.]+) ([\d.]+)", path.get("d") or "")
        fill = re.search(r"fill: (#\w+)", path.get("style") or "")
        if len(corners) == 4 and fill:
            xs, ys = ([float(corner[axis]) for corner in corners] for axis in (0, 1))
            yield min(xs), max(xs), min(ys), max(ys), fill[1]


def area(box: Box) -> float:
    return (box[1] - box[0]) * (box[3] - box[2])


@pytest.fixture(scope="module")
def run_figure(results: dict[str, Result], tmp_path_factory: pytest.TempPathFactory) -> Picture:
    file = tmp_path_factory.mktemp("figures") / "run.svg"
    write_run_figure(results["elasticflow"], file)
    return Picture(file)


@pytest.fixture(scope="module")
def compare_figure(results: dict[str, Result], tmp_path_factory: pytest.TempPathFactory) -> Picture:
    file = tmp_path_factory.mktemp("figures") / "compare.svg"
    write_compare_figure(list(results.values()), file)
    return Picture(file)


def test_a_figure_of_a_run_says_what_it_is_of(
    results: dict[str, Result], run_figure: Picture
) -> None:
    numbers = results["elasticflow"].metrics
    assert numbers.ratio is not None
    texts = run_figure.texts()
    assert (
        f"generated-2, elasticflow: {numbers.ratio:.1%} of deadlines met, "
        f"{numbers.reshapes_per_job:.1f} reshapes per job"
    ) in texts
    assert {"GPU allocation by job", "Deadlines by time of submission", "Efficiency"} < set(texts)
    assert {"GPU", "jobs", "days since the first submission"} < set(texts)


def test_axes_of_a_run(run_figure: Picture) -> None:
    assert run_figure.texts("matplotlib.axis_2") == ["0", "4", "8", "12", "16", "GPU"]
    assert run_figure.texts("matplotlib.axis_6") == ["0 %", "50 %", "100 %"]
    *ticks, unit = run_figure.texts("matplotlib.axis_5")
    assert unit == "days since the first submission"
    assert [float(tick) for tick in ticks] == list(range(len(ticks)))


def test_the_legend_has_every_outcome_that_occurs_and_no_other(
    results: dict[str, Result], run_figure: Picture
) -> None:
    present = {outcome_of(job) for job in results["elasticflow"].jobs}
    assert JobOutcome.TURNED_AWAY in present  # in the chart of deadlines only: nobody saw it run
    wanted = [one for one in JobOutcome if one in present]
    assert run_figure.texts("legend_1") == [OUTCOME_LABELS[one] for one in wanted]
    assert [box[4] for box in run_figure.boxes("legend_1")] == [COLOURS[one] for one in wanted]


def test_rectangles_cover_the_gpu_time_that_was_held(
    results: dict[str, Result], run_figure: Picture
) -> None:
    result = results["elasticflow"]
    shown = window(result.jobs)
    drawn = [r for r in allocation(result.jobs, result.groups) if r.start < shown.end]
    rectangles = run_figure.boxes("PatchCollection_1")
    assert len(rectangles) == len(drawn) > len(result.jobs) / 2
    held = sum((r.end - r.start) * r.height for r in drawn)
    part = sum(map(area, rectangles)) / area(run_figure.frame("axes_1"))
    assert part == pytest.approx(held / (shown.seconds * GPUS), rel=1e-3)


def test_bars_are_as_high_as_there_are_jobs(
    results: dict[str, Result], run_figure: Picture
) -> None:
    result = results["elasticflow"]
    bins = outcomes_over_time(result.jobs, window(result.jobs))
    bars = run_figure.boxes("axes_2")[1:]
    heights = {
        one: sum(box[3] - box[2] for box in bars if box[4] == COLOURS[one]) for one in JobOutcome
    }
    per_job = sum(heights.values()) / len(result.jobs)
    assert per_job > 0
    for one in JobOutcome:
        assert heights[one] / per_job == pytest.approx(sum(bins.counts[one]), abs=1e-3)


def test_bars_stand_on_one_another_and_on_the_axis(run_figure: Picture) -> None:
    frame, *bars = run_figure.boxes("axes_2")
    stacks: dict[float, list[Box]] = {}
    for box in bars:
        if box[3] > box[2]:
            stacks.setdefault(box[0], []).append(box)
    assert max(map(len, stacks.values())) >= 3
    for stack in stacks.values():
        stack.sort(key=lambda box: -box[3])
        assert [box[3] for box in stack] == pytest.approx([frame[3], *(b[2] for b in stack[:-1])])


def test_jobs_of_all_the_time_shown_are_drawn(
    make_job: Callable[..., TraceJob], tmp_path: Path
) -> None:
    jobs = [make_job(str(n), submitted=100.0 * n, iterations=50) for n in range(40)]
    request = Request(make_trace("t", jobs), uniform(1, 4), "tiresias", parse_overhead("zero"))
    write_run_figure(simulate(request), tmp_path / "a.svg")
    picture = Picture(tmp_path / "a.svg")
    left, right, *_ = picture.frame("axes_1")
    rectangles = picture.boxes("PatchCollection_1")
    assert len(rectangles) == 40
    assert min(box[0] for box in rectangles) == pytest.approx(left, abs=0.1)
    assert right * 0.95 < max(box[1] for box in rectangles) <= right + 0.1
    assert picture.texts("matplotlib.axis_5")[-1] == "minutes since the first submission"


def test_the_curve_of_efficiency_is_the_time_line(
    results: dict[str, Result], run_figure: Picture
) -> None:
    result = results["elasticflow"]
    line = time_line(result.jobs, GPUS, window(result.jobs))
    _, _, top, bottom, _ = run_figure.frame("axes_3")
    for colour, what, values in (
        ("#0072b2", "stroke", line.efficiency),
        ("#d7e3ef", "fill", line.in_use),
    ):
        corners = run_figure.path_of("axes_3", colour, what)
        highest = (bottom - corners[:, 1].min()) / (bottom - top) * 1.02
        assert highest == pytest.approx(values.max(), abs=1e-3)
    assert run_figure.texts("legend_2") == ["GPUs in use", "efficiency"]


def test_a_comparison_has_a_bar_per_policy(
    results: dict[str, Result], compare_figure: Picture
) -> None:
    ratios = [result.metrics.ratio or 0.0 for result in results.values()]
    assert 0 < min(ratios) < max(ratios)
    _, _, top, bottom, _ = compare_figure.frame("axes_1")
    bars = compare_figure.boxes("axes_1")[1:]
    heights = [(box[3] - box[2]) / (bottom - top) * 1.08 for box in bars]
    assert heights == pytest.approx(ratios, abs=1e-4)
    assert [box[4] for box in bars] == [COLOURS[JobOutcome.MET], "#8b98a8"]
    texts = compare_figure.texts("axes_1")
    assert compare_figure.texts("matplotlib.axis_1") == list(results)
    assert {f"{100 * ratio:.1f} %" for ratio in ratios} < set(texts)
    assert "Deadlines met" in texts


def test_a_comparison_shows_where_the_first_policy_put_its_jobs(
    results: dict[str, Result], compare_figure: Picture
) -> None:
    first = results["elasticflow"]
    texts = compare_figure.texts()
    assert "generated-2: 60 jobs on 4 nodes of 4 GPUs, overhead constant:10" in texts
    assert "GPU allocation under elasticflow" in texts
    ran = {outcome_of(job) for job in first.jobs if job.held_shares}
    assert compare_figure.texts("legend_1") == [OUTCOME_LABELS[o] for o in JobOutcome if o in ran]
    shown = window(first.jobs)
    drawn = [r for r in allocation(first.jobs, first.groups) if r.start < shown.end]
    assert len(compare_figure.boxes("PatchCollection_1")) == len(drawn)


def test_pixels(results: dict[str, Result], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    result = results["elasticflow"]
    write_run_figure(result, tmp_path / "a.png")
    with image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1650, 1110))
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # Idle GPUs have a colour of their own; the jobs' colours take the rest of the upper chart.
    idle = (pixels == (0xEE, 0xF1, 0xF4)).all(axis=1).sum()
    svg = tmp_path / "a.svg"
    write_run_figure(result, svg)
    frame = area(Picture(svg).frame("axes_1")) * (150 / 72) ** 2
    used = time_line(result.jobs, GPUS, window(result.jobs)).in_use.mean()
    assert idle / frame == pytest.approx(1 - used, abs=0.03)
    for one in {outcome_of(job) for job in result.jobs}:
        red, green, blue = (int(COLOURS[one][at : at + 2], 16) for at in (1, 3, 5))
        assert (pixels == (red, green, blue)).all(axis=1).sum() > 50, OUTCOME_LABELS[one]


def test_pdf_is_one_page_of_the_same_size(results: dict[str, Result], tmp_path: Path) -> None:
    write_run_figure(results["elasticflow"], tmp_path / "a.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert re.findall(rb"/MediaBox \[ ([\d. ]+) \]", data) == [b"0 0 792 532.8"]
    assert data.rstrip().endswith(b"%%EOF")


def test_the_same_results_give_the_same_file(results: dict[str, Result], tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_run_figure(results["tiresias"], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", ".png"])
def test_figures_of_unknown_kind_are_refused_early(name: str) -> None:
    with pytest.raises(SimulatorError, match=rf"'{re.escape(name)}'.*\.png, \.svg, \.pdf"):
        check_figure_file(Path(name))


@pytest.mark.parametrize("name", ["a.png", "a.SVG", "some.where/a.pdf"])
def test_figures_of_a_known_kind(name: str) -> None:
    check_figure_file(Path(name))
