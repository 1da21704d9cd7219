"""`sacctmgr show qos|association|user` → `Accounting`.

Text with columns that are asked for by name, which 22.05, 24.11 and 26.05 all have. `sacctmgr`
shows a user's own limits with those that the accounts above set (but for the Grp ones, which are
theirs alone).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from ef_slurm.formats.durations import DurationError, parse_time_limit
from ef_slurm.slurm.accounting_types import (
    Accounting,
    LimitSet,
    SlurmAssociation,
    SlurmQos,
    Tres,
)
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import UnexpectedOutputError

_QOS = (
    "Name,Flags,GrpTRES,GrpJobs,MaxTRESPerUser,MaxTRESPerAccount,MaxJobsPerUser,"
    "MaxJobsPerAccount,MaxTRESPerJob,MaxTRESPerNode,MinTRESPerJob,MaxWall"
)
_ASSOCIATIONS = (
    "Account,User,Partition,ParentName,QOS,DefaultQOS,GrpTRES,GrpJobs,MaxJobs,MaxTRES,"
    "MaxTRESPerNode,MaxWall"
)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)", re.A | re.I)


def read_accounting(runner: Runner, cluster: str, users: Collection[str]) -> Accounting:
    """What accounting has of every QOS and account of a cluster, and of these users.

    Raises:
        SlurmError: slurmdbd does not answer, or not as known.
    """
    ours = (f"cluster={cluster}",) if cluster else ()
    names = ",".join(sorted(users))
    associations = [*_associations(_show(runner, "association", _ASSOCIATIONS, *ours, "user="))]
    defaults: dict[str, str] = {}
    if names:
        rows = _show(runner, "association", _ASSOCIATIONS, *ours, f"user={names}")
        associations += _associations(rows)
        defaults = dict(_show(runner, "user", "User,DefaultAccount", f"name={names}"))
    qos = tuple(_qos_of(row) for row in _show(runner, "qos", _QOS))
    return Accounting(qos, tuple(associations), defaults)


def _show(runner: Runner, what: str, columns: str, *where: str) -> list[list[str]]:
    """Rows; none of an account with a separator in its name, as a coordinator may call one.

    Raises:
        UnexpectedOutputError: one has too few columns, as where a line break is in a name.
    """
    condition = ("where", *where) if where else ()
    command = ("sacctmgr", "--noheader", "--parsable2", "show", what)
    answer = runner.query((*command, *condition, f"format={columns}")).stdout
    wanted, rows = columns.count(",") + 1, []
    for line in filter(str.strip, answer.split("\n")):
        row = line.split("|")
        if len(row) < wanted:
            raise UnexpectedOutputError(f"sacctmgr wrote {line[:80]!r}, not {wanted} columns")
        if len(row) == wanted:
            rows.append(row)
    return rows


def _qos_of(row: list[str]) -> SlurmQos:
    name, flags, group, jobs, user, account, of_user, of_account, job, node, least, wall = row
    limits = LimitSet(
        group=parse_tres(group),
        group_jobs=_count(jobs),
        per_user=parse_tres(user),
        per_account=parse_tres(account),
        jobs_per_user=_count(of_user),
        jobs_per_account=_count(of_account),
        per_job=parse_tres(job),
        per_node=parse_tres(node),
        least_per_job=parse_tres(least),
        wall=_wall(wall),
    )
    return SlurmQos(name, limits, frozenset(_names(flags)))


def _associations(rows: list[list[str]]) -> Iterator[SlurmAssociation]:
    """Each once: of two one is a part of somebody's name.

    Raises:
        UnexpectedOutputError: one is there twice.
    """
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        account, user, partition, parent, qos, default, group, jobs, most, job, node, wall = row
        if (account, user, partition) in seen:
            raise UnexpectedOutputError(f"sacctmgr wrote {'|'.join(row)[:80]!r} twice")
        seen.add((account, user, partition))
        limits = LimitSet(
            group=parse_tres(group),
            group_jobs=_count(jobs),
            jobs_per_user=_count(most),
            per_job=parse_tres(job),
            per_node=parse_tres(node),
            wall=_wall(wall),
        )
        yield SlurmAssociation(account, user, partition, parent, _names(qos), default, limits)


def parse_tres(text: str) -> Tres:
    """Amounts by name; -1 is how a limit is taken away.

    Raises:
        UnexpectedOutputError: no list of TRES.

    >>> parse_tres("cpu=8,gres/gpu:a100=4,mem=1.50G")
    {'cpu': 8.0, 'gres/gpu:a100': 4.0, 'mem': 1536.0}
    """
    found: dict[str, float] = {}
    for word in _names(text):
        name, _, amount = word.partition("=")
        match = _AMOUNT.fullmatch(amount)
        if amount == "-1":
            continue
        if not name or match is None:
            raise UnexpectedOutputError(f"sacctmgr wrote {word!r}, no limit of a TRES")
        unit = match[2].upper()
        # Memory is in MiB, whatever the unit; a plain number is MiB already.
        factor = 1024.0 ** ("KMGTP".index(unit) - 1 if name == "mem" else "KMGTP".index(unit) + 1)
        found[name] = float(match[1]) * (factor if unit else 1.0)
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _count(text: str) -> int | None:
    word = text.strip()
    if word and not re.fullmatch(r"-?\d+", word, re.A):
        raise UnexpectedOutputError(f"sacctmgr wrote {word!r}, no number of jobs")
    return int(word) if word and int(word) >= 0 else None


def _wall(text: str) -> float | None:
    try:
        return parse_time_limit(text)
    except DurationError as error:
        raise UnexpectedOutputError(f"sacctmgr wrote MaxWall={text}: {error}") from error
