"""Figures as files: of every format, and with what the data say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ef_slurm.charts import library
from ef_slurm.simulator.report.figures import write_compare_figure, write_run_figure
from ef_slurm.simulator.report.series import OUTCOME_LABELS, JobOutcome, outcome_of
from ef_slurm.simulator.simulate import Result

SVG = "{http://www.w3.org/2000/svg}"
BEGINNINGS = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}


@pytest.fixture(autouse=True, scope="module")
def the_library_is_there() -> None:
    pytest.importorskip("vl_convert")


def texts(file: Path) -> set[str]:
    return {"".join(one.itertext()) for one in ET.parse(file).getroot().iter(f"{SVG}text")}


@pytest.mark.parametrize("suffix", library.FORMATS)
def test_the_suffix_says_the_format(
    results: dict[str, Result], tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"a.{suffix}"
    write_compare_figure(list(results.values()), file)
    assert file.read_bytes().startswith(BEGINNINGS[suffix])


def test_a_figure_of_a_run_says_what_it_is_of(results: dict[str, Result], tmp_path: Path) -> None:
    result = results["elasticflow"]
    write_run_figure(result, tmp_path / "a.svg")
    found, numbers = texts(tmp_path / "a.svg"), result.metrics
    assert numbers.ratio is not None
    assert (
        f"generated-2, elasticflow: {numbers.ratio:.1%} of deadlines met, "
        f"{numbers.reshapes_per_job:.1f} reshapes per job"
    ) in found
    assert {"GPU allocation by job", "Deadlines by time of submission", "Efficiency"} <= found
    assert {"GPUs", "jobs", "days since the first submission", "0%", "100%"} <= found
    present = {OUTCOME_LABELS[outcome_of(job)] for job in result.jobs}
    assert OUTCOME_LABELS[JobOutcome.TURNED_AWAY] in present
    assert present <= found


def test_a_comparison_has_every_policys_ratio(results: dict[str, Result], tmp_path: Path) -> None:
    write_compare_figure(list(results.values()), tmp_path / "a.svg")
    found = texts(tmp_path / "a.svg")
    assert set(results) <= found
    assert {f"{result.metrics.ratio or 0.0:.1%}" for result in results.values()} <= found


def test_a_name_that_ends_otherwise_is_refused() -> None:
    for name in ("a.jpg", "a", "png"):
        with pytest.raises(library.ChartsError, match=r"must end in \.png, \.svg, \.pdf"):
            library.check_file(Path(name), "simulator")


def test_a_missing_library_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "is_there", lambda: False)
    with pytest.raises(library.ChartsError, match=r"install ef-slurm\[simulator\]"):
        library.check_file(Path("a.png"), "simulator")
