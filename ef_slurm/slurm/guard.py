"""Whether `job_submit.lua` guards a partition: asked of slurmctld, not of files."""

from __future__ import annotations

from ef_slurm.slurm.errors import RefusedError, SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import Submission

POINTER = "is scheduled by ef-slurm"
"""Words of the plugin's refusal (site-config/slurm/job_submit.lua)."""


def is_guarded(slurm: Slurm, partition: str) -> bool | None:
    """Whether a plain submission there is refused by ef-slurm's plugin. Nothing is submitted.

    The plugin is asked before accounts and limits are. None where Slurm does not answer, or
    refuses for another reason.
    """
    options = (f"--partition={partition}", "--nodes=1", "--time=1", "--output=/dev/null")
    try:
        slurm.test(Submission("#!/bin/sh\ntrue\n", options))
    except RefusedError as error:
        return True if POINTER in error.message else None
    except SlurmError:
        return None
    return False
