"""`minislurm test`: linters, unit tests, clusters, their tests, a summary."""

import enum
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TypeVar

from mini import coverage_report, lifecycle, record
from mini.behind import Behind, behind
from mini.process import run, say
from mini.python_environment import ensure_environment
from mini.second_try import Ended, FirstTry
from mini.settings import CHECKOUT, Cluster, UserError

Result = TypeVar("Result")
NO_TESTS = 5
SLOWEST = "--durations=15"
WHOLE_MACHINE = "whole_machine"
"""The mark of tests that compute: no other cluster's tests run beside them."""
QUIET_MACHINE = "quiet_machine"
"""The mark of tests that depend on the machine's pace: nothing at all runs beside them."""
AT_ONCE = 2
"""Clusters that share the tests: most of these wait for Slurm more than they compute."""
FEWEST_CPUS = 2
"""With fewer the tests have one cluster: several would be late."""
CLUSTER_ROOMS = ("tests/cluster", "tests/contract")
"""Where tests marked `cluster` are: to look through all the others takes pytest half a minute."""
PER_CPU = 1.5
"""Processes of pytest for each CPU: some tests wait, as those of batch scripts, which look for
orders once a second."""
MAX_PROCESSES = 8
"""Of pytest at once; more gain nothing, since a few tests take a tenth of the time each."""


class Which(enum.Enum):
    """Which tests are to run."""

    ALL = "all"
    WITHOUT_CLUSTER = "what needs no cluster"
    ON_CLUSTERS = "what needs a cluster"


@dataclass(frozen=True)
class Part:
    """One part of the checks that has ended; `late` are tests that passed at the second try."""

    name: str
    code: int
    seconds: float
    late: tuple[str, ...] = ()

    def __str__(self) -> str:
        how = f"FAILED, exit code {self.code}" if self.code else "passed"
        if self.late:
            how += f", {len(self.late)} ONLY AT THE SECOND TRY"
        return f"  {self.name:<20}{self.seconds:>7.1f} s  {how}"


@dataclass
class Checks:
    """The parts that have ended, in that order; some run beside others."""

    ended: list[Part] = field(default_factory=list)

    @property
    def code(self) -> int:
        """That of the first part that failed; 0 where none did."""
        return next((part.code for part in self.ended if part.code), 0)

    @property
    def late(self) -> str:
        """The tests that passed only at the second try, a line each; empty where none did."""
        names = [name for part in self.ended for name in part.late]
        return "\n  ".join(["passed only at the second try, alone:", *names]) if names else ""

    def do(self, name: str, action: Callable[[], Ended]) -> None:
        """Do a part; one that raises counts as failed, and the exception goes on."""
        began, end = time.monotonic(), Ended(1)
        try:
            end = action()
        finally:
            seconds = time.monotonic() - began if end.seconds is None else end.seconds
            self.ended.append(Part(name, end.code, seconds, end.late))


def test(wanted: Cluster, pytest_arguments: list[str], which: Which, *, coverage: bool) -> int:
    """Run the checks; the exit code is that of the first part that failed.

    What fails keeps nothing else from being checked.

    Args:
        wanted: the cluster to bring up for the tests marked `cluster`.
        pytest_arguments: passed on to pytest; with any, the linters are left out.
        which: which of the tests; the linters run with those that need no cluster.
        coverage: measure what the unit tests run, which doubles what they compute.

    Raises:
        UserError: coverage of chosen tests, or without the unit tests.
    """
    if coverage and (pytest_arguments or which is Which.ON_CLUSTERS):
        raise UserError("--coverage: is that of all unit tests: give no tests, and not --clusters")
    started = time.monotonic()
    python = ensure_environment()
    checks = Checks()
    try:
        if pytest_arguments:
            chosen(python, wanted, pytest_arguments, checks, which)
        elif which is Which.WITHOUT_CLUSTER:
            without_cluster(python, checks, coverage=coverage)
        elif which is Which.ON_CLUSTERS:
            with record.recording([]):
                checks.do("cluster tests", partial(cluster_tests, python, wanted, lambda: None))
        else:
            everything(python, wanted, checks, coverage=coverage)
    finally:
        took = f"tests took {time.monotonic() - started:.0f} s in all:"
        say(took)
        print(*checks.ended, sep="\n", flush=True)
        record.keep("\n".join([took, *map(str, checks.ended)]))
        if checks.late:
            say(checks.late)
    return checks.code


