"""A job whose id Slurm has given to another submission: its own is gone."""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.observe.ends import on_missing
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.transition import AuditEntry, Transition
from ef_slurm.model import EventKind, QueueJob


def on_recycled(job: QueueJob, reports: JobReports, now: float) -> Transition:
    """What to make of it: what of any job that Slurm does not know any more, and it says why."""
    transition = on_missing(job, reports, now)
    why = f"Slurm has given the id {job.request.slurm_job_id} to another submission"
    entry = AuditEntry(EventKind.ERROR, f"{why}: it had forgotten this one")
    return replace(transition, entries=(*transition.entries, entry))
