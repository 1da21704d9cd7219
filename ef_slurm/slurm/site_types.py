"""What the site has set up, as Slurm says it: reservations, partitions, configuration.

Times are UTC epoch seconds, durations seconds. `None` means that Slurm has set no value, and
`math.inf` that it has set none as a limit (UNLIMITED).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ef_slurm.model import PerGpu


@dataclass(frozen=True, slots=True)
class SlurmReservation:
    """One reservation; `users` and `accounts` as listed (a leading "-" excludes)."""

    name: str
    start: float
    end: float
    nodes: tuple[str, ...]
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SlurmPartition:
    """One partition. Empty `allow_*` means everybody, empty `deny_*` nobody.

    `up` says whether jobs start in it, `state` is Slurm's word. `qos` is the QOS whose limits are
    the partition's; "" for none. `resume_timeout` is its own, in seconds; None for the whole
    cluster's. `default_memory` says whether it has its own for a job that asks for none
    (DefMemPerGPU, -PerCPU or -PerNode), and `default_per_gpu` what its DefCpuPerGPU and
    DefMemPerGPU are.
    """

    name: str
    up: bool
    nodes: tuple[str, ...]
    max_time: float = math.inf
    default_time: float | None = None
    allow_accounts: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] = ()
    resume_timeout: float | None = None
    default_memory: bool = False
    default_per_gpu: PerGpu = field(default_factory=PerGpu)
    state: str = "UP"
    min_nodes: int = 0
    max_nodes: int | None = None
    qos: str = ""
    allow_qos: tuple[str, ...] = ()
    deny_accounts: tuple[str, ...] = ()
    deny_qos: tuple[str, ...] = ()


def default_per_gpu(settings: Mapping[str, str]) -> PerGpu:
    """DefCpuPerGPU and DefMemPerGPU (MiB) of a cluster's settings, or of a partition's.

    >>> default_per_gpu({"JobDefaults": "DefCpuPerGPU=16,DefMemPerGPU=120000"})
    PerGpu(cpus=16.0, memory=120000.0)
    """
    given = dict(re.findall(r"(DefCpuPerGPU|DefMemPerGPU)=(\d+)", settings.get("JobDefaults", "")))
    return PerGpu(float(given.get("DefCpuPerGPU", 0)), float(given.get("DefMemPerGPU", 0)))


def has_default_memory(settings: Mapping[str, str]) -> bool:
    """Whether settings of a cluster, or of a partition, name the memory of who asks for none.

    >>> has_default_memory({"DefMemPerNode": "UNLIMITED", "JobDefaults": "DefMemPerGPU=120000"})
    True
    """
    named = [settings.get(f"DefMemPer{what}", "") for what in ("CPU", "Node", "GPU")]
    given = any(value not in ("", "UNLIMITED", "(null)", "0") for value in named)
    return given or "DefMemPerGPU" in settings.get("JobDefaults", "")


@dataclass(frozen=True, slots=True)
class SlurmConfiguration:
    """What ef-slurm needs to know of `scontrol show config`.

    Args:
        version: (major, minor, micro), (24, 11, 5) for 24.11.5.
        kill_wait: seconds between TERM and KILL: a job's second chance to checkpoint.
        min_job_age: seconds for which an ended job can still be seen.
        settings: everything, as Slurm prints it.
    """

    version: tuple[int, int, int]
    cluster: str
    kill_wait: float
    min_job_age: float
    job_requeue: bool
    job_submit_plugins: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def booted(self) -> str:
        """When slurmctld was started, in its own words: another text is another slurmctld.

        "" for not known. It may be back with a state that is some seconds older.
        """
        return self.settings.get("BOOT_TIME", "")

    @property
    def enforces_limits(self) -> bool:
        """Whether the limits of accounting are kept, not only recorded."""
        enforced = self.settings.get("AccountingStorageEnforce", "").lower().split(",")
        return not {"limits", "safe", "all"}.isdisjoint(enforced)

    @property
    def memory_counts(self) -> bool:
        """Whether memory is given to jobs as CPUs are (slurm.conf(5), SelectTypeParameters)."""
        return "MEMORY" in self.settings.get("SelectTypeParameters", "").upper()

    @property
    def default_memory(self) -> bool:
        """Whether a job that asks for no memory gets less than all of a node (DefMemPer*)."""
        return has_default_memory(self.settings)

    @property
    def default_per_gpu(self) -> PerGpu:
        """What a job gets with each GPU that asks for nothing, 0 for nothing (JobDefaults)."""
        return default_per_gpu(self.settings)


@dataclass(frozen=True, slots=True)
class SlurmLicense:
    """How many licences of a name there are for jobs; `held_back` are kept by reservations."""

    name: str
    total: int
    held_back: int = 0


@dataclass(frozen=True, slots=True)
class PowerTimes:
    """How long power saving takes, in seconds; the defaults are Slurm's.

    Args:
        resume: from the wish to use a node until it is there (ResumeTimeout).
        suspend: until a node that is powered down is off (SuspendTimeout).
        resume_of: the same as `resume`, of partitions that have their own.
    """

    resume: float = 60.0
    suspend: float = 30.0
    resume_of: Mapping[str, float] = field(default_factory=dict)
