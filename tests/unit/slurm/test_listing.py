"""`scontrol --oneliner show …`."""

import math

import pytest

from ef_slurm.formats.gres import GpuCount
from ef_slurm.slurm.commands.listing import (
    parse_configuration,
    parse_licenses,
    parse_nodes,
    parse_partitions,
    parse_reservations,
    parse_version,
)
from ef_slurm.slurm.errors import UnexpectedOutputError
from ef_slurm.slurm.site_types import SlurmLicense

NODE = (
    "NodeName=n1 Arch=x86_64 CoresPerSocket=32  CPUAlloc=0 CPUTot=64 CPULoad=0.15 Gres={gres} "
    "NodeAddr=n1 OS=Linux 6.1.0 #1 SMP Debian 6.1=x RealMemory=256000 State={state} "
    "Partitions=ef,batch  BootTime=1784000000 CfgTRES=cpu=64,gres/gpu=4 AllocTRES= "
    "Reason={reason}\n"
)


def node(gres: str = "gpu:4", state: str = "IDLE", reason: str = "") -> str:
    return NODE.format(gres=gres, state=state, reason=reason)


def test_a_node() -> None:
    (seen,) = parse_nodes(node())
    assert (seen.name, seen.cpus, seen.partitions) == ("n1", 64, ("ef", "batch"))
    assert seen.gpus == (GpuCount("", 4),)
    assert seen.usable


def test_a_reason_may_hold_anything() -> None:
    """An operator writes it, and it must not pass for a field."""
    (seen,) = parse_nodes(node(state="DOWN", reason="fan State=IDLE Gres=gpu:99 CPUTot=1"))
    assert (seen.state, seen.gpus, seen.cpus) == (frozenset({"DOWN"}), (GpuCount("", 4),), 64)


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", ()),
        ("gpu:a100:8(S:0-1)", (GpuCount("a100", 8),)),
        ("gpu:a100:2,gpu:t4:2,shard:8", (GpuCount("a100", 2), GpuCount("t4", 2))),
        ("gpu:3090:4", (GpuCount("3090", 4),)),
        ("gpu:(null):4(S:0)", (GpuCount("", 4),)),
        ("gpu:tesla:no_consume:4", (GpuCount("tesla", 4),)),
        ("gpu:1g.10gb:7,gpu:a100:1", (GpuCount("1g.10gb", 7), GpuCount("a100", 1))),
        ("craynetwork:4", ()),
    ],
)
def test_gpus_of_a_node(gres: str, gpus: tuple[GpuCount, ...]) -> None:
    assert parse_nodes(node(gres=gres))[0].gpus == gpus


@pytest.mark.parametrize(
    ("state", "words", "usable"),
    [
        ("MIXED", {"MIXED"}, True),
        ("IDLE+PLANNED", {"IDLE", "PLANNED"}, True),
        ("IDLE+DRAIN", {"IDLE", "DRAIN"}, False),
        ("DOWN*+DRAIN", {"DOWN", "DRAIN", "NOT_RESPONDING"}, False),
        ("ALLOCATED+NOT_RESPONDING", {"ALLOCATED", "NOT_RESPONDING"}, False),
        ("IDLE*", {"IDLE", "NOT_RESPONDING"}, False),
        ("UNKNOWN", {"UNKNOWN"}, False),
        ("", set(), False),
    ],
)
def test_states_of_a_node(state: str, words: set[str], usable: bool) -> None:
    (seen,) = parse_nodes(node(state=state))
    assert seen.state == frozenset(words)
    assert seen.usable is usable


