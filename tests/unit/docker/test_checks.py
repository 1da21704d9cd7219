"""`minislurm test`: what fails shows in the summary and in the exit code."""

import ast
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from mini import checks, coverage_report, lifecycle, record
from mini.behind import Behind
from mini.checks import Checks, Part, Which
from mini.second_try import Ended, FirstTry
from mini.settings import CHECKOUT, Cluster, UserError

from tests.cluster.conftest import LONGEST_FIRST, VARIANTS

TESTS = CHECKOUT / "tests"
CLUSTER = Cluster(name="t", suite="trixie", nodes=1, gpus_per_node=1, engine="native")


def test_the_exit_code_is_that_of_the_first_part_that_failed() -> None:
    done = Checks()
    for name, code in (("a", 0), ("b", 3), ("c", 4)):
        done.do(name, partial(Ended, code))
    assert done.code == 3
    assert [(part.name, part.code) for part in done.ended] == [("a", 0), ("b", 3), ("c", 4)]


def test_a_part_that_raises_has_failed() -> None:
    done = Checks()
    with pytest.raises(KeyboardInterrupt):
        done.do("a", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert [part.code for part in done.ended] == [1]


def test_the_summary_says_what_failed() -> None:
    assert str(Part("mypy", 0, 3.21)).split() == ["mypy", "3.2", "s", "passed"]
    assert str(Part("mypy", 2, 0.0)).endswith("FAILED, exit code 2")


def test_the_summary_names_what_passed_at_the_second_try() -> None:
    done = Checks()
    done.do("a", partial(Ended, 0))
    assert done.late == ""
    done.do("b", partial(Ended, 0, ("x::y", "x::z")))
    assert str(done.ended[1]).endswith("passed, 2 ONLY AT THE SECOND TRY")
    title, *names = done.late.splitlines()
    assert title == "passed only at the second try, alone:"
    assert [name.strip() for name in names] == ["x::y", "x::z"]


class Commands:
    """Stands in for the commands that the checks run: each ends as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
        self.ran: list[str] = []
        self.hidden: list[str] = []
        self.noted: list[str] = []
        self.failing = failing
        monkeypatch.setattr(checks, "ensure_environment", lambda: Path("python"))
        monkeypatch.setattr(checks, "show", self.show)
        monkeypatch.setattr(Behind, "kept", self.kept)
        monkeypatch.setattr(record, "keep", self.noted.append)
        monkeypatch.setattr(lifecycle, "up", lambda wanted: wanted)
        monkeypatch.setattr(lifecycle, "down", lambda _: self.ran.append("down"))

    def show(self, command: list[str], _env: dict[str, str] | None = None) -> int:
        line = " ".join(command)
        self.ran.append(line)
        return 7 if self.failing and self.failing in line else 0

    def kept(self, command: list[str], _cwd: Path, _env: Mapping[str, str]) -> tuple[int, str]:
        line = " ".join(command)
        self.hidden.append(line)
        return 7 if self.failing and self.failing in line else 0, "its words"


@pytest.mark.parametrize("which", Which)
@pytest.mark.parametrize(
    ("failing", "code", "failed"),
    [("", 0, 0), ("ruff check", 7, 1), ("-m not cluster", 7, 1), ("-m cluster", 7, 1)],
)
def test_everything_is_checked_whatever_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
    code: int,
    failed: int,
    which: Which,
) -> None:
    on_cluster, without = which is not Which.WITHOUT_CLUSTER, which is not Which.ON_CLUSTERS
    fails = on_cluster if failing == "-m cluster" else without
    commands = Commands(monkeypatch, failing)
    assert checks.test(CLUSTER, [], which, coverage=False) == (code if fails else 0)
    assert sum("-m not cluster" in line for line in commands.ran + commands.hidden) == without
    assert sum("mypy" in line for line in commands.hidden) == 2 * without
    assert any("-m cluster" in line for line in commands.ran) is on_cluster
    assert ("down" in commands.ran) is on_cluster
    told = capsys.readouterr()
    assert told.out.count("FAILED") == (failed if fails else 0)
    assert ("cluster tests" in told.out) is on_cluster
    assert ("its words" in told.out) is without
    assert "s in all" in told.err
    assert told.out.endswith("".join(commands.noted[-1].splitlines(keepends=True)[1:]) + "\n")


def test_unit_tests_run_behind_others_and_are_over_before_what_needs_a_quiet_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands = Commands(monkeypatch, "")
    computed, unit_ended = Event(), Event()

    def kept(command: list[str], _cwd: Path, _env: Mapping[str, str]) -> tuple[int, str]:
        if "not cluster" in command:
            assert computed.wait(60)
            unit_ended.set()
        return 0, ""

    def show(command: list[str], _env: dict[str, str] | None = None) -> int:
        if "cluster and whole_machine" in command:
            computed.set()
        if "cluster and quiet_machine" in command:
            assert unit_ended.is_set()
        return 0

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(Behind, "kept", staticmethod(kept))
    monkeypatch.setattr(checks, "show", show)
    assert checks.test(CLUSTER, [], Which.ALL, coverage=False) == 0
    assert unit_ended.is_set()
    assert commands.ran == ["down", "down"]


def test_chosen_tests_are_neither_linted_nor_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(monkeypatch, "")
    assert checks.test(CLUSTER, ["-k", "admission"], Which.WITHOUT_CLUSTER, coverage=False) == 0
    (line,) = commands.ran
    assert line.endswith("-k admission")
    assert "--cov" not in line


@pytest.mark.parametrize("which", [Which.ALL, Which.WITHOUT_CLUSTER])
@pytest.mark.parametrize("coverage", [True, False])
def test_coverage_is_measured_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, which: Which, coverage: bool
) -> None:
    commands = Commands(monkeypatch, "")
    assert checks.test(CLUSTER, [], which, coverage=coverage) == 0
    (unit,) = (line for line in commands.ran + commands.hidden if "-m not cluster" in line)
    assert ("--cov " in unit) is coverage


@pytest.mark.parametrize(
    ("arguments", "which"), [(["-k", "x"], Which.ALL), ([], Which.ON_CLUSTERS)]
)
def test_coverage_is_that_of_all_unit_tests(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], which: Which
) -> None:
    commands = Commands(monkeypatch, "")
    with pytest.raises(UserError, match="--coverage: is that of all unit tests"):
        checks.test(CLUSTER, arguments, which, coverage=True)
    assert not commands.ran


def test_of_chosen_tests_those_on_a_cluster_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(monkeypatch, "")
    monkeypatch.setattr(checks, "has_cluster_tests", lambda *_: True)
    assert checks.test(CLUSTER, ["-k", "admission"], Which.ON_CLUSTERS, coverage=False) == 0
    line, down = commands.ran
    assert "-m cluster" in line
    assert line.endswith("-k admission")
    assert down == "down"


def test_no_unit_test_chosen_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "show", lambda *_: checks.NO_TESTS)
    assert checks.chosen_unit_tests(Path("python"), ["-k", "nothing"]) == Ended(0)
    with checks.unit_tests(Path("python")) as unit:
        assert unit.ended(lambda: checks.NO_TESTS) == Ended(checks.NO_TESTS)


def test_what_failed_beside_others_is_tried_again_when_the_machine_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(monkeypatch, "")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def ended(_: FirstTry, code: int, again: Callable[[list[str]], int]) -> Ended:
        assert code == 0
        return Ended(again(["--again"]), (f"{len(commands.ran)}::y",))

    monkeypatch.setattr(FirstTry, "ended", ended)
    assert checks.test(CLUSTER, [], Which.ALL, coverage=False) == 0
    (unit,) = (line for line in commands.hidden if "-m not cluster" in line)
    assert "--numprocesses 3" in unit  # some of them wait
    ran = [line.split(" -m ", 2)[-1] for line in commands.ran if "not cluster" not in line]
    shared, down, computing, quiet, *again, _ = ran
    beside = "cluster and not whole_machine and not quiet_machine"
    alone = "cluster and whole_machine"
    rooms = " tests/cluster tests/contract"
    assert down == "down"
    assert shared.startswith(f"{beside} ")
    assert "--numprocesses 2" in shared
    assert computing.startswith(f"{alone} ")
    assert quiet == f"cluster and quiet_machine --durations=15{rooms}"
    for first in (shared, computing):
        assert "-o cache_dir=" in first
        assert first.endswith(rooms)
    assert again == [f"{marker} --durations=15 --again{rooms}" for marker in (beside, alone)]
    told = capsys.readouterr().err
    assert "passed only at the second try, alone:\n" in told
    assert told.count("::y\n") == 3  # those of the unit tests, too


@pytest.mark.parametrize(("percent", "code"), [(90.99, 1), (91.0, 0)])
def test_too_little_that_was_run_fails_whatever_passed_at_the_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, percent: float, code: int
) -> None:
    monkeypatch.setattr(coverage_report, "required", lambda _: 91.0)
    report = tmp_path / "coverage.json"
    report.write_text(REPORT.replace("75.25", str(percent)), encoding="utf-8")
    assert checks.covered(report) == code


def test_what_is_required_stands_in_the_projects_settings() -> None:
    assert 90 < coverage_report.required(CHECKOUT) < 100


REPORT = """{"files": {
"a.py": {"summary": {"percent_covered": 95.0, "num_statements": 20, "missing_lines": 1,
                     "missing_branches": 0}},
"b.py": {"summary": {"percent_covered": 40.5, "num_statements": 10, "missing_lines": 5,
                     "missing_branches": 2}},
"empty.py": {"summary": {"percent_covered": 100.0, "num_statements": 0, "missing_lines": 0,
                         "missing_branches": 0}}
}, "totals": {"percent_covered": 75.25, "missing_lines": 6, "missing_branches": 2}}"""


def test_the_least_covered_files_come_first() -> None:
    title, *rows = coverage_report.worst_files(REPORT).splitlines()
    assert title.startswith("least covered of 2 files:")
    assert [row.split() for row in rows] == [
        ["40.5", "%", "5", "2", "b.py"],
        ["95.0", "%", "1", "0", "a.py"],
        ["75.2", "%", "6", "2", "all", "files"],
    ]
    assert len(coverage_report.worst_files(REPORT, shown=1).splitlines()) == 3


def test_the_tests_of_everything_that_need_a_cluster_are_in_these_rooms() -> None:
    def marked(file: Path) -> bool:
        text = file.read_text(encoding="utf-8")
        return "mark.cluster" in text and any(
            isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.cluster"
            for node in ast.walk(ast.parse(text))
        )

    rooms = {file.relative_to(CHECKOUT).parent for file in TESTS.rglob("*.py") if marked(file)}
    # Benchmarks are none of the tests.
    assert rooms - {Path("tests/benchmarks")} == {Path(room) for room in checks.CLUSTER_ROOMS}


def test_the_files_that_come_first_are_there() -> None:
    files = {file.stem for room in ("cluster", "contract") for file in (TESTS / room).glob("*.py")}
    assert set(LONGEST_FIRST) - files == {VARIANTS}
