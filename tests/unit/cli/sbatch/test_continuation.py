"""`--continue`: which checkpoints a new job begins with, and what it takes over of the words."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api.messages import ListJobs, Register, Request, Response
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.continuation import (
    Source,
    find_source,
    refuse_what_is_done,
    remember_command,
    take_over,
)
from ef_slurm.cli.sbatch.given import Given, go_on
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.formats.codec import pretty
from ef_slurm.model import (
    BatchScript,
    IfInfeasible,
    JobKind,
    JobList,
    JobRequest,
    JobState,
    JobView,
)
from ef_slurm.slurm.types import JobBaseState
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm

NOW = 1_700_000_000.0
Make = Callable[..., JobView]


class Daemon:
    """Answers with the jobs that it knows."""

    def __init__(self, *jobs: JobView) -> None:
        self.jobs = jobs

    def ask(self, request: Request) -> Response:
        assert isinstance(request, ListJobs)
        return JobList(NOW, tuple(job for job in self.jobs if job.job_id in request.job_ids))

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def slurm() -> MemorySlurm:
    return MemorySlurm(MemoryCluster({"n1": 4}), lambda: NOW, user="alice", operator=False)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The state directory of a job that has ended at iteration 150."""
    path = tmp_path / "jobs" / "before"
    for iteration in ("100", "150"):
        directory = path / "checkpoint" / iteration
        directory.mkdir(parents=True)
        (directory / "manifest.json").write_text(iteration)
        (directory / "state.safetensors").write_bytes(b"x" * 1000)
    (path / "checkpoint" / ".160.3.tmp").mkdir()  # begun, and never complete
    (path / "progress.json").write_text("{}")
    return path


def find(text: str, slurm: MemorySlurm, *jobs: JobView) -> Source:
    return find_source(text, Daemon(*jobs), slurm, lambda _: None)


def ended(job: Make, before: Path, state: JobState = JobState.FAILED) -> JobView:
    return job(job_id=12, state=state, state_dir=str(before))


@pytest.mark.parametrize("number", ["0", "99999999999999999999", "9" * 5000])
def test_numbers_that_no_job_has(slurm: MemorySlurm, number: str) -> None:
    with pytest.raises(UsageError, match="is no job id"):
        find_source(number, Daemon(), slurm, print)


@pytest.mark.parametrize(
    "state", [JobState.FAILED, JobState.CANCELLED, JobState.COMPLETED, JobState.LOST]
)
def test_of_a_job_that_has_ended(
    job: Make, before: Path, slurm: MemorySlurm, state: JobState
) -> None:
    source = find("12", slurm, ended(job, before, state))
    assert (source.directory, source.iterations, source.done) == (before, (100, 150), 150)


def test_of_a_directory_that_nobody_knows_any_more(before: Path, slurm: MemorySlurm) -> None:
    assert find(str(before), slurm).done == 150


def request_of(before: Path) -> Register:
    request = JobRequest(
        slurm_job_id=12,
        owner="alice",
        uid=1,
        name="bert",
        submitted=NOW,
        kind=JobKind.BEST_EFFORT,
        iterations=100,
        global_batch_size=8,
        curves=(),
        state_dir=str(before),
        if_infeasible=IfInfeasible.REJECT,
    )
    return Register(request, BatchScript("#!/bin/sh\n"))


@pytest.mark.parametrize("by_directory", [True, False])
def test_a_job_that_goes_on_is_left_alone(
    job: Make,
    before: Path,
    slurm: MemorySlurm,
    monkeypatch: pytest.MonkeyPatch,
    by_directory: bool,
) -> None:
    monkeypatch.setattr("ef_slurm.cli.sbatch.continuation.NEWS_SECONDS", 0.0)
    (before / "request.json").write_text(pretty(request_of(before)))
    text = str(before) if by_directory else "12"
    with pytest.raises(UsageError, match="job 12 is running: .*ef-scancel 12"):
        find(text, slurm, ended(job, before, JobState.RUNNING))
    # The same id again, of another directory: Slurm recycles them.
    other = job(job_id=12, state=JobState.RUNNING, state_dir="/elsewhere")
    assert find(str(before), slurm, other).done == 150