@pytest.mark.parametrize("ends", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_what_ends_other_lines_ends_none_of_slurms(ends: str) -> None:
    """As 24.11 writes what a health check has made of a job's name or a program's output."""
    reason = f"job x{ends}NodeName=n9 State=IDLE Gres=gpu:99{ends}left [root@2026-07-01T00:00:00]"
    (seen,) = parse_nodes(node(state="IDLE+DRAIN", reason=reason))
    assert (seen.name, seen.gpu_total, seen.usable) == ("n1", 4, False)


def test_a_reason_may_say_anything() -> None:
    (seen,) = parse_nodes(node(reason="State=IDLE is wrong [root@2026-07-01T00:00:00]"))
    assert seen.usable
    assert seen.gpu_total == 4


def test_reservations() -> None:
    text = (
        "ReservationName=maint StartTime=1784000000 EndTime=1784003600 Duration=01:00:00 "
        "Nodes=n[1-2] NodeCnt=2 CoreCnt=128 Features=(null) PartitionName=(null) "
        "Flags=MAINT,IGNORE_JOBS,SPEC_NODES TRES=cpu=128 Users=root,-user2 Groups=(null) "
        "Accounts=(null) Licenses=(null) State=INACTIVE BurstBuffer=(null)\n"
    )
    (seen,) = parse_reservations(text)
    assert (seen.name, seen.start, seen.end) == ("maint", 1784000000.0, 1784003600.0)
    assert seen.nodes == ("n1", "n2")
    assert seen.users == ("root", "-user2")
    assert seen.accounts == ()
    assert "MAINT" in seen.flags
    assert parse_reservations("No reservations in the system\n") == ()


def test_partitions() -> None:
    text = (
        "PartitionName=ef AllowGroups=ALL AllowAccounts=a,b Default=NO DefaultTime=01:00:00 "
        "ExclusiveUser=NO MaxTime=UNLIMITED Nodes=n[1-4] State=UP\n"
        "PartitionName=old AllowGroups=staff AllowAccounts=ALL DefaultTime=NONE MaxTime=1-00:00:00 "
        "Nodes=(null) State=DRAIN\n"
    )
    first, second = parse_partitions(text)
    assert (first.up, first.max_time, first.default_time) == (True, math.inf, 3600.0)
    assert (first.allow_accounts, first.allow_groups) == (("a", "b"), ())
    assert len(first.nodes) == 4
    assert (second.up, second.max_time, second.default_time) == (False, 86400.0, None)
    assert (second.allow_groups, second.nodes) == (("staff",), ())


def test_what_a_partition_limits() -> None:
    """As 24.11 wrote it, without what is not read."""
    text = (
        "PartitionName=ef AllowGroups=ALL AllowAccounts=ALL AllowQos=small,high QoS=part "
        "MaxNodes=3 MaxTime=02:00:00 MinNodes=2 Nodes=n[1-4] State=DOWN\n"
        "PartitionName=b DenyAccounts=a,b DenyQos=low QoS=N/A MaxNodes=UNLIMITED MinNodes=0 "
        "Nodes=n[1-4] State=UP\n"
    )
    first, second = parse_partitions(text)
    assert (first.state, first.up, first.max_time) == ("DOWN", False, 7200.0)
    assert (first.min_nodes, first.max_nodes, first.qos) == (2, 3, "part")
    assert (first.allow_qos, first.deny_qos, first.deny_accounts) == (("small", "high"), (), ())
    assert (second.min_nodes, second.max_nodes, second.qos) == (0, None, "")
    assert (second.allow_qos, second.deny_qos) == ((), ("low",))
    assert second.deny_accounts == ("a", "b")


def test_licences() -> None:
    text = (
        "LicenseName=solver Total=2 Used=1 Free=1 Reserved=0 Remote=no\n"
        "LicenseName=matlab@server Total=50 Used=0 Free=40 Reserved=10 Remote=yes\n"
    )
    assert parse_licenses(text) == (
        SlurmLicense("solver", 2),
        SlurmLicense("matlab@server", 50, 10),
    )
    assert parse_licenses("No licenses configured in Slurm.\n") == ()


@pytest.mark.parametrize(
    ("value", "enforced"),
    [("associations,limits,qos", True), ("safe", True), ("all", True), ("none", False), ("", False),
     ("associations", False)],
)  # fmt: skip
def test_whether_limits_are_enforced(value: str, enforced: bool) -> None:
    text = f"SLURM_VERSION = 24.11.5\nAccountingStorageEnforce = {value}\n"
    assert parse_configuration(text).enforces_limits is enforced


def test_configuration() -> None:
    text = (
        "Configuration data as of 1784000000\n"
        "ClusterName             = mini\n"
        "JobRequeue              = 1\n"
        "JobSubmitPlugins        = lua\n"
        "KillWait                = 15 sec\n"
        "MinJobAge               = 300 sec\n"
        "SLURM_VERSION           = 24.11.5\n"
        "\n"
        "Slurmctld(primary) at ctl is UP\n"
    )
    seen = parse_configuration(text)
    assert (seen.version, seen.cluster) == ((24, 11, 5), "mini")
    assert (seen.kill_wait, seen.min_job_age, seen.job_requeue) == (15.0, 300.0, True)
    assert seen.job_submit_plugins == ("lua",)
    assert seen.settings["KillWait"] == "15 sec"


def test_versions() -> None:
    assert parse_version("slurm-wlm 22.05.8") == (22, 5, 8)
    with pytest.raises(UnexpectedOutputError):
        parse_version("(null)")


@pytest.mark.parametrize("parse", [parse_nodes, parse_reservations, parse_partitions])
def test_something_else(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(UnexpectedOutputError, match="Ghost"):
        parse("Ghost=1 State=IDLE\n")
