"""What the Tab key offers, and that it never waits long."""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import pytest
from click.shell_completion import ShellComplete

from ef_slurm.api.client import UnreachableError
from ef_slurm.api.messages import ListHistory, ListJobs, Ping, Pong, Request, Response
from ef_slurm.cli import scancel
from ef_slurm.cli.common import completing
from ef_slurm.cli.sbatch.command import click_command
from ef_slurm.cli.squeue.command import _command as squeue
from ef_slurm.model import HistoryPage, JobList, JobView
from ef_slurm.siteconfig.tables import SiteConfig

Make = Callable[..., JobView]


class Daemon:
    """One with two jobs."""

    def __init__(self, jobs: tuple[JobView, ...]) -> None:
        self.jobs = jobs
        self.wait = 0.0
        self.gone = False

    def ask(self, request: Request) -> Response:
        time.sleep(self.wait)
        if self.gone:
            raise UnreachableError("nobody")
        match request:
            case ListJobs():
                return JobList(0.0, self.jobs)
            case ListHistory():
                return HistoryPage(0.0, ())
            case Ping():
                return Pong("1", "", 1, "ef", False, 0.0, None, ("a100", "h100"))
        raise AssertionError(request)

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch, job: Make) -> Daemon:
    strange = job(job_id=12, name="\x1b[2J")
    found = Daemon((strange, job(job_id=13, account="vision"), job(job_id=2)))
    monkeypatch.setattr(completing, "connect", lambda *_: found)
    monkeypatch.setattr(completing, "configuration", lambda _: SiteConfig())
    return found


def offered(command: click.Command, *words: str) -> list[str]:
    *before, last = words
    found = ShellComplete(command, {}, "x", "X").get_completions(list(before), last)
    assert all((item.help or "").isprintable() for item in found)
    return [item.value for item in found]


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        (scancel._command, ["1"], ["12", "13"]),
        (scancel._command, ["12,1"], ["12,12", "12,13"]),
        (scancel._command, ["--stat"], ["--state"]),
        (scancel._command, ["--state", "wait"], ["waitlisted"]),
        (squeue, ["-j", ""], ["12", "13", "2"]),
        (squeue, ["-p", ""], ["ef"]),
        (squeue, ["-A", "v"], ["vision"]),
        (squeue, ["--sort", "dead"], ["deadline"]),
        (squeue, ["-t", "pd,runn"], ["pd,running", "pd,running"]),
        (click_command(), ["--gpu-type", "h"], ["h100"]),
        (click_command(), ["--gpu-type=h"], ["h100"]),
        (click_command(), ["--if-infeasible", "w"], ["wait"]),
        (click_command(), ["--dead"], ["--deadline"]),
        (click_command(), ["-A", ""], ["nlp", "vision"]),
    ],
)
def test_what_is_offered(command: click.Command, words: list[str], expected: list[str]) -> None:
    assert offered(command, *words) == expected


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        ("--if-infeasible = w", 3, ["wait"]),
        ("--if-infeasible =", 2, ["best-effort", "reject", "wait"]),
        ("--if-infeasible w", 2, ["wait"]),
        ("--deadline = +6h --if-infeasible = b", 6, ["best-effort"]),
    ],
)
def test_bash_parts_words_at_equals_signs(
    monkeypatch: pytest.MonkeyPatch, words: str, place: int, expected: list[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", "\n".join(["ef-sbatch", *words.split()]))
    monkeypatch.setenv("COMP_CWORD", str(place))
    bash = completing.SplitAtEquals(click_command(), {}, "ef-sbatch", "X")
    found = bash.get_completions(*bash.get_completion_args())
    assert sorted(item.value for item in found) == expected


def test_the_tab_key_waits_no_longer_than_it_may(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.wait = 30.0
    monkeypatch.setattr(completing, "PATIENCE_SECONDS", 0.1)
    began = time.monotonic()
    assert completing.in_time(lambda: (time.sleep(30.0), [])[1], 0.05) == ()  # type: ignore[func-returns-value]
    assert time.monotonic() - began < 20.0


def test_what_fails_offers_nothing(daemon: Daemon) -> None:
    daemon.gone = True
    assert offered(scancel._command, "1") == []
