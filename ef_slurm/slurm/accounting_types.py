"""What accounting says of QOS, accounts and users (sacctmgr(1)), as values.

TRES are amounts by Slurm's names ("gres/gpu", "cpu", "node"; "mem" in MiB). What is not limited is
left out, and None for numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Tres = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LimitSet:
    """What one QOS or one association limits.

    Args:
        group: of all jobs of the QOS, or of the account and those below it, together.
        group_jobs: how many of them run at a time.
        per_user, per_account: of the jobs of one user, of one account (QOS only).
        jobs_per_user, jobs_per_account: how many of those run at a time. An association's MaxJobs
            is its user's.
        per_job, per_node: of one job, and on each of its nodes; `least_per_job` at least (QOS).
        wall: the longest time limit of one job, in seconds.
    """

    group: Tres = field(default_factory=dict)
    group_jobs: int | None = None
    per_user: Tres = field(default_factory=dict)
    per_account: Tres = field(default_factory=dict)
    jobs_per_user: int | None = None
    jobs_per_account: int | None = None
    per_job: Tres = field(default_factory=dict)
    per_node: Tres = field(default_factory=dict)
    least_per_job: Tres = field(default_factory=dict)
    wall: float | None = None


@dataclass(frozen=True, slots=True)
class SlurmQos:
    """One QOS."""

    name: str
    limits: LimitSet = field(default_factory=LimitSet)
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SlurmAssociation:
    """One account (`user` is ""), or one user in it.

    Args:
        partition: the only one that it is about; "" for all.
        parent: the account above an account; "" for the topmost.
        qos: that may be used; `default_qos` is used where none is asked for ("" for none).
    """

    account: str
    user: str = ""
    partition: str = ""
    parent: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    limits: LimitSet = field(default_factory=LimitSet)


@dataclass(frozen=True, slots=True)
class Accounting:
    """All that was asked of accounting; empty where Slurm enforces no limits.

    Args:
        qos: every QOS.
        associations: every account, and the users that were asked about.
        default_accounts: theirs, by user.
    """

    qos: tuple[SlurmQos, ...] = ()
    associations: tuple[SlurmAssociation, ...] = ()
    default_accounts: Mapping[str, str] = field(default_factory=dict)
