"""A site in memory: Slurm, and a daemon that answers as it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ef_slurm.api.client import FailureError, UnreachableError
from ef_slurm.api.messages import (
    ActOnJob,
    Await,
    Cancel,
    Cancelled,
    ChangeJob,
    Failure,
    FailureCode,
    FindCurves,
    JobActedOn,
    JobChanged,
    KnownCurves,
    ListJobs,
    Ping,
    Pong,
    Register,
    Registered,
    Request,
    Response,
    Until,
)
from ef_slurm.model import (
    ChangeOutcome,
    JobDetail,
    JobList,
    JobState,
    JobView,
    Measuring,
    Outcome,
    PromiseOutcome,
    Reason,
    ReasonCode,
    StoredVerdict,
    Verdict,
)
from ef_slurm.python import jobs, submission
from ef_slurm.siteconfig.tables import JobsTable, SiteConfig
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.cli.conftest import NOW, VIEW


@dataclass
class Daemon:
    """Answers with one outcome; None: it is measured first."""

    outcome: Outcome | None = Outcome.PROMISED
    outcomes: list[Outcome] = field(default_factory=list)
    """Of the next submissions, before `outcome`."""
    ends: bool = False
    """Whether a job has ended as soon as somebody waits for that."""
    there: bool = True
    change: ChangeOutcome = ChangeOutcome.DONE
    asked: list[Request] = field(default_factory=list)
    jobs: dict[int, JobView] = field(default_factory=dict)

    def close(self) -> None:
        """Nothing."""

    def ask(self, request: Request) -> Response:
        self.asked.append(request)
        if not self.there:
            raise UnreachableError("nobody listens")
        match request:
            case Ping():
                return Pong("1", "c", 1, "alice", False, NOW, NOW, ("gpu",))
            case FindCurves():
                return KnownCurves(())
            case Register(registered):
                if self.outcomes:
                    self.outcome = self.outcomes.pop(0)
                self.jobs[registered.slurm_job_id] = self._view(request)
                return Registered(registered.slurm_job_id, created=True)
            case Await(job_id, until):
                if until is Until.END and self.ends:
                    self.jobs[job_id] = replace(self.jobs[job_id], state=JobState.COMPLETED)
                return JobDetail(self.jobs[job_id])
            case ListJobs():
                return JobList(NOW, tuple(self.jobs[i] for i in request.job_ids if i in self.jobs))
            case Cancel():
                return Cancelled(request.job_ids)
            case ActOnJob():
                self._known(request.job_id)
                return JobActedOn(request.job_id, f"job {request.job_id}: done")
            case ChangeJob():
                self._known(request.job_id)
                refused = Verdict(
                    "1",
                    Outcome.REJECTED,
                    Reason(ReasonCode.REJECTED),
                    earliest_deadline=NOW + 1000.0,
                )
                verdict = refused if self.change is ChangeOutcome.REFUSED else None
                return JobChanged(request.job_id, self.change, verdict, "so it is", NOW)
        raise AssertionError(request)

    def _known(self, job_id: int) -> None:
        if job_id not in self.jobs:
            raise FailureError(Failure(FailureCode.UNKNOWN_JOB, "not in ef-slurm's queue"))

    def _view(self, registration: Register) -> JobView:
        request = registration.job
        view = replace(
            VIEW,
            job_id=request.slurm_job_id,
            deadline=request.deadline,
            state=JobState.ADMITTED,
            promise_outcome=None,
        )
        if self.outcome is None:
            return replace(view, state=JobState.RUNNING, measuring=Measuring(NOW, "gpu", (4, 1)))
        rejected = self.outcome is Outcome.REJECTED
        verdict = StoredVerdict(
            1,
            1,
            NOW,
            self.outcome,
            Reason(ReasonCode.REJECTED if rejected else ReasonCode.STARTED, gpus=2),
            2,
            earliest_deadline=time.time() + 7200.0 if rejected else None,
        )
        state = JobState.REJECTED if rejected else JobState.ADMITTED
        promised = PromiseOutcome.OPEN if self.outcome is Outcome.PROMISED else None
        return replace(view, state=state, verdict=verdict, promise_outcome=promised)


@dataclass
class World:
    cluster: MemoryCluster
    daemon: Daemon
    directory: Path

    @property
    def registered(self) -> Register:
        """What was registered last."""
        return [one for one in self.daemon.asked if isinstance(one, Register)][-1]


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """The site; at the end nothing must have been printed."""
    cluster, daemon = MemoryCluster({"n1": 4}), Daemon()
    slurm = MemorySlurm(cluster, lambda: NOW, user="alice", operator=False)
    site = replace(SiteConfig(), jobs=replace(JobsTable(), state_root=tmp_path / "jobs"))
    for module in (submission, jobs):
        monkeypatch.setattr(module, "configuration", lambda _: site)
        monkeypatch.setattr(module, "connect", lambda *_: daemon)
        monkeypatch.setattr(module, "slurm_of", lambda _: slurm)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def main(*_, **__): pass\n")
    made = World(cluster, daemon, tmp_path)
    yield made
    assert capfd.readouterr() == ("", "")
