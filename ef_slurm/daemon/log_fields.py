"""Which job a line of the log is about: fields for the journal (`daemon/journal.py`)."""

from __future__ import annotations

from ef_slurm.model import EventKind, QueueJob


def about(job: QueueJob | None, event: EventKind) -> dict[str, str]:
    """For `extra=` of a logging call.

    Args:
        job: None for what concerns no job in particular.
        event: what it is, in the words of the audit log.
    """
    fields = {"ef_event": event.value}
    if job is not None:
        request = job.request
        fields |= {"ef_job_id": str(request.slurm_job_id), "ef_user": request.owner}
        fields |= {"ef_account": request.account} if request.account else {}
        fields |= {"ef_array_id": str(request.array.job_id)} if request.array else {}
    return fields
