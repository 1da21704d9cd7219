"""What Slurm says of jobs, nodes and the whole cluster, and what it is asked for, as values.

Times are UTC epoch seconds, durations seconds. `None` means that Slurm has set no value, and
`math.inf` that it has set none as a limit (UNLIMITED).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from ef_slurm.formats.gres import GpuCount
from ef_slurm.slurm.comments import our_comment
from ef_slurm.slurm.site_types import PowerTimes, SlurmReservation


class JobBaseState(enum.Enum):
    """A Slurm job's base state (squeue(1), JOB STATE CODES)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    UNKNOWN = "UNKNOWN"  # a word that we do not know, or none: never taken for final


FINAL_STATES = frozenset(
    {
        JobBaseState.COMPLETED,
        JobBaseState.CANCELLED,
        JobBaseState.FAILED,
        JobBaseState.TIMEOUT,
        JobBaseState.NODE_FAIL,
        JobBaseState.PREEMPTED,
        JobBaseState.BOOT_FAIL,
        JobBaseState.DEADLINE,
        JobBaseState.OUT_OF_MEMORY,
    }
)


class HoldKind(enum.Enum):
    """The hold that Slurm shows (`slurm.pending` says by which words)."""

    NONE = "none"
    USER = "user"  # the owner may release it
    ADMIN = "admin"  # an operator only
    SLURM = "slurm"  # Slurm's own: a failed launch, a shape that fits no node
    UNKNOWN = "unknown"  # held, and Slurm does not show by whom


class SignalTarget(enum.Enum):
    """Which of a job's processes get a signal (scancel(1))."""

    STEPS = "steps"
    BATCH = "batch"
    ALL = "all"


