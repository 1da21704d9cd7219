"""`minislurm test`: linters, unit tests and their coverage, a cluster, cluster tests, a summary."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from pathlib import Path

from mini import coverage_report, lifecycle, record
from mini.process import run, say
from mini.python_environment import ensure_environment
from mini.second_try import Ended, FirstTry
from mini.settings import CHECKOUT, Cluster

NO_TESTS = 5
SLOWEST = "--durations=15"
WHOLE_MACHINE = "whole_machine"
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
            self.ended.append(Part(name, end.code, time.monotonic() - began, end.late))


def test(wanted: Cluster, pytest_arguments: list[str], *, fast: bool) -> int:
    """Run the checks; the exit code is that of the first part that failed.

    A linter or a unit test that fails keeps nothing from being checked but what needs a cluster,
    which takes many times as long.

    Args:
        wanted: the cluster to bring up for the tests marked `cluster`.
        pytest_arguments: passed on to pytest; with any, the linters and the coverage are left out.
        fast: leave out what needs a cluster.
    """
    started = time.monotonic()
    python = ensure_environment()
    checks = Checks()
    try:
        with nullcontext() if pytest_arguments else linting(python, checks):
            checks.do("unit tests", partial(unit_tests, python, pytest_arguments))
        if not (checks.code or fast) and has_cluster_tests(python, pytest_arguments):
            with record.recording(pytest_arguments):
                checks.do("cluster tests", partial(cluster_tests, python, wanted, pytest_arguments))
    finally:
        say(f"tests took {time.monotonic() - started:.0f} s in all:")
        print(*checks.ended, sep="\n", flush=True)
        if checks.late:
            say(checks.late)
    return checks.code


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


@contextmanager
def linting(python: Path, checks: Checks) -> Iterator[None]:
    """The linters run meanwhile, one after another; what they said is shown at the end, whole.

    What is interrupted waits for the one that runs, and no other one begins.
    """
    said: list[str] = []
    thread = ThreadPoolExecutor(max_workers=1)
    runs = [
        thread.submit(checks.do, name, partial(lint, command, said))
        for name, command in linters(python).items()
    ]
    try:
        yield
        wait(runs)
    finally:
        thread.shutdown(cancel_futures=True)
        print(*said, sep="\n", flush=True)
    for ended in runs:
        ended.result()


def lint(command: list[str], said: list[str]) -> Ended:
    """Run a linter out of view; what it said is added to `said`."""
    code, text = kept(command)
    said.append(f"{line_of(command)}\n{text}".rstrip())
    return Ended(code)


def unit_tests(python: Path, arguments: list[str]) -> Ended:
    """All of them in parallel, measured; chosen ones plainly, as a person looks for a fault."""
    if arguments:
        code = show(pytest_command(python, "not cluster", [SLOWEST, *arguments]))
        return Ended(0 if code == NO_TESTS else code)
    processes = min(ceil((os.cpu_count() or 1) * PER_CPU), MAX_PROCESSES)
    with tempfile.TemporaryDirectory(prefix="unit-tests-") as directory:
        first, report = FirstTry(Path(directory)), Path(directory) / "coverage.json"
        # The data files of processes that are killed on purpose stay where they were written.
        measure = {"COVERAGE_FILE": str(Path(directory) / "data")}
        # What is missing is looked at below, since pytest's exit code is that of a failed test.
        cover = ["--cov", f"--cov-report=json:{report}", "--cov-fail-under=0"]
        # Else whoever has the slowest tests is left with them at the end, beside an idle core.
        divided = ["--numprocesses", str(processes), "--dist=worksteal"]
        options = [SLOWEST, *divided, *cover, *first.options]
        code = show(pytest_command(python, "not cluster", options), measure)
        end = first.ended(code, lambda more: show(pytest_command(python, "not cluster", more)))
        return replace(end, code=end.code or covered(report)) if report.exists() else end


def covered(report: Path) -> int:
    """Show what the tests in parallel ran; the exit code says whether that is enough."""
    measured = report.read_text(encoding="utf-8")
    print(coverage_report.worst_files(measured), flush=True)
    missing = coverage_report.missing(measured, coverage_report.required(CHECKOUT))
    if missing:
        say(missing)
    return int(bool(missing))


def has_cluster_tests(python: Path, arguments: list[str]) -> bool:
    if not arguments:
        return True
    collect = pytest_command(python, "cluster", [*arguments, "--collect-only", "--quiet"])
    return run(collect, check=False).returncode != NO_TESTS


def cluster_tests(python: Path, wanted: Cluster, arguments: list[str]) -> Ended:
    """Chosen tests plainly; all of them on several clusters, then what needs the whole machine.

    After these the machine is quiet, for what failed on several clusters.
    """
    with (
        cluster_up(wanted) as name,
        tempfile.TemporaryDirectory(prefix="cluster-tests-") as directory,
    ):
        if arguments or (os.cpu_count() or 1) < FEWEST_CPUS:
            return Ended(on_clusters(python, [name], "cluster", arguments))
        first, marker = FirstTry(Path(directory)), f"cluster and not {WHOLE_MACHINE}"

        def everything(names: list[str], marker: str, options: list[str]) -> int:
            return on_clusters(python, names, marker, [*options, *CLUSTER_ROOMS])

        with ExitStack() as others:
            names = [name]
            for number in range(2, AT_ONCE + 1):
                another = replace(wanted, name=f"{wanted.name}-{number}")
                names.append(others.enter_context(cluster_up(another)))
            # A file's tests stay together, and so do those that share a cluster with variants; the
            # tests themselves say which come first.
            divided = ["--numprocesses", str(AT_ONCE), "--dist=loadgroup", "--no-loadscope-reorder"]
            shared = everything(names, marker, [*divided, *first.options])
        alone = everything([name], f"cluster and {WHOLE_MACHINE}", [])
        end = first.ended(shared, partial(everything, [name], marker))
    return replace(end, code=end.code or alone)


def on_clusters(python: Path, names: list[str], marker: str, arguments: list[str]) -> int:
    """Run cluster tests on clusters that are up, one for each process of pytest."""
    command = pytest_command(python, marker, [SLOWEST, *arguments])
    return show(command, {"MINISLURM_NAME": ",".join(names)})


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
    return subprocess.run(
        command, cwd=CHECKOUT, env=environment() | (env or {}), check=False
    ).returncode


def kept(command: list[str]) -> tuple[int, str]:
    """Run a command in the checkout, out of view: its exit code, and all that it printed."""
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def line_of(command: list[str]) -> str:
    return f"$ {' '.join(command)}"


def environment() -> dict[str, str]:
    """The checkout is first on the path: there may be an editable install of another one.

    It is compiled once, whatever the image says: tests start hundreds of processes of Python.
    """
    return os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": ""}
