"""ef-slurm: deadlines instead of GPU counts on stock Slurm clusters.

The package brings ElasticFlow (Gu et al., ASPLOS 2023) to Slurm. `docs/architecture.md` walks
through it. `ef_slurm.model` holds the words that every room of the package shares;
`ef_slurm.planner` is the paper; `ef_slurm.daemon` connects it to Slurm, `ef_slurm.training` to the
training script.

For notebooks and scripts: `ef_slurm.submit`, `ef_slurm.job` and their errors (docs/python.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ef_slurm.python import (
        EfSlurmError,
        GivenPromise,
        Job,
        JobState,
        NoAnswerError,
        NotAllowedError,
        NotPromisedError,
        PromiseOutcome,
        PromiseState,
        SlurmRefusedError,
        UnknownJobError,
        WrongOptionError,
        job,
        submit,
    )

__all__ = [
    "EfSlurmError",
    "GivenPromise",
    "Job",
    "JobState",
    "NoAnswerError",
    "NotAllowedError",
    "NotPromisedError",
    "PromiseOutcome",
    "PromiseState",
    "SlurmRefusedError",
    "UnknownJobError",
    "WrongOptionError",
    "job",
    "submit",
]


def __getattr__(name: str) -> object:
    """The names above, when the first of them is asked for: jobs import this package, too."""
    if name in __all__:
        return getattr(import_module("ef_slurm.python"), name)
    raise AttributeError(f"module 'ef_slurm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
