"""What is known of a job is made once for all who ask, and anew with whatever is learned."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.model import QueueJob
from ef_slurm.slurm.types import JobBaseState
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.daemon.make import launch, row

NOW = 1000.0


class _Dirs:
    """One job's reports."""

    def __init__(self) -> None:
        self.now = JobReports()

    def read(self, job: QueueJob) -> JobReports:  # noqa: ARG002 - there is one
        return self.now

    def read_all(self, jobs: tuple[QueueJob, ...]) -> list[JobReports]:
        return [self.read(job) for job in jobs]


def test_it_is_made_anew_with_whatever_is_learned() -> None:
    cluster = MemoryCluster({"n1": 4})
    known = cluster.add_job("user1", "train", now=NOW, uid=1001)
    plain = row()
    job = replace(plain, request=replace(plain.request, slurm_job_id=known.job_id))
    dirs, slurm = _Dirs(), MemorySlurm(cluster, lambda: NOW)
    observer = Observer(slurm, dirs, lambda: NOW)  # type: ignore[arg-type]
    observer.refresh()

    def status() -> JobStatus:
        found = observer.status(job)
        assert found is not None
        assert observer.status(job) is found
        return found

    assert status().slurm.state is JobBaseState.PENDING
    assert status().seen_pending == NOW
    dirs.now = JobReports(launch=launch(slurm_job_id=known.job_id))
    assert status().reports.launch is None  # not read since
    observer.read_reports([job])
    assert status().reports.launch is not None
    observer.expect_forgotten_run(known.job_id)
    assert status().forgotten_at == NOW
    observer.expect_new_run(known.job_id)
    assert status().forgotten_at is None
    observer.update(replace(status().slurm, state=JobBaseState.RUNNING, held=status().slurm.held))
    assert status().slurm.is_running
    assert status().seen_pending is None
    observer.refresh()
    assert status().slurm.state is JobBaseState.PENDING
    observer.drop(known.job_id)
    assert observer.status(job) is None


def test_a_clock_that_is_set_back_puts_nothing_ahead() -> None:
    cluster = MemoryCluster({"n1": 4})
    known = cluster.add_job("user1", "train", now=NOW, uid=1001)
    plain = row()
    job = replace(plain, request=replace(plain.request, slurm_job_id=known.job_id))
    times = [NOW]
    slurm = MemorySlurm(cluster, lambda: times[0])
    observer = Observer(slurm, _Dirs(), lambda: times[0])  # type: ignore[arg-type]
    observer.refresh()
    observer.expect_forgotten_run(known.job_id)
    for now in (NOW - 3600.0, NOW - 3590.0):
        times[0] = now
        observer.refresh()
        found = observer.status(job)
        assert found is not None
        assert (found.seen_pending, found.forgotten_at) == (NOW - 3600.0, NOW - 3600.0)
