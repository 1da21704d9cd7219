"""Whether `job_submit.lua` guards a partition: asked of slurmctld, not of files."""

from __future__ import annotations

import enum
import re

from ef_slurm.slurm.errors import RefusedError, SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import Submission

REVISION = 2
"""Of the plugin that this release brings (site-config/slurm/job_submit.lua)."""

POINTER = "is scheduled by ef-slurm"
"""Words of the plugin's refusal."""
_REVISION = re.compile(rf"{POINTER}.*job_submit\.lua (\d{{1,9}})\)", re.S | re.A)


class Guard(enum.Enum):
    """Who refuses a plain submission to a partition."""

    NOBODY = "nobody"
    UNKNOWN = "unknown"  # Slurm does not answer, or refuses for another reason
    OLDER = "older"  # ef-slurm's plugin, of an older release
    CURRENT = "current"  # ef-slurm's plugin, of this release or of a newer one

    @property
    def is_ours(self) -> bool:
        """Whether ef-slurm's plugin does."""
        return self in (Guard.OLDER, Guard.CURRENT)


def guard_of(slurm: Slurm, partition: str) -> Guard:
    """Who refuses a plain submission there. Nothing is submitted.

    The plugin is asked before accounts and limits are.
    """
    options = (f"--partition={partition}", "--nodes=1", "--time=1", "--output=/dev/null")
    try:
        slurm.test(Submission("#!/bin/sh\ntrue\n", options))
    except RefusedError as error:
        return _refused(error.message)
    except SlurmError:
        return Guard.UNKNOWN
    return Guard.NOBODY


def _refused(message: str) -> Guard:
    if POINTER not in message:
        return Guard.UNKNOWN
    told = _REVISION.search(message)  # the first release's plugin has none
    return Guard.CURRENT if told is not None and int(told[1]) >= REVISION else Guard.OLDER
