"""A small Slurm without machines: jobs, nodes and time in memory, for replays and tests.

It keeps to what real Slurm was measured to do where that matters to ef-slurm: requeued jobs wait
for a begin time, a job started within the second in which its last run was killed fails, jobs land
on exactly the nodes that they ask for, ended jobs are forgotten. Nothing in it runs by itself: time
passes when `settle` is told so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ef_slurm.slurm.accounting_types import Accounting, LimitSet
from ef_slurm.slurm.site_types import SlurmLicense, SlurmPartition, SlurmReservation
from ef_slurm.slurm.types import (
    FINAL_STATES,
    HoldKind,
    JobBaseState,
    Requested,
)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the cluster takes, in seconds.

    Args:
        start: from a job's release to RUNNING.
        stop: from a requeue or cancel to the end of the job's processes.
        begin_delay: for which a requeued job waits unless it is told to start now (cred_expire).
        min_job_age: after which ended jobs are forgotten.
        wake: from the release of a job to a node that is powered down until it starts there.
    """

    start: float = 0.0
    stop: float = 0.0
    begin_delay: float = 121.0
    min_job_age: float = 300.0
    wake: float = 60.0


ASLEEP = {"POWERED_DOWN", "POWERING_UP"}


@dataclass(slots=True)
class MemoryNode:
    """One node; `state` holds Slurm's words beside IDLE, MIXED and ALLOCATED."""

    name: str
    gpus: int
    gpu_type: str = ""
    state: set[str] = field(default_factory=set)
    reason: str = ""
    awake_at: float = math.inf  # once a job has woken it

    @property
    def usable(self) -> bool:
        """Whether a job may start on it."""
        return self.state <= ASLEEP


SETTINGS = {
    "Slurm": "in memory",
    "dependency": "",
    "memory per node": "100",
    "working directory": "/shared",
}
"""What jobs ask for beside their shape, unless somebody changes it."""


@dataclass(slots=True)
class MemoryJob:
    """One job as the cluster keeps it."""

    job_id: int
    user: str
    name: str
    partition: str
    account: str
    submitted: float
    uid: int = 0
    min_nodes: int = 1
    max_nodes: int | None = 1
    tasks: int = 1
    gpus_per_node: int = 1
    required: tuple[str, ...] = ()
    time_limit: float = math.inf
    comment: str = ""
    state: JobBaseState = JobBaseState.PENDING
    hold: HoldKind = HoldKind.NONE
    reason: str = ""
    nodes: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    begin: float = 0.0
    released: float = 0.0
    restarts: int = 0
    exit_code: int | None = None
    signals: list[str] = field(default_factory=list)
    step_nodes: tuple[str, ...] = ()
    """On which its script runs a step, as whoever plays its script says."""
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))
    array: bool = False
    heterogeneous: bool = False
    requeues: bool = True
    """Whether Slurm puts it back when its node dies (not --no-requeue)."""
    # While its processes end: until when, and what it is afterwards.
    completing_until: float | None = None
    becomes: JobBaseState = JobBaseState.PENDING
    killed_at: float | None = None
    may_requeue: bool = True  # False with --no-requeue
    tried: bool = False
    """Whether Slurm looked for nodes that were not free, and has not started it since."""
    hides_nodes: bool = False
    """Whether it shows the nodes of that try, and not how many it asks for."""

    @property
    def holds_nodes(self) -> bool:
        """Whether its nodes are not free."""
        return self.state is JobBaseState.RUNNING or self.completing_until is not None

    @property
    def requested(self) -> Requested:
        """What it asks for."""
        hidden = self.hides_nodes and self.state is JobBaseState.PENDING
        return Requested(
            min_nodes=None if hidden else self.min_nodes,
            max_nodes=None if hidden else self.max_nodes,
            tasks=self.tasks,
            gpus_per_node=self.gpus_per_node,
            nodes=self.required,
            time_limit=self.time_limit,
            partition=self.partition,
            comment=self.comment,
        )