def chosen(
    python: Path, wanted: Cluster, arguments: list[str], checks: Checks, which: Which
) -> None:
    """Some tests plainly, as a person looks for a fault; on a cluster if the others passed."""
    if which is not Which.ON_CLUSTERS:
        checks.do("unit tests", partial(chosen_unit_tests, python, arguments))
    if checks.code or which is Which.WITHOUT_CLUSTER or not has_cluster_tests(python, arguments):
        return
    with record.recording(arguments):
        checks.do("cluster tests", partial(chosen_cluster_tests, python, wanted, arguments))


def without_cluster(python: Path, checks: Checks, *, coverage: bool) -> None:
    """The unit tests in view, and the linters beside them."""
    with unit_tests(python, coverage=coverage) as unit, behind(gives_way=False) as others:
        linted = others.start(partial(lint, python, checks, others))
        checks.do("unit tests", partial(unit.ended, lambda: show(unit.command, unit.measure)))
        print(*linted.result(), sep="\n", flush=True)


def everything(python: Path, wanted: Cluster, checks: Checks, *, coverage: bool) -> None:
    """The cluster tests in view; with the CPUs that these leave, linters and unit tests.

    Most cluster tests wait for Slurm more than they compute. Those that depend on how fast the
    machine is have it for themselves: the others are over by then.
    """
    with unit_tests(python, coverage=coverage) as unit, behind(gives_way=True) as others:
        run_unit = partial(others.kept, unit.command, CHECKOUT, environment(unit.measure))
        linted = others.start(partial(lint, python, checks, others))
        tested = others.start(partial(timed, run_unit))

        def quiet() -> None:
            (_, text), _ = tested.result()
            print(*linted.result(), line_of(unit.command), text, sep="\n", flush=True)

        with record.recording([]):
            checks.do("cluster tests", partial(cluster_tests, python, wanted, quiet))
        (code, _), seconds = tested.result()
        checks.do("unit tests", lambda: replace(unit.ended(lambda: code), seconds=seconds))


def timed(action: Callable[[], Result]) -> tuple[Result, float]:
    """What it returned, and how many seconds it took."""
    began = time.monotonic()
    return action(), time.monotonic() - began


def few_cpus() -> bool:
    return (os.cpu_count() or 1) < FEWEST_CPUS


def linters(python: Path) -> dict[str, list[str]]:
    tool = [str(python), "-m"]
    return {
        "ruff check": [*tool, "ruff", "check"],
        "ruff format": [*tool, "ruff", "format", "--check"],
        "mypy": [*tool, "mypy"],
        # These scripts import one another as `mini`, not by the path from the top.
        "mypy docker": [
            *("env", "MYPYPATH=docker", *tool, "mypy"),
            *("docker/minislurm", "docker/mini", "docker/demo"),
        ],
    }


def lint(python: Path, checks: Checks, others: Behind) -> list[str]:
    """Run the linters one after another, out of view; returns what each said."""
    said: list[str] = []

    def one(command: list[str]) -> Ended:
        code, text = others.kept(command, CHECKOUT, environment())
        said.append(f"{line_of(command)}\n{text}".rstrip())
        return Ended(code)

    for name, command in linters(python).items():
        checks.do(name, partial(one, command))
    return said


@dataclass(frozen=True)
class UnitTests:
    """All unit tests in parallel.

    Args:
        directory: an empty one, for what pytest and coverage remember.
        coverage: measure what they run.
    """

    python: Path
    directory: Path
    coverage: bool

    @property
    def command(self) -> list[str]:
        processes = min(ceil((os.cpu_count() or 1) * PER_CPU), MAX_PROCESSES)
        # Else whoever has the slowest tests is left with them at the end, beside an idle core.
        divided = ["--numprocesses", str(processes), "--dist=worksteal"]
        return self._pytest([SLOWEST, *divided, *self._cover, *self._first.options])

    @property
    def _cover(self) -> list[str]:
        # What is missing is looked at below, since pytest's exit code is that of a failed test.
        wanted = ["--cov", f"--cov-report=json:{self._report}", "--cov-fail-under=0"]
        return wanted if self.coverage else []

    @property
    def measure(self) -> dict[str, str]:
        """The environment of the command: what is measured stays in our directory."""
        return {"COVERAGE_FILE": str(self.directory / "data")}

    def ended(self, run: Callable[[], int]) -> Ended:
        """How the run ends, when what failed was run once more, and with its coverage if measured.

        Args:
            run: runs the command; its exit code.
        """
        end = self._first.ended(run(), lambda options: show(self._pytest(options)))
        report = self._report
        return replace(end, code=end.code or covered(report)) if report.exists() else end

    @property
    def _first(self) -> FirstTry:
        return FirstTry(self.directory)

    @property
    def _report(self) -> Path:
        return self.directory / "coverage.json"

    def _pytest(self, options: list[str]) -> list[str]:
        return pytest_command(self.python, "not cluster", options)


