"""ef-scancel: what is cancelled in Slurm, and of what the daemon is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner, Result

from ef_slurm.api.messages import Cancel, Cancelled, ListJobs, Request, Response
from ef_slurm.cli import scancel
from ef_slurm.model import CompanionState, CompanionView, JobList, JobState, JobView
from ef_slurm.siteconfig.tables import SiteConfig

Make = Callable[..., JobView]
Run = Callable[..., Result]


@dataclass
class Cluster:
    """A daemon that knows some jobs, and a Slurm that cancels whatever it is told to."""

    jobs: tuple[JobView, ...] = ()
    cancelled: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    def ask(self, request: Request) -> Response:
        if isinstance(request, ListJobs):
            return JobList(0.0, self.jobs)
        assert isinstance(request, Cancel)
        self.told += request.job_ids
        return Cancelled(request.job_ids)

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def cluster(job: Make, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    brought = (
        CompanionView(1240, ("n2",), CompanionState.JOINED),
        CompanionView(1239, ("n3",), CompanionState.ENDED),
    )
    found = Cluster((job(companions=brought), job(job_id=1300, state=JobState.COMPLETED)))
    monkeypatch.setattr(scancel, "configuration", lambda _: SiteConfig())
    monkeypatch.setattr(scancel, "slurm_of", lambda _: None)
    monkeypatch.setattr(scancel, "connect", lambda *_: found)
    monkeypatch.setattr(scancel, "cancel_in_slurm", lambda _, one: found.cancelled.append(one))
    return found


@pytest.fixture
def run() -> Run:
    return lambda *words: CliRunner().invoke(scancel._command, words, standalone_mode=False)


def test_a_companion_is_cancelled_alone(cluster: Cluster, run: Run) -> None:
    done = run("1240")
    assert done.return_value == 0, done.output
    assert cluster.cancelled == cluster.told == [1240]
    assert "1240 was a companion of job 1234, which goes on" in done.output
    assert "ef-scancel 1234 cancels all of it" in done.output


def test_its_job_is_cancelled_whole(cluster: Cluster, run: Run) -> None:
    assert run("1234,1240").return_value == 0
    assert cluster.cancelled == [1234]


def test_whoever_picks_by_name_means_jobs(cluster: Cluster, run: Run) -> None:
    assert run("--name=bert").return_value == 0
    assert cluster.cancelled == [1234]


def test_what_has_ended_is_left(cluster: Cluster, run: Run) -> None:
    done = run("1239", "1300")
    assert done.return_value == 0, done.output
    assert "job 1239 has ended already" in done.output
    assert "job 1300 has ended already" in done.output
    assert cluster.cancelled == []


def test_whom_nobody_knows(cluster: Cluster, run: Run) -> None:
    done = run("1241")
    assert done.return_value == 1
    assert "1241: no such job in ef-slurm's queue" in done.output
    assert cluster.cancelled == []


def test_one_is_asked_for_each(cluster: Cluster) -> None:
    asked = CliRunner().invoke(scancel._command, ("-i", "1240"), input="n\n", standalone_mode=False)
    assert "Cancel companion 1240 of job 1234?" in asked.output
    assert cluster.cancelled == []
