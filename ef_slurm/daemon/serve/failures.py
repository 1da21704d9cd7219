"""What whoever asked is told where their request could not be done."""

from __future__ import annotations

from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.plan.changes import NotAllowedError, NotPossibleError
from ef_slurm.model import ModelError
from ef_slurm.queue import queries
from ef_slurm.queue.errors import DuplicateJobError, LimitError, QueueError
from ef_slurm.slurm.errors import SlurmError


def failure_of(error: Exception) -> Failure | None:
    """What whoever asked is told of an error; None for one that nobody counted on."""
    match error:
        case RequestError():
            return error.failure
        case queries.UnknownJobError():
            return Failure(FailureCode.UNKNOWN_JOB, str(error))
        case ModelError() | DuplicateJobError() | LimitError():
            return Failure(FailureCode.BAD_REQUEST, str(error))
        case NotAllowedError():
            return Failure(FailureCode.DENIED, str(error))
        case NotPossibleError():
            return Failure(FailureCode.BAD_REQUEST, str(error))
        case SlurmError():
            return Failure(FailureCode.SLURM, error.message)
        case TimeoutError():
            return Failure(FailureCode.BUSY, "ef-schedd is busy: try again")
        case QueueError():
            return Failure(FailureCode.INTERNAL, str(error))
    return None
