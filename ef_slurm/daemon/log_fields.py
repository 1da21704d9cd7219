"""Which job a line of the log is about: fields for the journal (`daemon/journal.py`)."""

from __future__ import annotations

from ef_slurm.model import EventKind, QueueJob


def about(job: QueueJob | None, event: EventKind) -> dict[str, str]:
    """For `extra=` of a logging call.

    Args:
        job: None for what concerns no job in particular.
        event: what it is, in the words of the audit log.
    """
    fields = {"EF_EVENT": event.value}
    if job is not None:
        request = job.request
        fields |= {"EF_JOB_ID": str(request.slurm_job_id), "EF_USER": request.owner}
        fields |= {"EF_ACCOUNT": request.account} if request.account else {}
        fields |= {"EF_ARRAY_ID": str(request.array.job_id)} if request.array else {}
    return fields
