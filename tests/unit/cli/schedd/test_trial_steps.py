"""Each step of `ef-schedd check --try`: told when it is done, and what is wrong where it is not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ef_slurm.api.client import Client, UnreachableError
from ef_slurm.api.messages import Await, Ping, Pong, Request, Response
from ef_slurm.cli.schedd import trial
from ef_slurm.cli.schedd.person import Person
from ef_slurm.cli.schedd.trial import try_it
from ef_slurm.cli.schedd.trial_rights import try_rights
from ef_slurm.contract import Launch, LaunchState, StateDir
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.model import JobDetail, JobState, JobView, PromiseOutcome
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import SiteConfig

Done = subprocess.CompletedProcess[str]
Answer = Callable[[Sequence[str]], Done]


def done(out: str = "", err: str = "", code: int = 0) -> Done:
    return subprocess.CompletedProcess([], code, out, err)


@dataclass(frozen=True)
class Someone(Person):
    """A user whose commands do what a test says; remembers them."""

    answer: Answer = field(kw_only=True)
    ran: list[tuple[str, ...]] = field(kw_only=True, default_factory=list)

    def run(self, command: Sequence[str], seconds: float) -> Done:
        assert seconds > 0
        self.ran.append(tuple(command))
        return self.answer(command)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_program", lambda name: name)
    for name in ("START_SECONDS", "END_SECONDS"):
        monkeypatch.setattr(trial, name, 0.0)


def someone(name: str, answer: Answer) -> Someone:
    # Whose files they are, too.
    return Someone(Account(name, os.geteuid(), frozenset()), "/", True, answer=answer)


class Daemon:
    """Answers with the views in turn, the last one again and again."""

    def __init__(self, views: Sequence[JobView]) -> None:
        self._views = list(views)

    def ask(self, request: Request) -> Response:
        if isinstance(request, Ping):
            return Pong("1", "c", 1, "ef-slurm", False, 0.0, 0.0, ("a100", "v100"))
        assert isinstance(request, Await)
        return JobDetail(self._views.pop(0) if len(self._views) > 1 else self._views[0])

    def close(self) -> None:
        pass


@pytest.fixture
def way(tmp_path: Path, job: Callable[..., JobView]) -> list[JobView]:
    """The views of a job that goes all the way."""
    state_dir = str(tmp_path / "state")
    new = replace(job(state=JobState.ADMITTED), state_dir=state_dir, started=None, iteration=0.0)
    runs = replace(new, state=JobState.RUNNING, started=5.0, nodes=("n7",))
    trains = replace(runs, iteration=3.0)
    ended = replace(trains, state=JobState.COMPLETED, promise_outcome=PromiseOutcome.KEPT)
    (tmp_path / "state").mkdir()
    launch = Launch(1, LaunchState.RUNNING, 7, 0, "n7", 1, 15000, 1.0, 1.0, finds_orders=True)
    StateDir(tmp_path / "state").write_launch(launch)
    return [new, runs, trains, ended]


def submits(way: Sequence[JobView], outcome: str = "promised", warning: str = "") -> Answer:
    def answer(command: Sequence[str]) -> Done:
        if command[0] == "ef-sbatch":
            said = {"job_id": 7, "state_dir": way[0].state_dir, "outcome": outcome}
            return done(json.dumps(said), warning)
        return done()

    return answer


def tried(way: Sequence[JobView], who: Person) -> list[Finding]:
    def connect() -> Client:
        return Daemon(way)

    return list(try_it(connect, who, Path("/etc/x.toml")))


def texts(findings: Sequence[Finding]) -> str:
    return "\n".join(f"{one.level.value} {one.text}" for one in findings)


def test_all_the_way(way: list[JobView], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "START_SECONDS", 60.0)
    monkeypatch.setattr(trial, "END_SECONDS", 60.0)
    alice = someone("alice", submits(way))
    findings = tried(way, alice)
    assert {one.level for one in findings} == {Level.OK}, texts(findings)
    for said in (
        "job 7 of alice is in Slurm, held, and promised",
        "it runs on n7",
        "the daemon reads what it reports",
        "orders reach it",
        "complete, promise kept",
    ):
        assert said in texts(findings)
    submitted, removed = alice.ran
    assert submitted[:3] == ("ef-sbatch", "--config=/etc/x.toml", "--json")
    assert "--gpu-type=a100" in submitted
    assert removed == ("rm", "-rf", "--", way[0].state_dir)


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (1, "did not start within 0 s: no GPUs: are GPUs free"),
        (2, "the daemon sees no report in"),
        (3, "it is running, not complete: no GPUs"),
    ],
)
def test_where_it_ends(way: list[JobView], reached: int, said: str) -> None:
    stuck = [replace(view, note="no GPUs") for view in way[:reached]]
    alice = someone("alice", submits(way))
    findings = tried([stuck[-1]], alice)
    assert findings[-1].level is Level.ERROR
    assert said in findings[-1].text
    assert [words[0] for words in alice.ran] == ["ef-sbatch", "ef-scancel", "rm"]


def test_files_that_are_not_shared(way: list[JobView], tmp_path: Path) -> None:
    (tmp_path / "state" / "launch.json").unlink()
    assert "is empty here" in texts(tried(way[2:], someone("alice", submits(way))))


def test_root_does_not_wait_for_what_that_user_puts_there(
    way: list[JobView], tmp_path: Path
) -> None:
    (tmp_path / "state" / "launch.json").unlink()
    os.mkfifo(tmp_path / "state" / "launch.json")
    told = texts(tried(way[2:], someone("alice", submits(way))))
    assert "orders" not in told
    assert "complete, promise kept" in told


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: done("", "ef-sbatch: error: Invalid account", 1), "error: Invalid account"),
        (lambda _: done("no JSON", "", 0), "took nothing (exit code 0)"),
        (lambda _: done('{"job_id": null}', "", 3), "took nothing (exit code 3)"),
    ],
)
def test_slurm_or_the_daemon_does_not_take_it(
    way: list[JobView], answer: Answer, said: str
) -> None:
    (finding,) = tried(way, someone("alice", answer))
    assert finding.level is Level.ERROR
    assert said in finding.text


def test_no_promise(way: list[JobView]) -> None:
    alice = someone("alice", submits(way, "rejected", "ef-sbatch: full"))
    (finding,) = tried(way, alice)
    assert "was not promised, ten seconds on one GPU within an hour: full" in finding.text
    assert [words[0] for words in alice.ran] == ["ef-sbatch", "rm"]


def test_a_warning_at_submission_is_an_error_here(way: list[JobView]) -> None:
    findings = tried(way, someone("alice", submits(way, warning="ef-sbatch: warning: unreadable")))
    assert findings[0] == Finding(Level.ERROR, "try", "warning: unreadable")


def test_a_daemon_that_goes_away() -> None:
    def connect() -> Client:
        raise UnreachableError("nobody there")

    (finding,) = try_it(connect, someone("alice", lambda _: done()), None)
    assert "nobody there" in finding.text


class TestRights:
    def test_all_of_them(self) -> None:
        who = someone("alice", lambda _: done("12;cluster\n"))
        daemon = someone(
            "ef-slurm", lambda words: done("", "Job is pending", int("requeue" in words))
        )
        (finding,) = try_rights(SiteConfig(), who, daemon)
        assert finding.level is Level.OK
        assert "ef-slurm may update, hold, release, requeue and cancel a job of alice's" in (
            finding.text
        )
        assert ("scontrol", "update", "jobid=12", "TimeLimit=2") in daemon.ran

    def test_none(self) -> None:
        who = someone("alice", lambda _: done("12\n"))
        daemon = someone(
            "ef-slurm", lambda _: done("", "slurm_update: Access/permission denied", 1)
        )
        (finding,) = try_rights(SiteConfig(), who, daemon)
        assert finding.level is Level.ERROR
        assert "may not update, hold, release, requeue, cancel a job of alice's" in finding.text
        assert "set adminlevel=Operator" in finding.text
        assert who.ran[-1] == ("scancel", "12")

    def test_slurm_takes_no_job(self) -> None:
        who = someone("alice", lambda _: done("", "sbatch: error: Invalid account", 1))
        (finding,) = try_rights(SiteConfig(), who, someone("ef-slurm", lambda _: done()))
        assert "Slurm takes no job of alice's there: sbatch: error: Invalid account" in finding.text
