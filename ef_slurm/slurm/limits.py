"""Which of Slurm's limits count for a job, by the order in which Slurm looks for them.

QOS come before associations, the partition's before the job's (unless that one has OverPartQOS), a
user before the account, and that before the accounts above it (Slurm's resource_limits page). For
each TRES the first that sets a limit counts, but that the limits of a group of jobs count at every
account above.

What is not here is left to Slurm, which refuses or does not start what passes it: minutes of TRES
(GrpTRESMins and the like), TRES that no job's shape says (energy, billing), and limits of
submissions, which sbatch refuses.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ef_slurm.formats.durations import format_duration
from ef_slurm.slurm.accounting_types import Accounting, LimitSet, SlurmAssociation, SlurmQos, Tres
from ef_slurm.slurm.site_types import SlurmPartition

JOBS = "jobs"
"""What a shared limit counts where it counts the jobs themselves."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose job it is, and what of Slurm's accounting it asks for; "" for its default.

    Args:
        time_limit: that it asks Slurm for, in seconds; None for not known.
    """

    user: str
    account: str = ""
    qos: str = ""
    partition: str = ""
    time_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of one job, or (`on_node`) of what it has on each node; `least`: at least so much."""

    tres: str
    amount: float
    words: str
    on_node: bool = False
    least: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Which jobs a shared limit counts: those that all of these fit; None fits every job."""

    qos: str | None = None
    user: str | None = None
    accounts: frozenset[str] | None = None
    partition: str | None = None

    def count(self, *, user: str, account: str, qos: str, partition: str) -> bool:
        """Whether a job is one of them."""
        return (
            self.qos in (None, qos)
            and self.user in (None, user)
            and (self.accounts is None or account in self.accounts)
            and self.partition in (None, partition)
        )


@dataclass(frozen=True, slots=True)
class Shared:
    """The most of a TRES, or of `JOBS`, that its members may use at a time."""

    tres: str
    amount: float
    words: str
    members: Members


@dataclass(frozen=True, slots=True)
class JobLimits:
    """All that counts for one job.

    Args:
        closed: why Slurm would not start it at any size, in words; "" if it would.
        longest: the longest time limit that it may have, in seconds, with `longest_by` in words.
    """

    bounds: tuple[Bound, ...] = ()
    shared: tuple[Shared, ...] = ()
    closed: str = ""
    longest: float = math.inf
    longest_by: str = ""


def limits_of(asker: Asker, accounting: Accounting, partition: SlurmPartition | None) -> JobLimits:
    """What counts for a job.

    Args:
        partition: the job's; None for not known.
    """
    account = asker.account or accounting.default_accounts.get(asker.user, "")
    chain = _chain(accounting.associations, asker.user, account, asker.partition)
    qos_name = asker.qos or _default_qos(chain)
    qos = {one.name: one for one in accounting.qos}
    of_job = qos.get(qos_name)
    of_partition = None if partition is None else qos.get(partition.qos)
    first = [(one, _members_of(one, of_partition, partition)) for one in (of_partition, of_job)]
    if of_job is not None and "OverPartQOS" in of_job.flags:
        first.reverse()
    ranked = [(one, members) for one, members in first if one is not None]
    if of_partition is not None and of_partition is of_job:
        ranked = ranked[:1]
    bounds = (*_bounds(ranked, chain), *_partition_bounds(partition, of_job))
    longest, by = _longest(ranked, chain, partition, of_job)
    closed = _closed(partition, account, qos_name)
    if asker.time_limit is not None and asker.time_limit > longest and not closed:
        closed = f"{by} (its time limit is {format_duration(asker.time_limit)})"
    shared = _shared(ranked, chain, asker.user, account, accounting.associations)
    return JobLimits(tuple(bounds), tuple(shared), closed, longest, by)


def _chain(
    associations: Iterable[SlurmAssociation], user: str, account: str, partition: str
) -> list[SlurmAssociation]:
    """The user's own association, the account's, and those above it."""
    accounts = {one.account: one for one in associations if not one.user}
    own = [
        one
        for one in associations
        if (one.user, one.account) == (user, account) and one.partition in ("", partition)
    ]
    chain = sorted(own, key=lambda one: not one.partition)[:1]
    while account in accounts and len(chain) <= len(accounts):
        chain.append(accounts[account])
        account = accounts[account].parent
    return chain


def _default_qos(chain: Iterable[SlurmAssociation]) -> str:
    """The QOS of a job that asks for none."""
    for one in chain:
        if one.default_qos or len(one.qos) == 1:
            return one.default_qos or one.qos[0]
        break
    return "normal"


def _members_of(
    one: SlurmQos | None, of_partition: SlurmQos | None, partition: SlurmPartition | None
) -> Members:
    if one is None or one is not of_partition or partition is None:
        return Members(qos=None if one is None else one.name)
    return Members(partition=partition.name)


Ranked = Collection[tuple[SlurmQos, Members]]


def _sources(ranked: Ranked, chain: Iterable[SlurmAssociation]) -> Iterator[tuple[LimitSet, str]]:
    """Every set of limits, the first that counts first, and whose it is."""
    for one, _ in ranked:
        yield one.limits, f"QOS {one.name}"
    for association in chain:
        yield association.limits, _name(association)


def _name(association: SlurmAssociation) -> str:
    if not association.user:
        return f"account {association.account}"
    return f"user {association.user} in account {association.account}"


def _bounds(ranked: Ranked, chain: Collection[SlurmAssociation]) -> Iterator[Bound]:
    seen: set[tuple[str, str]] = set()
    for limits, whose in _sources(ranked, chain):
        for kind, tres in (
            ("MaxTRESPerJob", limits.per_job),
            ("MaxTRESPerNode", limits.per_node),
            ("MinTRESPerJob", limits.least_per_job),
        ):
            for name, amount in tres.items():
                if (kind, name) in seen:
                    continue
                seen.add((kind, name))
                words = f"{kind}={name}={amount:g} of {whose}"
                on_node, least = kind == "MaxTRESPerNode", kind == "MinTRESPerJob"
                yield Bound(name, amount, words, on_node=on_node, least=least)


def _partition_bounds(partition: SlurmPartition | None, qos: SlurmQos | None) -> Iterator[Bound]:
    flags: frozenset[str] = frozenset() if qos is None else qos.flags
    if partition is None:
        return
    if partition.max_nodes is not None and "PartitionMaxNodes" not in flags:
        words = f"MaxNodes={partition.max_nodes} of partition {partition.name}"
        yield Bound("node", partition.max_nodes, words)
    if partition.min_nodes > 1 and "PartitionMinNodes" not in flags:
        words = f"MinNodes={partition.min_nodes} of partition {partition.name}"
        yield Bound("node", partition.min_nodes, words, least=True)


def _longest(
    ranked: Ranked,
    chain: Collection[SlurmAssociation],
    partition: SlurmPartition | None,
    qos: SlurmQos | None,
) -> tuple[float, str]:
    found: list[tuple[float, str]] = []
    overridden = qos is not None and "PartitionTimeLimit" in qos.flags
    if partition is not None and math.isfinite(partition.max_time) and not overridden:
        words = f"MaxTime={format_duration(partition.max_time)} of partition {partition.name}"
        found.append((partition.max_time, words))
    for limits, whose in _sources(ranked, chain):
        if limits.wall is not None:
            found.append((limits.wall, f"MaxWall={format_duration(limits.wall)} of {whose}"))
            break
    return min(found, default=(math.inf, ""))


_STARTS = frozenset({"UP", "DRAIN"})
"""States of a partition in which jobs that are queued start."""


def _closed(partition: SlurmPartition | None, account: str, qos: str) -> str:
    if partition is None:
        return ""
    of = f"of partition {partition.name}"
    if partition.state not in _STARTS:
        return f"State={partition.state} {of}"
    for key, allowed, denied, value in (
        ("Accounts", partition.allow_accounts, partition.deny_accounts, account),
        ("Qos", partition.allow_qos, partition.deny_qos, qos),
    ):
        if value and allowed and value not in allowed:
            return f"Allow{key}={','.join(allowed)} {of} ({value} is not there)"
        if value and not allowed and value in denied:
            return f"Deny{key}={','.join(denied)} {of}"
    return ""


def _shared(
    ranked: Ranked,
    chain: Collection[SlurmAssociation],
    user: str,
    account: str,
    associations: Iterable[SlurmAssociation],
) -> Iterator[Shared]:
    by_qos: set[tuple[str, str]] = set()
    for one, members in ranked:
        limits, whose = one.limits, f"QOS {one.name}"
        of_user = replace(members, user=user)
        of_account = replace(members, accounts=frozenset({account}))
        for kind, tres, who, extra in (
            ("GrpTRES", limits.group, members, ""),
            ("MaxTRESPerUser", limits.per_user, of_user, f" for {user}"),
            ("MaxTRESPerAccount", limits.per_account, of_account, f" for {account}"),
            ("GrpJobs", _jobs(limits.group_jobs), members, ""),
            ("MaxJobsPerUser", _jobs(limits.jobs_per_user), of_user, f" for {user}"),
            ("MaxJobsPerAccount", _jobs(limits.jobs_per_account), of_account, f" for {account}"),
        ):
            for name, amount in tres.items():
                if (kind, name) not in by_qos:
                    by_qos.add((kind, name))
                    words = f"{_said(kind, name, amount)} of {whose}{extra}"
                    yield Shared(name, amount, words, who)
    for place, association in enumerate(chain):
        limits, whose = association.limits, _name(association)
        if association.user:
            who = Members(user=user, accounts=frozenset({account}))
        else:
            who = Members(accounts=_below(association.account, associations))
        groups = [("GrpTRES", limits.group), ("GrpJobs", _jobs(limits.group_jobs))]
        if not place and association.user and ("MaxJobsPerUser", JOBS) not in by_qos:
            groups.append(("MaxJobs", _jobs(limits.jobs_per_user)))
        for kind, tres in groups:
            for name, amount in tres.items():
                if (kind, name) not in by_qos:
                    yield Shared(name, amount, f"{_said(kind, name, amount)} of {whose}", who)


def _said(kind: str, name: str, amount: float) -> str:
    return f"{kind}={amount:g}" if name == JOBS else f"{kind}={name}={amount:g}"


def _jobs(count: int | None) -> Tres:
    return {} if count is None else {JOBS: float(count)}


def _below(account: str, associations: Iterable[SlurmAssociation]) -> frozenset[str]:
    """An account and all that are below it."""
    parents: Mapping[str, str] = {one.account: one.parent for one in associations if not one.user}
    found = {account}
    while True:
        more = {name for name, parent in parents.items() if parent in found} - found
        if not more:
            return frozenset(found)
        found |= more
