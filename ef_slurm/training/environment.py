"""What this launch is to do: the job's variables, and what the script says besides."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ef_slurm.contract import ContractError, JobEnvironment

logger = logging.getLogger(__name__)


def environment(overrides: Mapping[str, Any]) -> JobEnvironment:
    """The job's variables, completed by what the script says.

    The variables win, as the promise was made for them; a script that says something else is
    warned.

    Raises:
        ContractError: a variable does not hold what it must.
    """
    found = JobEnvironment.read(os.environ)
    missing: dict[str, Any] = {}
    for name, value in overrides.items():
        if value is None:
            continue
        given = getattr(found, name)
        if given is None:
            missing[name] = value
        elif given != value and name != "state_dir":
            logger.warning("%s is %s as submitted, not %s as the script says", name, given, value)
    return replace(found, **missing)


def targets(environment: JobEnvironment) -> tuple[int, int]:
    """Iterations, and samples per iteration.

    Raises:
        ContractError: neither the job's variables nor the script say so.
    """
    if environment.iterations is None:
        raise ContractError("how many iterations? Set EF_ITERATIONS or give iterations=")
    if environment.global_batch_size is None:
        raise ContractError(
            "how many samples per iteration? Set EF_GLOBAL_BATCH_SIZE or give global_batch_size="
        )
    return environment.iterations, environment.global_batch_size
