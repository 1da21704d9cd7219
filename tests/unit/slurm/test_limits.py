"""Which of Slurm's limits count for a job."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ef_slurm.slurm.accounting_types import Accounting, LimitSet, SlurmAssociation, SlurmQos
from ef_slurm.slurm.limits import JOBS, Asker, Bound, JobLimits, Members, limits_of
from ef_slurm.slurm.site_types import SlurmPartition

PARTITION = SlurmPartition("ef", True, ("n1", "n2"))
ASKER = Asker("ann", "physics", "normal", "ef")


def accounting(
    *qos: SlurmQos, user: LimitSet | None = None, account: LimitSet | None = None, **fields: object
) -> Accounting:
    nothing = LimitSet()
    associations = (
        SlurmAssociation("root"),
        SlurmAssociation("science", parent="root"),
        SlurmAssociation("physics", parent="science", limits=account or nothing),
        SlurmAssociation("optics", parent="physics"),
        SlurmAssociation("physics", "ann", qos=("normal", "high"), limits=user or nothing),
    )
    values = {"default_accounts": {"ann": "physics"}, **fields}
    return Accounting(qos, associations, **values)  # type: ignore[arg-type]


def qos(name: str = "normal", *flags: str, **limits: object) -> SlurmQos:
    return SlurmQos(name, LimitSet(**limits), frozenset(flags))  # type: ignore[arg-type]


def words(limits: JobLimits) -> set[str]:
    return {one.words for one in limits.bounds} | {one.words for one in limits.shared}


def test_nothing_is_limited_where_nothing_is_set() -> None:
    assert limits_of(ASKER, Accounting(), None) == JobLimits()
    assert limits_of(ASKER, accounting(qos()), PARTITION) == JobLimits()


def test_limits_of_one_job() -> None:
    found = limits_of(
        ASKER,
        accounting(
            qos(per_job={"gres/gpu": 4}, per_node={"cpu": 8}, least_per_job={"gres/gpu": 2})
        ),
        PARTITION,
    )
    assert found.bounds == (
        Bound("gres/gpu", 4, "MaxTRESPerJob=gres/gpu=4 of QOS normal"),
        Bound("cpu", 8, "MaxTRESPerNode=cpu=8 of QOS normal", on_node=True),
        Bound("gres/gpu", 2, "MinTRESPerJob=gres/gpu=2 of QOS normal", least=True),
    )


def test_a_qos_overrides_the_association_tres_by_tres() -> None:
    found = limits_of(
        ASKER,
        accounting(
            qos(per_job={"gres/gpu": 16}), user=LimitSet(per_job={"gres/gpu": 4, "node": 2})
        ),
        PARTITION,
    )
    assert words(found) == {
        "MaxTRESPerJob=gres/gpu=16 of QOS normal",
        "MaxTRESPerJob=node=2 of user ann in account physics",
    }


def test_the_users_own_comes_before_the_accounts() -> None:
    found = limits_of(
        ASKER,
        accounting(
            user=LimitSet(per_job={"gres/gpu": 8}), account=LimitSet(per_job={"gres/gpu": 2})
        ),
        PARTITION,
    )
    assert words(found) == {"MaxTRESPerJob=gres/gpu=8 of user ann in account physics"}


def test_groups_count_at_every_account_above() -> None:
    rows = accounting(account=LimitSet(group={"gres/gpu": 8}), user=LimitSet(group={"cpu": 4}))
    above = replace(rows.associations[1], limits=LimitSet(group={"gres/gpu": 20}, group_jobs=3))
    rows = replace(rows, associations=(rows.associations[0], above, *rows.associations[2:]))
    found = {one.words: one.members for one in limits_of(ASKER, rows, PARTITION).shared}
    assert found == {
        "GrpTRES=cpu=4 of user ann in account physics": Members(
            user="ann", accounts=frozenset({"physics"})
        ),
        "GrpTRES=gres/gpu=8 of account physics": Members(accounts=frozenset({"physics", "optics"})),
        "GrpTRES=gres/gpu=20 of account science": Members(
            accounts=frozenset({"science", "physics", "optics"})
        ),
        "GrpJobs=3 of account science": Members(
            accounts=frozenset({"science", "physics", "optics"})
        ),
    }


def test_shared_limits_of_a_qos_and_whom_they_count() -> None:
    found = limits_of(
        ASKER,
        accounting(
            qos(
                group={"gres/gpu": 16},
                per_user={"gres/gpu": 4},
                per_account={"gres/gpu": 8},
                jobs_per_user=2,
            ),
            user=LimitSet(jobs_per_user=1),
        ),
        PARTITION,
    )
    assert {one.words: (one.tres, one.members) for one in found.shared} == {
        "GrpTRES=gres/gpu=16 of QOS normal": ("gres/gpu", Members(qos="normal")),
        "MaxTRESPerUser=gres/gpu=4 of QOS normal for ann": (
            "gres/gpu",
            Members(qos="normal", user="ann"),
        ),
        "MaxTRESPerAccount=gres/gpu=8 of QOS normal for physics": (
            "gres/gpu",
            Members(qos="normal", accounts=frozenset({"physics"})),
        ),
        "MaxJobsPerUser=2 of QOS normal for ann": (JOBS, Members(qos="normal", user="ann")),
    }


def test_max_jobs_of_an_association_counts_without_one_of_the_qos() -> None:
    found = limits_of(ASKER, accounting(user=LimitSet(jobs_per_user=1)), PARTITION)
    assert words(found) == {"MaxJobs=1 of user ann in account physics"}


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [((), "QOS part"), (("OverPartQOS",), "QOS normal")],
)
def test_the_qos_of_the_partition(flags: tuple[str, ...], wanted: str) -> None:
    """It counts all jobs of the partition, and comes first unless the job's says otherwise."""
    rows = accounting(
        qos("normal", *flags, group={"gres/gpu": 4}), qos("part", group={"gres/gpu": 8})
    )
    (one,) = limits_of(ASKER, rows, replace(PARTITION, qos="part")).shared
    assert one.words.endswith(wanted)
    in_partition = Members(partition="ef")
    assert one.members == (in_partition if wanted == "QOS part" else Members(qos="normal"))


