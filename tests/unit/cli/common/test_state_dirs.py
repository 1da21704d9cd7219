"""State directories: whose may be removed, when, and that nothing else goes with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api.messages import ListJobs, Register, Request, Response
from ef_slurm.cli.common import state_dirs
from ef_slurm.cli.common.state_dirs import bytes_held, expired, is_mine, remove
from ef_slurm.cli.sbatch.expiry import remove_expired
from ef_slurm.formats.codec import pretty
from ef_slurm.model import BatchScript, JobKind, JobList, JobRequest, JobState, JobView
from ef_slurm.siteconfig.tables import JobsTable

NOW = 1_700_000_000.0
DAY = 86400.0
Make = Callable[..., JobView]


def made(root: Path, name: str, *, age: float = 0.0, request: bool = True) -> Path:
    path = root / name
    (path / "checkpoint" / "10").mkdir(parents=True)
    (path / "checkpoint" / "10" / "state.safetensors").write_bytes(b"x" * 100_000)
    (path / "progress.json").write_text("{}")
    if request:
        job = JobRequest(
            slurm_job_id=77,
            owner="alice",
            uid=1,
            name="bert",
            submitted=NOW,
            kind=JobKind.BEST_EFFORT,
            iterations=10,
            global_batch_size=8,
            curves=(),
            state_dir=str(path),
        )
        (path / "request.json").write_text(pretty(Register(job, BatchScript("#!/bin/sh\n"))))
    for file in path.iterdir():
        os.utime(file, (NOW - age, NOW - age))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "jobs"
    root.mkdir()
    return root


def ended(job: Make, path: Path, days: float, state: JobState = JobState.COMPLETED) -> JobView:
    at = None if state is JobState.RUNNING else NOW - days * DAY
    return job(job_id=int(path.name), state=state, state_dir=str(path), ended=at)


def found(root: Path, *jobs: JobView, wanted: tuple[int, ...] = ()) -> list[str]:
    return [one.path.name for one in expired(jobs, root, NOW - 30 * DAY, wanted)]


def test_of_jobs_that_ended_long_enough_ago(root: Path, job: Make) -> None:
    views = [ended(job, made(root, str(days)), days) for days in (10, 29, 31, 400)]
    running = ended(job, made(root, "1", age=400 * DAY), 0, JobState.RUNNING)
    assert found(root, *views, running) == ["31", "400"]
    # Named, they go however long ago; what goes on does not.
    assert found(root, *views, running, wanted=(10, 1)) == ["10"]


def test_of_jobs_that_the_queue_has_forgotten(root: Path) -> None:
    made(root, "old", age=40 * DAY)
    made(root, "young", age=20 * DAY)
    made(root, "foreign", age=400 * DAY, request=False)  # nothing says that it is a job's
    (root / "file").write_text("")
    (root / "link").symlink_to(root / "old")
    assert found(root) == ["old"]


def test_nobody_elses(root: Path, job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    view = ended(job, made(root, "31"), 31)
    made(root, "old", age=40 * DAY)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert found(root, view) == []


def test_a_link_is_not_followed(root: Path, tmp_path: Path, job: Make) -> None:
    """A state directory that its owner has replaced by a link to something of theirs, or ours."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("years of work")
    path = made(root, "31")
    shutil.rmtree(path)
    path.symlink_to(precious)
    assert not is_mine(path)
    assert found(root, ended(job, path, 31)) == []
    inside = made(root, "32")
    (inside / "checkpoint" / "away").symlink_to(precious)
    remove(inside)
    assert (precious / "thesis").read_text() == "years of work"
    assert not inside.exists()


def test_killed_on_the_way_the_rest_goes_next_time(
    root: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(root, "31")

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(state_dirs.shutil, "rmtree", killed)  # type: ignore[attr-defined]
        with pytest.raises(KeyboardInterrupt):
            remove(path)
    (left,) = expired([ended(job, path, 31)], root, NOW - 30 * DAY)
    assert left.path.name == ".purged.31"
    remove(left.path)
    assert list(root.iterdir()) == []


def test_what_it_holds_counts_every_file_once(root: Path) -> None:
    path = made(root, "31")
    first = bytes_held(path)
    assert first is not None
    assert first >= 100_000
    state = path / "checkpoint" / "10" / "state.safetensors"
    os.link(state, path / "checkpoint" / "again")
    (path / "loop").symlink_to(path)
    again = bytes_held(path)
    assert again is not None
    assert again - first < 20_000
    assert bytes_held(root / "nowhere") is None


def test_the_next_submission_keeps_the_sites_rule(root: Path, job: Make) -> None:
    old, young = made(root, "31"), made(root, "10")
    views = (ended(job, old, 31), ended(job, young, 10))

    class Daemon:
        def ask(self, request: Request) -> Response:
            assert isinstance(request, ListJobs)
            assert request.all
            return JobList(NOW, views)

        def close(self) -> None:
            """Nothing."""

    told: list[str] = []
    rule = replace(JobsTable(), state_root=root, keep_state_days=30.0)
    remove_expired(Daemon(), rule, NOW, told.append)
    assert (old.exists(), young.exists()) == (False, True)
    assert "1 jobs left that ended more than 30 days ago" in told[0]
