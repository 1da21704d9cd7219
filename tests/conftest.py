"""What all tests share."""

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests.reruns import pytest_collection_modifyitems as pytest_collection_modifyitems

# How long an example takes says something of the machine, and nothing of the code. The examples are
# the same each time, so that a red run is about the change: EF_HYPOTHESIS_PROFILE=long looks for
# others.
settings.register_profile(
    "untimed",
    deadline=None,
    derandomize=os.environ.get("EF_HYPOTHESIS_PROFILE") != "long",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Where `MINISLURM_NAME` names several clusters, each process of pytest-xdist takes one."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and "MINISLURM_NAME" in os.environ:
        names = os.environ["MINISLURM_NAME"].split(",")
        os.environ["MINISLURM_NAME"] = names[int(worker.removeprefix("gw")) % len(names)]


@pytest.fixture(autouse=True)
def databases_are_closed() -> Iterator[None]:
    """What a test leaves open is closed at its end.

    From Python 3.13 on the garbage collector complains of it, in whichever test runs then.
    """
    plain = sqlite3.connect
    opened: list[sqlite3.Connection] = []

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*arguments, **options)
        opened.append(connection)
        return connection

    sqlite3.connect = connect  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = plain
        for connection in opened:
            with suppress(sqlite3.ProgrammingError):  # of another thread, which closes it
                connection.close()


def pytest_itemcollected(item: pytest.Item) -> None:
    """A property runs the same lines hundreds of times, at three times the cost when they are
    measured: coverage is that of the examples."""
    if is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What is not to be measured is not traced either.

    In a process of pytest-xdist, pytest-cov 7.1 begins to measure twice, and pauses one of them for
    `no_cover`: the other one would count for nothing, and take as long.
    """
    if item.get_closest_marker("no_cover") is None:
        return (yield)
    own, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(own)
        threading.settrace(threads)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell `docker/minislurm test`, which names the file, how many tests ran.

    Each process of pytest-xdist would tell of its own ones, too.
    """
    if "MINISLURM_TALLY" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
        return
    stats = {name: len(reports) for name, reports in terminalreporter.stats.items()}
    told = {
        "marker": config.option.markexpr,
        "again": config.option.lf,
        "passed": stats.get("passed", 0),
        "failed": stats.get("failed", 0) + stats.get("error", 0),
        "skipped": stats.get("skipped", 0),
    }
    with Path(os.environ["MINISLURM_TALLY"]).open("a", encoding="utf-8") as tally:
        tally.write(f"{json.dumps(told)}\n")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The published traces and throughput tables, which are not part of the project."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("EF_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no published data at {path} (set EF_SHARED_DATA)")
    return path
