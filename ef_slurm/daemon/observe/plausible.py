"""What a job can say of itself at all: nothing from the future, no more than there is to train."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.contract import Launch, Progress
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import MOST_ITERATIONS


def plausible(reports: JobReports, iterations: int | None, now: float) -> JobReports:
    """The reports, with what cannot be clipped to what can.

    Nodes' clocks differ from the daemon's by a little, and so a time that is not over yet is taken
    for the present one.

    Args:
        iterations: of the whole training; None where that is not known yet.
        now: by the daemon's clock, UTC epoch seconds.
    """
    launch, progress = reports.launch, reports.progress
    if launch is not None:
        launch = _launch(launch, now)
    if progress is not None:
        progress = _progress(progress, iterations, now)
    if launch is reports.launch and progress is reports.progress:
        return reports
    return replace(reports, launch=launch, progress=progress)


def _launch(launch: Launch, now: float) -> Launch:
    if max(launch.started_at, launch.updated_at) <= now:
        return launch
    return replace(
        launch, started_at=min(launch.started_at, now), updated_at=min(launch.updated_at, now)
    )


def _progress(progress: Progress, iterations: int | None, now: float) -> Progress:
    first, checkpoint = progress.first_iteration_at, progress.checkpoint_iteration
    process, last = progress.process_started_at, progress.last_iteration_at
    until = progress.trained_until
    most = MOST_ITERATIONS if iterations is None else iterations
    times = (progress.updated_at, progress.started_at, first, process, last, until)
    latest = max(moment or 0.0 for moment in times)
    if latest <= now and max(progress.iteration, checkpoint or 0) <= most:
        return progress
    return replace(
        progress,
        iteration=min(progress.iteration, most),
        checkpoint_iteration=None if checkpoint is None else min(checkpoint, most),
        started_at=min(progress.started_at, now),
        updated_at=min(progress.updated_at, now),
        first_iteration_at=None if first is None else min(first, now),
        process_started_at=None if process is None else min(process, now),
        last_iteration_at=None if last is None else min(last, now),
        trained_until=None if until is None else min(until, now),
    )
