"""The row of a job with what the job itself reports in it."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.contract import Phase, Progress
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.script_numbers import count_training
from ef_slurm.model import QueueJob


def with_reports(job: QueueJob, status: JobStatus) -> QueueJob:
    """The row with the job's own reports in it."""
    launch, progress = status.launch, status.progress
    if launch is not None and launch.generation > job.generation:
        job = replace(job, generation=launch.generation, rate=None)
    if launch is not None and job.unbegun_starts:
        job = replace(job, unbegun_starts=0)
    if status.slurm.is_running:
        if job.first_started_at is None:
            job = replace(job, first_started_at=status.slurm.start_time)
        if progress is not None and progress.phase is not Phase.STARTING:
            job = _progressed(job, progress, status)
        return _checkpointed(job, status.reports)
    return at_checkpoint(job, status.reports)


def _progressed(job: QueueJob, progress: Progress, status: JobStatus) -> QueueJob:
    iteration, at = float(progress.iteration), progress.updated_at
    rate = job.rate if progress.iterations_per_second is None else progress.iterations_per_second
    measuring = count_training(job, progress, _gpus(status)).measuring
    if (iteration, at, rate, measuring) == (
        *(job.iteration, job.progress_at),
        *(job.rate, job.measuring),
    ):
        return job  # it was read in an earlier tick
    return replace(job, iteration=iteration, progress_at=at, rate=rate, measuring=measuring)


def _gpus(status: JobStatus) -> int:
    return sum(count for _, count in status.gpus)


def _checkpointed(job: QueueJob, reports: JobReports) -> QueueJob:
    progress = reports.progress
    if progress is None or progress.checkpoint_iteration is None:
        return job
    safe = float(progress.checkpoint_iteration)
    if safe > job.checkpoint_iteration:
        return replace(job, checkpoint_iteration=safe, failed_starts=0)
    return job


def at_checkpoint(job: QueueJob, reports: JobReports) -> QueueJob:
    """The row of a job that does not run: what is not in a checkpoint is gone."""
    job = _checkpointed(job, reports)
    progress = reports.progress
    if progress is None:
        return job
    if progress.phase is Phase.FINISHED:
        return replace(job, iteration=float(progress.iteration), progress_at=progress.updated_at)
    if job.iteration == job.checkpoint_iteration:
        return job  # as in most looks at it
    return replace(job, iteration=job.checkpoint_iteration)