def test_defaults_of_account_and_qos() -> None:
    rows = accounting(qos("high", per_job={"gres/gpu": 2}))
    own = replace(rows.associations[-1], default_qos="high")
    rows = replace(rows, associations=(*rows.associations[:-1], own))
    assert words(limits_of(Asker("ann"), rows, None)) == {
        "MaxTRESPerJob=gres/gpu=2 of QOS high",
    }


def test_an_association_of_the_partition_comes_first() -> None:
    rows = accounting(user=LimitSet(per_job={"gres/gpu": 8}))
    own = SlurmAssociation("physics", "ann", "ef", limits=LimitSet(per_job={"gres/gpu": 1}))
    elsewhere = replace(own, partition="batch", limits=LimitSet(per_job={"gres/gpu": 99}))
    rows = replace(rows, associations=(*rows.associations, elsewhere, own))
    (bound,) = limits_of(ASKER, rows, PARTITION).bounds
    assert bound.amount == 1


def test_accounts_in_a_circle_end() -> None:
    circle = (SlurmAssociation("a", parent="b"), SlurmAssociation("b", parent="a"))
    assert limits_of(Asker("ann", "a"), Accounting(associations=circle), None) == JobLimits()


# The partition


def test_nodes_of_the_partition() -> None:
    partition = replace(PARTITION, max_nodes=3, min_nodes=2)
    found = limits_of(ASKER, accounting(qos()), partition)
    assert found.bounds == (
        Bound("node", 3, "MaxNodes=3 of partition ef"),
        Bound("node", 2, "MinNodes=2 of partition ef", least=True),
    )
    flags = qos("normal", "PartitionMaxNodes", "PartitionMinNodes")
    assert not limits_of(ASKER, accounting(flags), partition).bounds


def test_the_shorter_of_the_partitions_and_accountings_time() -> None:
    partition = replace(PARTITION, max_time=7200.0)
    rows = accounting(qos(wall=600.0))
    found = limits_of(ASKER, rows, partition)
    assert (found.longest, found.longest_by) == (600.0, "MaxWall=10:00 of QOS normal")
    found = limits_of(ASKER, accounting(account=LimitSet(wall=9000.0)), partition)
    assert (found.longest, found.longest_by) == (7200.0, "MaxTime=2:00:00 of partition ef")
    over = accounting(qos("normal", "PartitionTimeLimit"))
    assert limits_of(ASKER, over, partition).longest == math.inf


def test_a_time_limit_that_is_longer_never_starts() -> None:
    partition = replace(PARTITION, max_time=3600.0)
    asker = replace(ASKER, time_limit=7200.0)
    closed = limits_of(asker, accounting(), partition).closed
    assert closed == "MaxTime=1:00:00 of partition ef (its time limit is 2:00:00)"
    assert not limits_of(replace(asker, time_limit=3600.0), accounting(), partition).closed
    assert limits_of(replace(asker, time_limit=math.inf), accounting(), partition).closed


@pytest.mark.parametrize(
    ("fields", "closed"),
    [
        ({"state": "DOWN"}, "State=DOWN of partition ef"),
        ({"state": "INACTIVE"}, "State=INACTIVE of partition ef"),
        ({"state": "DRAIN"}, ""),  # what is queued starts
        ({"allow_accounts": ("physics",)}, ""),
        ({"allow_accounts": ("x",)}, "AllowAccounts=x of partition ef (physics is not there)"),
        ({"deny_accounts": ("physics",)}, "DenyAccounts=physics of partition ef"),
        ({"allow_qos": ("high",)}, "AllowQos=high of partition ef (normal is not there)"),
        ({"deny_qos": ("normal",)}, "DenyQos=normal of partition ef"),
        # Where some are allowed, Slurm does not look at who is denied.
        ({"allow_accounts": ("physics",), "deny_accounts": ("physics",)}, ""),
    ],
)
def test_partitions_that_do_not_take_it(fields: dict[str, object], closed: str) -> None:
    partition = replace(PARTITION, **fields)  # type: ignore[arg-type]
    assert limits_of(ASKER, accounting(), partition).closed == closed