OWNER_RELEASED = "ef-slurm: released by its owner"
"""What `job_submit.lua` puts into a job's comment, in place of ours (`slurm.comments`), when its
owner uses `scontrol release`."""
OWNER_HELD = "ef-slurm: held by its owner"
"""The one in place of `scontrol hold`, which Slurm takes for nothing new on a job that is held, and
for nothing at all on one that runs."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What a job asks for now; the fields that `JobUpdate` changes.

    None is what Slurm does not tell: 22.05 hides the node counts of a pending job that has run, and
    every version those of one that it has tried to start before slurmctld was restarted.
    `gpu_type` is "" where the job asks for none, or for several.
    """

    min_nodes: int | None
    max_nodes: int | None
    tasks: int | None
    gpus_per_node: int | None
    nodes: tuple[str, ...] = ()
    gpu_type: str = ""
    time_limit: float | None = None
    partition: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class HeldGpus:
    """GPUs of one type that a job holds on one node; `gpu_type` is "" where Slurm names none."""

    node: str
    gpu_type: str
    count: int


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """One job as slurmctld reports it.

    Args:
        job_id: Slurm's id.
        state: base state. `flags` holds the words beside it (COMPLETING, REQUEUED, …).
        reason: why it pends or ended, Slurm's word (JobHeldUser, ReqNodeNotAvail, …).
        held: the GPUs that nobody else can have because of it, shared ones as whole ones.
        end_time: when its time limit ends it (running) or when it ended (final). None for a
            pending job, `inf` for a running one without limit.
        restarts: how often Slurm requeued it.
        exit_code: of the batch script; None unless it ended by exiting.
        cpus_per_node, memory_per_node: what it holds on each node on average (MiB), while it does.
        settings: what its owner asked for beside its shape, by field, in Slurm's words; what Slurm
            does not tell is left out.
        array, heterogeneous: whether it is one of several tasks, or components, that Slurm runs
            under one submission.
    """

    job_id: int
    name: str
    user: str
    uid: int
    account: str
    state: JobBaseState
    flags: frozenset[str]
    reason: str
    hold: HoldKind
    requested: Requested
    nodes: tuple[str, ...] = ()
    held: tuple[HeldGpus, ...] = ()
    submit_time: float | None = None
    start_time: float | None = None
    end_time: float | None = None
    restarts: int = 0
    batch_host: str = ""
    exit_code: int | None = None
    reservation: str = ""
    cpus_per_node: float = 0.0
    memory_per_node: float = 0.0
    settings: tuple[tuple[str, str], ...] = ()
    array: bool = False
    heterogeneous: bool = False

    @property
    def gpus(self) -> tuple[tuple[str, int], ...]:
        """(node, GPUs of all types) that it holds, for every node that it runs on."""
        counts = dict.fromkeys(self.nodes, 0)
        for held in self.held:
            counts[held.node] = counts.get(held.node, 0) + held.count
        return tuple(counts.items())

    @property
    def is_final(self) -> bool:
        """Whether it ended for good, with all its processes gone."""
        pending_change = self.flags & {"COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
        return self.state in FINAL_STATES and not pending_change

    @property
    def may_be_cancelled(self) -> bool:
        """Whether it was cancelled, as far as Slurm tells.

        While a job's processes end, 22.05 does not say how they came to.
        """
        hidden = self.state is JobBaseState.UNKNOWN and "COMPLETING" in self.flags
        return hidden or self.state is JobBaseState.CANCELLED

    @property
    def is_released_by_owner(self) -> bool:
        """Whether its owner has asked for it to go on; only ef-slurm's own release starts it."""
        return our_comment(self.requested.comment) == OWNER_RELEASED

    @property
    def is_held_by_owner(self) -> bool:
        """Whether its owner has asked for it not to run; ef-slurm sees to that."""
        return our_comment(self.requested.comment) == OWNER_HELD

    @property
    def is_marked(self) -> bool:
        """Whether its comment says that its owner has held or released it."""
        return self.is_held_by_owner or self.is_released_by_owner

    @property
    def is_pending(self) -> bool:
        """Whether it waits with no process of its last run left, so that it may be updated."""
        return self.state is JobBaseState.PENDING and "COMPLETING" not in self.flags

    @property
    def is_running(self) -> bool:
        """Whether it holds its nodes and is not being ended."""
        return self.state is JobBaseState.RUNNING and "COMPLETING" not in self.flags

    @property
    def is_configuring(self) -> bool:
        """Whether its nodes are still made ready for it: they boot, or their prologues run."""
        return not self.flags.isdisjoint({"CONFIGURING", "POWER_UP_NODE"})

    @property
    def holds_nodes(self) -> bool:
        """Whether its nodes are not free yet: running, suspended or still completing."""
        if self.state in (JobBaseState.RUNNING, JobBaseState.SUSPENDED):
            return True
        return "COMPLETING" in self.flags or "CONFIGURING" in self.flags


NODE_UNUSABLE = frozenset(
    {
        "DOWN",
        "DRAIN",
        "DRAINING",
        "DRAINED",
        "ERROR",
        "FAIL",
        "FAILING",
        "FUTURE",
        "INVAL",
        "INVALID",
        "INVALID_REG",
        "MAINT",
        "MAINTENANCE",
        "NOT_RESPONDING",
        "NO_RESPOND",
        "REBOOT_ISSUED",
        "REBOOT_REQUESTED",
        "UNKNOWN",
    }
)
"""Words of a node's state with which no job may be started on it."""

_SILENT = frozenset({"NOT_RESPONDING", "NO_RESPOND"})
_POWERING_DOWN = frozenset(
    {"POWER_DOWN", "POWERING_DOWN", "POWER_DOWN_ASAP", "POWER_DOWN_FORCE", "POWER_DRAIN"}
)
_ASLEEP = frozenset({"POWERED_DOWN", "POWERING_UP", "POWER_UP", "POWER_SAVE"}) | _POWERING_DOWN


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """One node, with the CPUs and the MiB that jobs may have (0: not known).

    CPUs are given out by whole cores, of `threads_per_core` each. `state` holds words of Slurm
    (IDLE, MIXED, ALLOCATED, DRAIN, NOT_RESPONDING, …). `features` are those that it has now,
    `temporary_disk` the MiB that Slurm counts for `--tmp`.
    """

    name: str
    state: frozenset[str]
    gpus: tuple[GpuCount, ...] = ()
    partitions: tuple[str, ...] = ()
    reason: str = ""
    cpus: int = 0
    memory: float = 0.0
    threads_per_core: int = 1
    features: tuple[str, ...] = ()
    temporary_disk: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether a job may be started on it as far as its own state goes.

        One that is powered down is woken by the job, and does not respond until then.
        """
        words = self.state - _SILENT if self.is_asleep else self.state
        return bool(words) and not words & NODE_UNUSABLE

    @property
    def is_asleep(self) -> bool:
        """Whether it has to be powered up first, or is on its way."""
        return bool(self.state & _ASLEEP)

    @property
    def is_powering_down(self) -> bool:
        """Whether it has to be off before it can be powered up."""
        return bool(self.state & _POWERING_DOWN)

    @property
    def gpu_total(self) -> int:
        """GPUs of all types."""
        return sum(gpu.count for gpu in self.gpus)


@dataclass(frozen=True, slots=True)
class Observation:
    """The whole cluster at one moment, from one query per kind.

    Args:
        at: our clock when the first query began.
        jobs: every job that slurmctld knows, ours and others', by id.
        nodes: every node, in Slurm's order.
        power: how long nodes that are powered down take to be there; only where there are any.
        memory_counts: whether Slurm gives memory to jobs as it gives CPUs (CR_*_Memory).
        booted: when slurmctld was started, in its own words, as last heard; "" for not known.
    """

    at: float
    jobs: Mapping[int, SlurmJob]
    nodes: tuple[SlurmNode, ...]
    reservations: tuple[SlurmReservation, ...] = ()
    power: PowerTimes = field(default_factory=PowerTimes)
    memory_counts: bool = False
    booted: str = ""

    def node(self, name: str) -> SlurmNode:
        """The node of that name.

        Raises:
            KeyError: Slurm has none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pending job is to run on: exactly these nodes, with as many GPUs on each.

    One task per node: the batch script launches one agent per node.

    Args:
        gpu_type: Slurm's name of the GPUs' type; "" where its gres names none.
    """

    nodes: tuple[str, ...]
    gpus_per_node: int
    gpu_type: str = ""

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("shape: no nodes")
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError(f"shape: nodes named twice: {','.join(self.nodes)}")
        if self.gpus_per_node < 1:
            raise ValueError(f"shape: {self.gpus_per_node} GPUs per node: must be 1 or more")

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return len(self.nodes) * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """Changes to a job; None leaves a field as it is.

    Args:
        shape: for a pending job (a running one is resized with `Slurm.resize`).
        time_limit: seconds, rounded up to whole minutes; `inf` for UNLIMITED.
        comment: shown by squeue.
        start_now: lift the delay that Slurm puts on a requeued job. Only after it is PENDING.
    """

    shape: Shape | None = None
    time_limit: float | None = None
    comment: str | None = None
    start_now: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch script to be submitted held.

    Args:
        script: its text.
        options: sbatch options that go before it ("--account=a", "--job-name=train", …).
        arguments: the script's own arguments.
        directory: where sbatch runs, and the job by default.
        environment: sbatch's whole environment; None for this process's own, but its SBATCH_*.
    """

    script: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    directory: str | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """sbatch's answer. `messages` is what it said beside the id (warnings, a plugin's words)."""

    job_id: int
    cluster: str = ""
    messages: str = ""
