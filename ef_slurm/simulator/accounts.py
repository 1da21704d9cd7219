"""Who got what: a simulation by account, and what is particular to an account.

>>> parse_share("vision=8", "--limit", "GPUs")
('vision', 8.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ef_slurm.formats.durations import describe_duration
from ef_slurm.formats.numbers import parse_number
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.metrics import best_effort_completion, gpu_seconds, is_in_grace, is_met
from ef_slurm.simulator.simulate import Result
from ef_slurm.simulator.simulated_job import SimulatedJob

HEADINGS = (
    "policy",
    "account",
    "jobs",
    "deadlines",
    "in time",
    "ratio",
    "in grace",
    "BE jobs",
    "BE compl.",
    "GPU-hours",
    "share",
)


@dataclass(frozen=True, slots=True)
class AccountNumbers:
    """What the jobs of one account got under one policy. The names are those of `--json`.

    Args:
        policy: as tables call it.
        account: whose; "" where the trace does not say.
        jobs: of the account.
        deadline_jobs: those with a deadline.
        met: of them, those that finished in time.
        ratio: met / deadline_jobs; None without any.
        met_in_grace: of the others, those that finished within their grace.
        best_effort_jobs: those without a deadline.
        best_effort_completion_seconds: mean from submission to completion; None if none finished.
        gpu_hours: that its jobs held.
        share: of the GPU-hours that all jobs held, 0 to 1.
    """

    policy: str
    account: str
    jobs: int
    deadline_jobs: int
    met: int
    ratio: float | None
    met_in_grace: int
    best_effort_jobs: int
    best_effort_completion_seconds: float | None
    gpu_hours: float
    share: float


def by_account(result: Result) -> tuple[AccountNumbers, ...]:
    """What each account got, in order of their names."""
    everything = math.fsum(map(gpu_seconds, result.jobs))
    accounts = sorted({job.spec.account for job in result.jobs})
    return tuple(
        _numbers(
            result.metrics.label,
            account,
            [job for job in result.jobs if job.spec.account == account],
            everything,
        )
        for account in accounts
    )


def _numbers(
    policy: str, account: str, jobs: Sequence[SimulatedJob], everything: float
) -> AccountNumbers:
    wanted = [job for job in jobs if job.spec.deadline is not None]
    met = sum(map(is_met, wanted))
    held = math.fsum(map(gpu_seconds, jobs))
    return AccountNumbers(
        policy=policy,
        account=account,
        jobs=len(jobs),
        deadline_jobs=len(wanted),
        met=met,
        ratio=met / len(wanted) if wanted else None,
        met_in_grace=sum(map(is_in_grace, wanted)) - met,
        best_effort_jobs=len(jobs) - len(wanted),
        best_effort_completion_seconds=best_effort_completion(jobs),
        gpu_hours=held / 3600,
        share=held / everything if everything else 0.0,
    )


def several_accounts(results: Iterable[Result]) -> bool:
    """Whether the jobs are of more than one account, or of one that has a name."""
    return any(job.spec.account for result in results for job in result.jobs)


def cells(numbers: AccountNumbers) -> tuple[str, ...]:
    """An account's row under `HEADINGS`."""
    seconds = numbers.best_effort_completion_seconds
    return (
        numbers.policy,
        numbers.account or "-",
        str(numbers.jobs),
        str(numbers.deadline_jobs),
        str(numbers.met),
        "-" if numbers.ratio is None else f"{numbers.ratio:.3f}",
        str(numbers.met_in_grace),
        str(numbers.best_effort_jobs),
        "-" if seconds is None else describe_duration(seconds),
        f"{numbers.gpu_hours:,.0f}",
        f"{numbers.share:.1%}",
    )


def parse_share(text: str, option: str, what: str) -> tuple[str, float]:
    """ACCOUNT=NUMBER as `--limit` and `--weight` take it.

    Raises:
        SimulatorError: it is none.
    """
    account, equals, number = text.partition("=")
    value = parse_number(number)
    if not equals or not account or value is None or value < 0:
        raise SimulatorError(f"{option} {text!r} is not valid: ACCOUNT={what}, as vision=8")
    return account, value
