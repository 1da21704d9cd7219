"""The record of a run of the tests, and the table of supported versions that is made of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from mini import record
from mini.record import DOCUMENT, EVERYTHING, Run, document, known, newest, read
from mini.settings import Cluster, UserError

RUN = Run("trixie", "docker", "2026-11-27", "0123456789", EVERYTHING, 140, 0, 20)
CLUSTER = Cluster(name="t", suite="sid", nodes=1, gpus_per_node=1, engine="docker")


def test_the_page_is_what_is_made_of_the_records() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(known())


def test_a_line_is_read_back_from_whatever_stands_before_it() -> None:
    assert read(f"> minislurm: {RUN.line}") == RUN
    assert read("minislurm: tests took 3 s in all:") is None


@pytest.mark.parametrize(
    "line",
    [
        "record of the tests: {",
        "record of the tests: []",
        'record of the tests: {"suite": "sid"}',
        RUN.line.replace("140", '"many"'),
        RUN.line.replace("trixie", "potato"),
        RUN.line.replace("docker", "podman"),
    ],
)
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(UserError, match="not a record of the tests"):
        read(line)


def test_the_newest_run_of_everything_counts_for_what_was_chosen_before_it() -> None:
    chosen = replace(RUN, what="tests/contract")
    later = replace(RUN, commit="later")
    assert newest([RUN, chosen]) == [RUN, chosen]
    assert newest([chosen, later]) == [later]
    elsewhere = replace(RUN, suite="bookworm")
    assert newest([RUN, elsewhere, later]) == [elsewhere, later]


def test_the_page_has_a_row_for_each_slurm_and_engine() -> None:
    text = document([RUN, replace(RUN, what="tests/contract", failed=1)])
    lines = [line for line in text.splitlines() if line.startswith("| 2")]
    assert len(lines) == 7
    assert (
        "| 24.11 | trixie | containers | everything | 140 | 0 | 20 | 2026-11-27 | 0123456789 |"
        in lines
    )
    assert sum("not recorded" in line for line in lines) == 5


def tell(**line: object) -> None:
    with Path(os.environ[record.TALLY]).open("a", encoding="utf-8") as tally:
        tally.write(json.dumps(line) + "\n")


def test_a_run_is_counted_and_second_tries_are_no_failures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINISLURM_STATE", str(tmp_path))
    with record.recording([]):
        record.up(CLUSTER)
        tell(marker="cluster and not x", again=False, passed=10, failed=2, skipped=1)
        tell(marker="cluster and x", again=False, passed=3, failed=0, skipped=4)
        tell(marker="cluster and not x", again=True, passed=2, failed=0, skipped=0)
    assert record.TALLY not in os.environ
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "record" in line)
    one = read(line)
    assert one is not None
    assert (one.suite, one.what) == ("sid", EVERYTHING)
    assert (one.passed, one.failed, one.skipped) == (15, 0, 5)
    assert read((tmp_path / "test-runs.log").read_text()) == one


def test_tests_that_several_processes_share_are_told_of_once(
    monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    monkeypatch.setenv(record.TALLY, str(pytester.path / "tally"))
    for name in ("PYTEST_XDIST_WORKER", "COV_CORE_SOURCE"):  # those of the process that this is
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest("from tests.conftest import pytest_terminal_summary\n")
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass\n")
    pytester.runpytest_subprocess("-n", "2")
    (line,) = (pytester.path / "tally").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["passed"] == 2


def test_what_is_run_for_long_is_told() -> None:
    assert record.described(["tests/cluster"], {}) == "tests/cluster"
    assert record.described([], {"EF_LONG": "1"}) == "EF_LONG=1 everything"
    assert record.described([], {"EF_LONG": ""}) == EVERYTHING


def test_a_run_without_a_cluster_leaves_no_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINISLURM_STATE", str(tmp_path))
    with record.recording(["-k", "x"]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_a_release_without_a_row_leaves_no_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Plain processes on another Linux: `versions` would refuse the line."""
    monkeypatch.setenv("MINISLURM_STATE", str(tmp_path))
    with record.recording([]):
        record.up(replace(CLUSTER, suite="noble", engine="native"))
        tell(marker="cluster", again=False, passed=1, failed=0, skipped=0)
    assert list(tmp_path.iterdir()) == []


def test_output_without_a_record_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "ci.txt"
    with pytest.raises(UserError, match="No such file"):
        record.versions([output])
    output.write_text("nothing\n")
    with pytest.raises(UserError, match="no record of the tests"):
        record.versions([output])
