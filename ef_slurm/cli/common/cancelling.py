"""Cancelling a job where it is: in Slurm."""

from __future__ import annotations

from contextlib import suppress

from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.interface import Slurm


def cancel_in_slurm(slurm: Slurm, job_id: int) -> None:
    """Cancel a job in Slurm; one that Slurm has forgotten is only in the queue any more.

    Raises:
        NotPermittedError: it is somebody else's.
        SlurmError: Slurm refused or does not answer.
    """
    with suppress(NoSuchJobError):
        slurm.cancel(job_id)
