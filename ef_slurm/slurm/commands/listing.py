"""`scontrol --oneliner show …` → nodes, reservations, partitions, configuration.

Text, because 22.05 has no JSON for these, and because it is the same in all versions. Times are
read as epoch seconds: the commands run with SLURM_TIME_FORMAT=%s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from ef_slurm.formats.durations import DurationError, parse_setting, parse_time_limit
from ef_slurm.formats.gres import GpuCount, GresError, gpus_of, parse_gres
from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.formats.numbers import parse_count
from ef_slurm.formats.times import parse_epoch
from ef_slurm.slurm.errors import UnexpectedOutputError
from ef_slurm.slurm.site_types import (
    SlurmConfiguration,
    SlurmLicense,
    SlurmPartition,
    SlurmReservation,
    default_per_gpu,
    has_default_memory,
)
from ef_slurm.slurm.types import SlurmNode

_NOT_SET = frozenset({"", "(null)", "N/A", "NONE", "None", "Unknown"})
_KEY = re.compile(r"(?:^| )([A-Z][A-Za-z0-9_:/]*)=")
# Signs that older versions put behind a node's state (sinfo(1), NODE STATE CODES).
_SIGNS = {
    "*": "NOT_RESPONDING",
    "~": "POWERED_DOWN",
    "#": "POWERING_UP",
    "!": "POWER_DOWN",
    "%": "POWERING_DOWN",
    "$": "MAINTENANCE",
    "@": "REBOOT_REQUESTED",
    "^": "REBOOT_ISSUED",
    "-": "PLANNED",
}


def parse_nodes(text: str) -> tuple[SlurmNode, ...]:
    """`scontrol --oneliner show nodes`.

    Raises:
        UnexpectedOutputError: a line that is no node.
    """
    return tuple(
        SlurmNode(
            name=record["NodeName"],
            state=_node_state(record.get("State", "")),
            gpus=_node_gpus(record.get("Gres", "")),
            partitions=_names(record.get("Partitions", "")),
            reason=_set(record.get("Reason", "")),
            cpus=int(record.get("CPUEfctv", record.get("CPUTot", "0"))),
            memory=_memory(record),
            threads_per_core=max(1, int(record.get("ThreadsPerCore", "1"))),
            features=_names(record.get("ActiveFeatures", "")),
            temporary_disk=float(parse_count(record.get("TmpDisk", "")) or 0),
        )
        for record in _records(text, "NodeName", "No nodes")
    )


def parse_reservations(text: str) -> tuple[SlurmReservation, ...]:
    """`scontrol --oneliner show reservations`.

    Raises:
        UnexpectedOutputError: a line that is no reservation.
    """
    return tuple(
        SlurmReservation(
            name=record["ReservationName"],
            start=_epoch(record, "StartTime"),
            end=_epoch(record, "EndTime"),
            nodes=_hosts(record.get("Nodes", "")),
            users=_names(record.get("Users", "")),
            accounts=_names(record.get("Accounts", "")),
            flags=frozenset(_names(record.get("Flags", ""))),
        )
        for record in _records(text, "ReservationName", "No reservations")
    )


def parse_partitions(text: str) -> tuple[SlurmPartition, ...]:
    """`scontrol --oneliner show partitions`.

    Raises:
        UnexpectedOutputError: a line that is no partition.
    """
    return tuple(
        SlurmPartition(
            name=record["PartitionName"],
            up=record.get("State", "UP").upper() == "UP",
            nodes=_hosts(record.get("Nodes", "")),
            max_time=_limit(record, "MaxTime") or math.inf,
            default_time=_limit(record, "DefaultTime"),
            allow_accounts=_allowed(record.get("AllowAccounts", "")),
            allow_groups=_allowed(record.get("AllowGroups", "")),
            # "GLOBAL", or seconds; older versions have none.
            resume_timeout=parse_setting(record.get("ResumeTimeout", "")),
            default_memory=has_default_memory(record),
            default_per_gpu=default_per_gpu(record),
            state=record.get("State", "UP").upper(),
            min_nodes=_nodes(record, "MinNodes") or 0,
            max_nodes=_nodes(record, "MaxNodes"),
            qos=_set(record.get("QoS", "")),
            allow_qos=_allowed(record.get("AllowQos", "")),
            deny_accounts=_names(record.get("DenyAccounts", "")),
            deny_qos=_names(record.get("DenyQos", "")),
        )
        for record in _records(text, "PartitionName", "No partitions")
    )


def parse_licenses(text: str) -> tuple[SlurmLicense, ...]:
    """`scontrol --oneliner show licenses`.

    Raises:
        UnexpectedOutputError: a line that is no licence.
    """
    return tuple(
        SlurmLicense(
            record["LicenseName"],
            int(record.get("Total", "0")),
            int(record.get("Reserved", "0")),
        )
        for record in _records(text, "LicenseName", "No licenses")
    )


def parse_configuration(text: str) -> SlurmConfiguration:
    """`scontrol show config`.

    Raises:
        UnexpectedOutputError: it holds no version.
    """
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    settings = {key.strip(): value.strip() for key, _, value in pairs}
    return SlurmConfiguration(
        version=parse_version(settings.get("SLURM_VERSION", "")),
        cluster=settings.get("ClusterName", ""),
        kill_wait=_setting(settings, "KillWait", 30.0),
        min_job_age=_setting(settings, "MinJobAge", 300.0),
        job_requeue=settings.get("JobRequeue", "1") == "1",
        job_submit_plugins=_names(settings.get("JobSubmitPlugins", "")),
        settings=settings,
    )


def parse_version(text: str) -> tuple[int, int, int]:
    """(24, 11, 5) of "24.11.5" or "slurm-wlm 24.11.5".

    Raises:
        UnexpectedOutputError: no version in it.
    """
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise UnexpectedOutputError(f"{text!r} is no version of Slurm")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def _records(text: str, first: str, none: str) -> Iterator[Mapping[str, str]]:
    """One mapping per line that begins with `first`.

    Lines end as Slurm ends them: a node's reason may hold what ends others.
    """
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped or stripped.startswith(none):
            continue
        if not stripped.startswith(f"{first}="):
            raise UnexpectedOutputError(f"scontrol wrote {stripped[:80]!r}, not {first}=…")
        try:
            yield _pairs(stripped)
        except (ValueError, HostlistError) as error:
            raise UnexpectedOutputError(f"scontrol wrote {stripped[:80]!r}: {error}") from error


def _pairs(line: str) -> dict[str, str]:
    """Key=value of a line. Values may hold spaces (OS=, Reason=), so keys are what is looked for.

    The first occurrence counts: a Reason may hold anything.
    """
    matches = list(_KEY.finditer(line))
    pairs: dict[str, str] = {}
    for place, match in enumerate(matches):
        end = matches[place + 1].start() if place + 1 < len(matches) else len(line)
        pairs.setdefault(match[1], line[match.end() : end].strip())
    return pairs


def _node_state(text: str) -> frozenset[str]:
    """The words of "IDLE+DRAIN+NOT_RESPONDING", also in the older "IDLE*+DRAIN"."""
    words: set[str] = set()
    for part in text.upper().split("+"):
        word = part.rstrip("".join(_SIGNS))
        words.update(_SIGNS[sign] for sign in part[len(word) :])
        if word:
            words.add(word)
    return frozenset(words)


def _node_gpus(gres: str) -> tuple[GpuCount, ...]:
    try:
        return gpus_of(parse_gres(gres))
    except GresError as error:
        raise UnexpectedOutputError(f"scontrol wrote Gres={gres}: {error}") from error


def _memory(record: Mapping[str, str]) -> float:
    """MiB that jobs may have: RealMemory without what the site keeps for the system."""
    whole, kept = record.get("RealMemory", "0"), record.get("MemSpecLimit", "0")
    return max(0.0, float(whole) - float(kept)) if whole.isdigit() and kept.isdigit() else 0.0


def _set(value: str) -> str:
    return "" if value in _NOT_SET else value


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in _set(value).split(",") if name.strip())


def _hosts(value: str) -> tuple[str, ...]:
    try:
        return expand(_set(value))
    except HostlistError as error:
        raise UnexpectedOutputError(str(error)) from error


def _allowed(value: str) -> tuple[str, ...]:
    return () if value.upper() == "ALL" else _names(value)


def _epoch(record: Mapping[str, str], key: str) -> float:
    value = record.get(key, "")
    instant = parse_epoch(value)
    if instant is None:
        raise UnexpectedOutputError(f"scontrol wrote {key}={value}, not epoch seconds")
    return instant


def _limit(record: Mapping[str, str], key: str) -> float | None:
    try:
        return parse_time_limit(record.get(key, ""))
    except DurationError as error:
        raise UnexpectedOutputError(f"scontrol wrote {key}={record[key]}: {error}") from error


def _nodes(record: Mapping[str, str], key: str) -> int | None:
    """A number of nodes; None for UNLIMITED."""
    value = record.get(key, "")
    return int(value) if value.isdigit() else None


def _setting(settings: Mapping[str, str], key: str, default: float) -> float:
    seconds = parse_setting(settings.get(key, ""))
    return default if seconds is None else seconds
