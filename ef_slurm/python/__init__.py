"""Jobs from Python, for notebooks and scripts: `ef_slurm.submit` and the job that it returns.

A second front of the commands, on the same functions: in come Python values, out come a `Job` or a
typed error. Nothing here prints or touches signals. Begin with `submission`; `options` makes
ef-sbatch's options of keywords, `function` a training script of a function, `jobs` asks about and
changes what was submitted, `errors` is what can go wrong. `ef_slurm` offers the names below and
imports this room when the first of them is asked for.
"""

from ef_slurm.model import JobState, PromiseOutcome, PromiseState
from ef_slurm.python.errors import (
    EfSlurmError,
    NoAnswerError,
    NotAllowedError,
    NotPromisedError,
    SlurmRefusedError,
    UnknownJobError,
    WrongOptionError,
)
from ef_slurm.python.jobs import GivenPromise, Job, job
from ef_slurm.python.submission import submit

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