def test_a_job_that_is_just_being_ended_is_waited_for(
    job: Make, before: Path, slurm: MemorySlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = slurm._cluster.add_job("alice", "bert", now=NOW)
    running.job_id, running.state, running.nodes = running.job_id, JobBaseState.RUNNING, ("n1",)
    told: list[str] = []

    def saved(_: float) -> None:
        (before / "checkpoint" / "170").mkdir()
        running.state, running.ended = JobBaseState.CANCELLED, NOW
        running.completing_until = None

    monkeypatch.setattr(time, "sleep", saved)
    view = job(job_id=running.job_id, state=JobState.CANCELLED, state_dir=str(before))
    source = find_source(str(running.job_id), Daemon(view), slurm, told.append)
    assert source.done == 170
    assert told == [f"Waiting for job {running.job_id} to save its checkpoint"]


def test_what_is_not_there_is_named(before: Path, slurm: MemorySlurm, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such job, or not any more"):
        find("13", slurm)
    with pytest.raises(UsageError, match="No such file"):
        find(str(tmp_path / "nowhere"), slurm)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no checkpoint in"):
        find(str(tmp_path / "empty"), slurm)
    (tmp_path / "link").symlink_to(before)
    with pytest.raises(UsageError, match="no directory"):
        find(str(tmp_path / "link"), slurm)


def test_somebody_elses_checkpoints_are_not_taken(
    before: Path, slurm: MemorySlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(UsageError, match="belongs to uid"):
        find(str(before), slurm)


@pytest.mark.parametrize("links", [True, False])
def test_the_new_directory_has_the_same_checkpoints_and_nothing_else(
    before: Path, slurm: MemorySlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
    new = tmp_path / "jobs" / "new"
    new.mkdir()
    take_over(find(str(before), slurm), new)
    assert sorted(path.name for path in new.iterdir()) == ["checkpoint"]
    assert sorted(path.name for path in (new / "checkpoint").iterdir()) == ["100", "150"]
    state, old = (path / "checkpoint" / "150" / "state.safetensors" for path in (new, before))
    assert state.read_bytes() == old.read_bytes()
    assert state.samefile(old) is links
    # Neither lives on what the other does with its own.
    old.unlink()
    assert state.read_bytes() == b"x" * 1000


class TestWords:
    """Without a script it is the same training again."""

    def given(self, *words: str) -> Given:
        options, rest = ALL_OPTIONS.parse(words, "command line")
        return Given(options, rest, words)

    @pytest.fixture
    def source(self, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.chdir(tmp_path)
        remember_command(
            (
                *("--deadline=+1h", "--account=nlp", "--iterations=200", "--parsable"),
                *("--time=1:00:00", "train.py", "--lr", "0.1"),
            ),
            before,
        )
        noted = json.loads((before / "command.json").read_text())
        return Source(before, (150,), tuple(noted["words"]), Path(noted["directory"]))

    def test_the_same_but_for_what_is_given(
        self, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        both = go_on(self.given("--continue=12", "--deadline=+4h", "--iterations=300"), source)
        assert [one.text for one in both.before] == ["--account=nlp", "--iterations=200"]
        assert both.rest == ["train.py", "--lr", "0.1"]
        assert Path.cwd() == tmp_path
        # Another one may go on from it in the same way.
        again = go_on(
            self.given("--continue=13", "--deadline=+8h"), replace(source, words=both.words)
        )
        assert [one.text for one in again.before] == [
            "--account=nlp",
            "--iterations=200",
            "--iterations=300",
        ]

    @pytest.mark.parametrize(("iterations", "left"), [(None, 1), (151, 1), (150, 0), (20, 0)])
    def test_what_has_nothing_left_to_do_is_refused(
        self, source: Source, iterations: int | None, left: int
    ) -> None:
        if left:
            refuse_what_is_done(source, iterations)
        else:
            with pytest.raises(UsageError, match=rf"--iterations={iterations}: .*iteration 150"):
                refuse_what_is_done(source, iterations)

    def test_a_script_that_is_given_counts(self, source: Source) -> None:
        given = self.given("--continue=12", "--deadline=+4h", "other.py")
        assert go_on(given, source) is given

    def test_nothing_is_known_of_older_directories(self, source: Source) -> None:
        given = self.given("--continue=12", "--deadline=+4h")
        with pytest.raises(UsageError, match="which script"):
            go_on(given, replace(source, words=None))