class MemoryCluster:
    """The cluster's state, and what happens in it.

    `gpus_per_job` is the limit of a QOS: larger jobs are taken, and never start.

    Args:
        nodes: GPUs by node name, in order.
        partition: the one partition.
    """

    def __init__(
        self,
        nodes: Mapping[str, int],
        *,
        gpu_type: str = "",
        partition: str = "ef",
        timing: Timing | None = None,
    ) -> None:
        self.nodes = {name: MemoryNode(name, gpus, gpu_type) for name, gpus in nodes.items()}
        self.jobs: dict[int, MemoryJob] = {}
        self.partition = partition
        self.timing = timing or Timing()
        self.clock_offset = 0.0  # slurmctld's clock less everybody's
        self.reachable = True
        self.boots = 1  # how often slurmctld was started
        self.answers_lost = 0
        self.slurmdbd = False  # whether there is accounting
        self.accounted: dict[int, MemoryJob] = {}  # ended jobs that are forgotten
        self.gpus_per_job = math.inf
        self.accounting = Accounting()
        self.licenses: tuple[SlurmLicense, ...] = ()
        self.reservations: tuple[SlurmReservation, ...] = ()
        self.partition_limits: SlurmPartition | None = None
        self.last_id = 0  # the next job's is one more

    def settle(self, now: float) -> None:
        """Let everything happen that is due by `now`."""
        for node in self.nodes.values():
            if node.awake_at <= now:
                node.state -= ASLEEP
                node.awake_at = math.inf
        for job in list(self.jobs.values()):
            self._expire(job, now)
            if job.completing_until is not None and job.completing_until <= now:
                self._stopped(job, job.completing_until)
            if job.ended is not None and now - job.ended > self.timing.min_job_age:
                self.accounted[job.job_id] = self.jobs.pop(job.job_id)
        for job_id in sorted(self.jobs):
            self._try_start(self.jobs[job_id], now)

    def _expire(self, job: MemoryJob, now: float) -> None:
        if job.state is JobBaseState.RUNNING and job.started is not None:
            end = job.started + job.time_limit
            if end <= now:
                self._end_run(job, JobBaseState.TIMEOUT, end)

    def _try_start(self, job: MemoryJob, now: float) -> None:
        ready = max(job.begin, job.released + self.timing.start)
        waits = job.state is JobBaseState.PENDING and job.completing_until is None
        if not waits or job.hold is not HoldKind.NONE:
            return
        if ready > now:
            job.reason = "BeginTime" if job.begin > now else "None"
            return
        nodes = self._nodes_for(job)
        if nodes is None:
            job.tried = True
            return
        job.tried = job.hides_nodes = False
        job.nodes, job.started, job.ended, job.exit_code = nodes, now, None, None
        job.reason = ""
        if job.killed_at is not None and self._second(job.killed_at) == self._second(now):
            job.state, job.ended, job.reason = JobBaseState.FAILED, now, "NonZeroExitCode"
            return
        job.state = JobBaseState.RUNNING
        for node in (self.nodes[name] for name in nodes):
            if "POWERED_DOWN" in node.state:
                node.state = {"POWERING_UP"}
                node.awake_at = now + self.timing.wake
            if node.state & ASLEEP:
                job.started = max(job.started, node.awake_at)  # until then it is CONFIGURING

    def _second(self, at: float) -> int:
        """Of slurmctld's clock."""
        return math.floor(at + self.clock_offset)

    def _nodes_for(self, job: MemoryJob) -> tuple[str, ...] | None:
        free = self.free_gpus()
        if max(job.min_nodes, len(job.required)) * job.gpus_per_node > self.gpus_per_job:
            job.reason = "QOSMaxGRESPerJob"
            return None
        if self._is_one_too_many(job):
            job.reason = "QOSMaxJobsPerUserLimit"
            return None
        if job.required:
            unavailable = [name for name in job.required if not self.nodes[name].usable]
            if unavailable:
                job.reason = "ReqNodeNotAvail"
                return None
            fit = tuple(name for name in job.required if free[name] >= job.gpus_per_node)
        else:
            fit = tuple(
                name
                for name, node in self.nodes.items()
                if node.usable and free[name] >= job.gpus_per_node
            )
        if len(fit) < max(job.min_nodes, len(job.required)):
            job.reason = "Resources"
            return None
        return fit[: job.max_nodes] if job.max_nodes else fit

    def _is_one_too_many(self, job: MemoryJob) -> bool:
        """Whether as many jobs run in its QOS, or of its user there, as may at a time."""
        name = job.settings.get("QOS", "")
        limits = next((qos.limits for qos in self.accounting.qos if qos.name == name), LimitSet())
        there = [
            one for one in self.jobs.values() if one.holds_nodes and one.settings.get("QOS") == name
        ]
        own = sum(one.user == job.user for one in there)
        pairs = ((limits.group_jobs, len(there)), (limits.jobs_per_user, own))
        return any(most is not None and count >= most for most, count in pairs)

    def free_gpus(self) -> dict[str, int]:
        """GPUs by node that no job holds."""
        free = {name: node.gpus for name, node in self.nodes.items()}
        for job in self.jobs.values():
            if job.holds_nodes:
                for name in job.nodes:
                    free[name] -= job.gpus_per_node
        return free

    def _end_run(self, job: MemoryJob, becomes: JobBaseState, now: float) -> None:
        """The job's processes begin to end."""
        job.state, job.becomes = becomes, becomes
        job.completing_until = now + self.timing.stop
        if job.completing_until <= now:
            self._stopped(job, now)

    def _stopped(self, job: MemoryJob, at: float) -> None:
        job.completing_until = None
        job.state = job.becomes
        if job.state in FINAL_STATES:
            job.ended = at
        else:
            job.nodes = ()
            job.begin = at + self.timing.begin_delay

    # What happens to jobs and nodes from outside.

    def restart(self) -> None:
        """slurmctld comes back."""
        self.boots += 1
        for job in self.jobs.values():
            job.hides_nodes = job.tried

    def power_down(self, name: str) -> None:
        """The node saves power until a job wants it."""
        self.nodes[name].state.add("POWERED_DOWN")

    def add_job(
        self,
        user: str,
        name: str,
        *,
        now: float,
        uid: int = 0,
        account: str = "",
        held: bool = True,
    ) -> MemoryJob:
        """A new job of one node and one GPU."""
        self.last_id += 1
        job = MemoryJob(self.last_id, user, name, self.partition, account, now, uid)
        job.hold = HoldKind.USER if held else HoldKind.NONE
        self.jobs[job.job_id] = job
        return job

    def occupy(
        self, user: str, nodes: tuple[str, ...], gpus_per_node: int, seconds: float, now: float
    ) -> MemoryJob:
        """Somebody else's running job with a time limit."""
        job = self.add_job(user, "other", now=now, held=False)
        job.min_nodes = job.max_nodes = job.tasks = len(nodes)
        job.gpus_per_node, job.required, job.time_limit = gpus_per_node, nodes, seconds
        self.settle(now)
        return job

    def finish(self, job_id: int, now: float, exit_code: int = 0) -> None:
        """A running job's script exits."""
        self.settle(now)
        job = self.jobs[job_id]
        if job.state is not JobBaseState.RUNNING:
            raise ValueError(f"job {job_id} is {job.state.value}, not running")
        job.exit_code = exit_code
        job.state = JobBaseState.FAILED if exit_code else JobBaseState.COMPLETED
        job.ended = now

    def requeue(self, job: MemoryJob, now: float) -> None:
        """End a job's run and put it back."""
        job.restarts += 1
        job.killed_at = now
        job.exit_code = job.ended = None
        running = job.state is JobBaseState.RUNNING
        job.state, job.becomes = JobBaseState.PENDING, JobBaseState.PENDING
        if running:
            self._end_run(job, JobBaseState.PENDING, now)
        else:
            self._stopped(job, now)

    def cancel(self, job: MemoryJob, now: float) -> None:
        """End a job for good."""
        if job.state is JobBaseState.RUNNING:
            self._end_run(job, JobBaseState.CANCELLED, now)
            return
        job.becomes = JobBaseState.CANCELLED
        if job.completing_until is None:
            job.state, job.ended = JobBaseState.CANCELLED, now

    def drain(self, name: str, reason: str = "drained") -> None:
        """No job starts on the node any more; those on it go on."""
        self.nodes[name].state.add("DRAIN")
        self.nodes[name].reason = reason

    def kill_node(self, name: str, now: float) -> None:
        """The node is dead: jobs on it are requeued, where they may be."""
        self.settle(now)
        self.nodes[name].state.update(("DOWN", "NOT_RESPONDING"))
        for job in self.jobs.values():
            if job.holds_nodes and name in job.nodes:
                self.end_on_dead_node(job, now)

    def end_on_dead_node(self, job: MemoryJob, now: float) -> None:
        """A node of a job's is not there any more, or knows nothing of it."""
        if job.requeues:
            self.requeue(job, now)
        elif job.state is JobBaseState.RUNNING:
            self._end_run(job, JobBaseState.NODE_FAIL, now)

    def restore(self, name: str) -> None:
        """The node may be used again."""
        self.nodes[name].state.clear()
        self.nodes[name].reason = ""