@contextmanager
def unit_tests(python: Path, *, coverage: bool = False) -> Iterator[UnitTests]:
    with tempfile.TemporaryDirectory(prefix="unit-tests-") as directory:
        yield UnitTests(python, Path(directory), coverage)


def chosen_unit_tests(python: Path, arguments: list[str]) -> Ended:
    code = show(pytest_command(python, "not cluster", [SLOWEST, *arguments]))
    return Ended(0 if code == NO_TESTS else code)


def covered(report: Path) -> int:
    """Show what the tests in parallel ran; the exit code says whether that is enough."""
    measured = report.read_text(encoding="utf-8")
    print(coverage_report.worst_files(measured), flush=True)
    missing = coverage_report.missing(measured, coverage_report.required(CHECKOUT))
    if missing:
        say(missing)
    return int(bool(missing))


def has_cluster_tests(python: Path, arguments: list[str]) -> bool:
    collect = pytest_command(python, "cluster", [*arguments, "--collect-only", "--quiet"])
    return run(collect, check=False).returncode != NO_TESTS


def chosen_cluster_tests(python: Path, wanted: Cluster, arguments: list[str]) -> Ended:
    with cluster_up(wanted) as name:
        return Ended(on_clusters(python, [name], "cluster", arguments))


def cluster_tests(python: Path, wanted: Cluster, quiet: Callable[[], object]) -> Ended:
    """On several clusters, then what needs one to itself, a quiet machine, or a second try.

    Args:
        quiet: waits until nothing else runs on this machine, and tells what came of that.
    """
    shared = f"cluster and not {WHOLE_MACHINE} and not {QUIET_MACHINE}"
    computing = f"cluster and {WHOLE_MACHINE}"
    with cluster_up(wanted) as name, first_try() as first, first_try() as second:
        if few_cpus():
            quiet()

        def these(names: list[str], marker: str, options: list[str]) -> int:
            return on_clusters(python, names, marker, [*options, *CLUSTER_ROOMS])

        with ExitStack() as others:
            names = [name]
            for number in range(2, 2 if few_cpus() else AT_ONCE + 1):
                another = replace(wanted, name=f"{wanted.name}-{number}")
                names.append(others.enter_context(cluster_up(another)))
            # A file's tests stay together, and so do those that share a cluster with variants; the
            # tests themselves say which come first.
            divided = ["--numprocesses", str(len(names))]
            divided += ["--dist=loadgroup", "--no-loadscope-reorder"]
            on_several = these(names, shared, [*divided, *first.options])
        on_one = these([name], computing, second.options)
        if not few_cpus():
            quiet()
        alone = these([name], f"cluster and {QUIET_MACHINE}", [])
        ends = (
            first.ended(on_several, partial(these, [name], shared)),
            second.ended(on_one, partial(these, [name], computing)),
        )
    code = next((end.code for end in ends if end.code), alone)
    return Ended(code, tuple(test for end in ends for test in end.late))


@contextmanager
def first_try() -> Iterator[FirstTry]:
    """One that remembers its failures for as long as it is used."""
    with tempfile.TemporaryDirectory(prefix="cluster-tests-") as directory:
        yield FirstTry(Path(directory))


def on_clusters(python: Path, names: list[str], marker: str, arguments: list[str]) -> int:
    """Run cluster tests on clusters that are up, one for each process of pytest."""
    command = pytest_command(python, marker, [SLOWEST, *arguments])
    code, seconds = timed(partial(show, command, {"MINISLURM_NAME": ",".join(names)}))
    record.keep(f"{marker}: {seconds:.0f} s, exit code {code}")
    return code


@contextmanager
def cluster_up(wanted: Cluster) -> Iterator[str]:
    """The name of a cluster that is up, and is taken down at the end."""
    cluster = lifecycle.up(wanted)
    record.up(cluster)
    try:
        yield cluster.name
    finally:
        began = time.monotonic()
        lifecycle.down(cluster)
        say(f"{cluster.name} is down after {time.monotonic() - began:.1f} s")


def pytest_command(python: Path, marker: str, arguments: list[str]) -> list[str]:
    return [str(python), "-m", "pytest", "-m", marker, *arguments]


def show(command: list[str], env: dict[str, str] | None = None) -> int:
    """Run a command in the checkout, in full view."""
    print(line_of(command), flush=True)
    return subprocess.run(command, cwd=CHECKOUT, env=environment(env), check=False).returncode


def line_of(command: list[str]) -> str:
    return f"$ {' '.join(command)}"


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The checkout is first on the path: there may be an editable install of another one.

    It is compiled once, whatever the image says: tests start hundreds of processes of Python.
    """
    ours = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": ""}
    return os.environ | ours | (more or {})
