"""What this launch is to do: the job's variables, and what the script says besides."""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ef_slurm.contract import ContractError, JobEnvironment

logger = logging.getLogger(__name__)


def environment(
    overrides: Mapping[str, Any], *, epochs: float | None = None, samples: int = 0
) -> JobEnvironment:
    """The job's variables, completed by what the script says.

    The variables win, as the promise was made for them; a script that says something else is
    warned, and the daemon is told too.

    Args:
        overrides: what the script says, by field; None for nothing.
        epochs: passes over the data set, instead of iterations.
        samples: of the data set.

    Raises:
        ContractError: a variable does not hold what it must, or the script says two things.
    """
    found = JobEnvironment.read(os.environ)
    said = {name: _counted(value) for name, value in overrides.items() if value is not None}
    if found.epochs is not None and found.iterations is None:
        if not samples:
            raise ContractError(
                f"EF_EPOCHS={found.epochs:g}: nobody knows here how many samples there are: submit "
                "it with --iterations"
            )
        said.pop("iterations", None)
        epochs = found.epochs
    if epochs is not None:
        if "iterations" in said:
            raise ContractError(f"iterations={said['iterations']} and epochs={epochs}: give one")
        batch = found.global_batch_size or said.get("global_batch_size")
        if batch:
            said["iterations"] = max(1, math.ceil(epochs * samples / batch))
    missing: dict[str, Any] = {}
    for name, value in said.items():
        given = getattr(found, name)
        if given is None:
            missing[name] = value
        elif given != value and name != "state_dir":
            logger.warning("%s is %s as submitted, not %s as the script says", name, given, value)
    return replace(
        found,
        **missing,
        script_iterations=said.get("iterations"),
        script_global_batch_size=said.get("global_batch_size"),
    )


def _counted(value: Any) -> Any:
    """A count that is written as 1e4, which Python has as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def targets(environment: JobEnvironment) -> tuple[int, int]:
    """Iterations, and samples per iteration.

    Raises:
        ContractError: neither the job's variables nor the script say so, or the script says no
            such numbers.
    """
    # Submitted without them, a job is told here what is missing: nobody else can know.
    if environment.global_batch_size is None:
        raise ContractError(
            "how many samples per iteration? Give global_batch_size= in the script, or submit it "
            "with --global-batch-size (EF_GLOBAL_BATCH_SIZE)"
        )
    if environment.iterations is None:
        raise ContractError(
            "how many iterations? Give iterations= (or epochs=) in the script, or submit it with "
            "--iterations (EF_ITERATIONS)"
        )
    for name, least in (("iterations", 0), ("global_batch_size", 1)):
        number = getattr(environment, name)
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ContractError(f"{name}={number!r}: expected a whole number of {least} or more")
    return environment.iterations, environment.global_batch_size
