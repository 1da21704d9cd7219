"""`Slurm` over a `MemoryCluster`: no processes, the caller's clock. For replays and tests."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from ef_slurm.formats.durations import parse_duration
from ef_slurm.formats.gres import GpuCount
from ef_slurm.slurm.accounting_types import Accounting
from ef_slurm.slurm.errors import (
    HeldFirstError,
    NoSuchJobError,
    NotPermittedError,
    RefusedError,
    SlurmTimeoutError,
    SlurmUnavailableError,
    UpdateIncompleteError,
)
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmLicense, SlurmPartition
from ef_slurm.slurm.types import (
    FINAL_STATES,
    HeldGpus,
    HoldKind,
    JobBaseState,
    JobUpdate,
    Observation,
    Requested,
    Shape,
    SignalTarget,
    SlurmJob,
    SlurmNode,
    Submission,
    Submitted,
)
from tests.fakes.memory_cluster import MemoryCluster, MemoryJob, MemoryNode

_HELD = {HoldKind.USER: "JobHeldUser", HoldKind.ADMIN: "JobHeldAdmin"}


class MemorySlurm:
    """One user's view of a cluster in memory (see `interface.Slurm`).

    Args:
        cluster: shared by all views.
        clock: the present, UTC epoch seconds; virtual in replays.
        user, uid: who acts.
        operator: whether they may act on everybody's jobs.
    """

    def __init__(
        self,
        cluster: MemoryCluster,
        clock: Callable[[], float],
        *,
        user: str = "ef-slurm",
        uid: int = 0,
        operator: bool = True,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._user = user
        self._uid = uid
        self._operator = operator

    def observe(self) -> Observation:
        """The whole cluster."""
        now = self._reach()
        return Observation(
            at=now,
            jobs=MappingProxyType(
                {job_id: _seen(job, now) for job_id, job in self._cluster.jobs.items()}
            ),
            nodes=self.nodes(),
            reservations=self._cluster.reservations,
        )

    def nodes(self) -> tuple[SlurmNode, ...]:
        """Every node, in order."""
        self._reach()
        free = self._cluster.free_gpus()
        return tuple(
            _seen_node(node, free[name], self._cluster.partition)
            for name, node in self._cluster.nodes.items()
        )

    def job(self, job_id: int) -> SlurmJob:
        """One job, read again."""
        now = self._reach()
        return _seen(self._known(job_id), now)

    def jobs(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """Some jobs, read again with one query."""
        now = self._reach()
        known = self._cluster.jobs
        return {job_id: _seen(known[job_id], now) for job_id in job_ids if job_id in known}

    def ended(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """How jobs ended that Slurm may have forgotten."""
        if not self._cluster.slurmdbd:
            raise SlurmUnavailableError("Slurm accounting storage is disabled")
        known = {**self._cluster.accounted, **self._cluster.jobs}  # the latest of an id
        found = (_seen(known[job_id], self._clock()) for job_id in job_ids if job_id in known)
        return {job.job_id: _accounted(job) for job in found if job.is_final}

    def step_nodes(self, job_id: int) -> frozenset[str]:
        """Nodes on which a running job's script has a step."""
        self._reach()
        job = self._known(job_id)
        runs = job.state is JobBaseState.RUNNING
        return frozenset(job.nodes).intersection(job.step_nodes) if runs else frozenset()

    def configuration(self) -> SlurmConfiguration:
        """Slurm's version and settings."""
        self._reach()
        timing = self._cluster.timing
        return SlurmConfiguration(
            version=(24, 11, 5),
            cluster="memory",
            kill_wait=max(1.0, timing.stop),
            min_job_age=timing.min_job_age,
            job_requeue=True,
            job_submit_plugins=(),
            settings={"BOOT_TIME": f"boot {self._cluster.boots}"},
        )

    def partitions(self) -> tuple[SlurmPartition, ...]:
        """The one partition."""
        self._reach()
        plain = SlurmPartition(self._cluster.partition, True, tuple(self._cluster.nodes))
        return (self._cluster.partition_limits or plain,)

    def licenses(self) -> tuple[SlurmLicense, ...]:
        """What the cluster was given."""
        self._reach()
        return self._cluster.licenses

    def accounting(self, users: Collection[str]) -> Accounting:  # noqa: ARG002
        """What the cluster was given."""
        self._reach()
        return self._cluster.accounting

    def test(self, submission: Submission) -> None:
        """Whether a batch script would be taken."""
        self._reach()
        self._check(submission)

    def submit(self, submission: Submission) -> Submitted:
        """Take a batch script, held."""
        now = self._reach()
        options = self._check(submission)
        job = self._cluster.add_job(
            self._user,
            options.get("job-name", "sbatch"),
            now=now,
            uid=self._uid,
            account=options.get("account", ""),
        )
        job.comment = options.get("comment", "")
        for option, field in (("qos", "QOS"), ("licenses",) * 2, ("reservation",) * 2):
            if option in options:
                job.settings[field] = options[option]
        for option, name in _PER_GPU.items():
            if option in options:
                job.settings[name] = f"gres/gpu:{options[option].removesuffix('M')}"
        if "time" in options:
            job.time_limit = parse_duration(options["time"])
        self._answer()
        return Submitted(job.job_id)

    def _check(self, submission: Submission) -> dict[str, str]:
        """The options of a batch script that would be taken."""
        if not submission.script.startswith("#!"):
            raise RefusedError(
                "This does not look like a batch script.  The first line must start with #!"
            )
        matches = map(_LONG_OPTION.fullmatch, submission.options)
        options = {match[1]: match[2] for match in matches if match}
        partition = options.get("partition", self._cluster.partition)
        if partition != self._cluster.partition:
            raise RefusedError(f"invalid partition specified: {partition}")
        return options

    def hold(self, job_id: int, *, foreign: Collection[HoldKind] = ()) -> None:
        """Keep a job from starting."""
        self._reach()
        job = self._permitted(job_id)
        if job.state in FINAL_STATES:
            raise RefusedError("Job/step already completing or completed")
        if job.hold in foreign:
            raise HeldFirstError(f"job {job_id} is held by its owner")
        if self._operator:
            job.hold = HoldKind.ADMIN
        elif job.hold is HoldKind.NONE:
            job.hold = HoldKind.USER
        self._answer()

    def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
        """Change a job and read it back. As in Slurm, a wrong node leaves the rest applied."""
        now = self._reach()
        job = self._permitted(job_id)
        difference = ""
        if update.shape is not None:
            if not _seen(job, now).is_pending:
                raise RefusedError(f"job {job_id} is not pending: its shape cannot change")
            difference = self._reshape(job, update.shape)
        if update.time_limit is not None:
            minutes = update.time_limit / 60
            job.time_limit = math.inf if math.isinf(minutes) else math.ceil(minutes) * 60.0
        if update.comment is not None:
            job.comment = update.comment
        if update.start_now and job.state is JobBaseState.PENDING:
            job.begin = now
        if difference:
            raise UpdateIncompleteError("Invalid node name specified", differences=(difference,))
        self._answer()
        return self.job(job_id)

    def _reshape(self, job: MemoryJob, shape: Shape) -> str:
        count = len(shape.nodes)
        job.min_nodes = job.max_nodes = job.tasks = count
        job.gpus_per_node = shape.gpus_per_node
        unknown = [name for name in shape.nodes if name not in self._cluster.nodes]
        if unknown:
            return f"node list: there is no {', '.join(unknown)}"
        job.required = shape.nodes
        return ""

    def release(self, job_id: int) -> None:
        """End a hold."""
        now = self._reach()
        job = self._permitted(job_id)
        if job.hold is HoldKind.ADMIN and not self._operator:
            raise NotPermittedError("Access/permission denied")
        if job.hold is not HoldKind.NONE:
            job.hold, job.released = HoldKind.NONE, now
        self._cluster.settle(now)
        self._answer()

    def resize(self, job_id: int, nodes: Sequence[str]) -> SlurmJob:
        """Shrink a running job to some of its nodes."""
        now = self._reach()
        job = self._permitted(job_id)
        if set(nodes) != set(job.nodes):
            running = job.state is JobBaseState.RUNNING
            if not running or not nodes or not set(nodes) < set(job.nodes):
                raise RefusedError("Requested node configuration is not available")
            if job.nodes[0] not in nodes:
                raise RefusedError("Invalid node name specified")
            job.nodes = tuple(name for name in job.nodes if name in nodes)
            job.min_nodes = job.max_nodes = job.tasks = len(nodes)
            job.required = job.nodes
            self._cluster.settle(now)
        self._answer()
        return self.job(job_id)

    def requeue(
        self, job_id: int, *, ended: bool = False, foreign: Collection[HoldKind] = ()
    ) -> None:
        """End a job's run and put it back, held."""
        now = self._reach()
        job = self._permitted(job_id)
        if job.state in FINAL_STATES and job.completing_until is None and not ended:
            raise RefusedError(f"job {job_id} has ended: {job.state.value}")
        if not job.may_requeue:
            raise RefusedError("Requested operation is presently disabled")
        if job.state is not JobBaseState.PENDING:
            self._cluster.requeue(job, now)
        elif job.hold in foreign:
            raise HeldFirstError(f"job {job_id} was put back by others, and is held")
        if self._operator:
            job.hold = HoldKind.ADMIN
        elif job.hold is HoldKind.NONE:
            job.hold = HoldKind.USER
        self._answer()

    def signal(self, job_id: int, signal: str, target: SignalTarget) -> None:
        """Note a signal to a running job: `MemoryJob.signals` tells."""
        self._reach()
        job = self._permitted(job_id)
        if job.state is not JobBaseState.RUNNING:
            raise RefusedError("Job/step already completing or completed")
        job.signals.append(f"{signal}:{target.value}")
        self._answer()

    def cancel(self, job_id: int) -> None:
        """Cancel a job. One that has ended or is unknown stays as it is."""
        now = self._reach()
        if job_id in self._cluster.jobs:
            job = self._permitted(job_id)
            if job.state not in FINAL_STATES:
                self._cluster.cancel(job, now)
        self._answer()

    def _reach(self) -> float:
        """The present, with everything due done.

        Raises:
            SlurmUnavailableError: the cluster was made unreachable.
        """
        if not self._cluster.reachable:
            raise SlurmUnavailableError("Unable to contact slurm controller (connect failure)")
        now = self._clock()
        self._cluster.settle(now)
        return now

    def _answer(self) -> None:
        """Lose the answer to what was just done, if that was asked for.

        Raises:
            SlurmTimeoutError: it was.
        """
        if self._cluster.answers_lost:
            self._cluster.answers_lost -= 1
            raise SlurmTimeoutError("Socket timed out on send/recv operation")

    def _known(self, job_id: int) -> MemoryJob:
        job = self._cluster.jobs.get(job_id)
        if job is None:
            raise NoSuchJobError(f"Slurm does not know job {job_id}")
        return job

    def _permitted(self, job_id: int) -> MemoryJob:
        job = self._known(job_id)
        if not self._operator and job.user != self._user:
            raise NotPermittedError("Access/permission denied")
        return job


_PER_GPU = {"cpus-per-gpu": "CPUs per GPU", "mem-per-gpu": "memory per GPU"}
_LONG_OPTION = re.compile(r"--([a-z-]+)=(.*)", re.DOTALL)


def _seen(job: MemoryJob, now: float) -> SlurmJob:
    pending = job.state is JobBaseState.PENDING
    ends = None if pending or job.started is None else job.started + job.time_limit
    return SlurmJob(
        job_id=job.job_id,
        name=job.name,
        user=job.user,
        uid=job.uid,
        account=job.account,
        state=job.state,
        flags=_flags(job, now),
        reason=_HELD.get(job.hold, job.reason) if pending else job.reason,
        hold=job.hold if pending else HoldKind.NONE,
        requested=job.requested,
        nodes=job.nodes,
        held=tuple(HeldGpus(name, "", job.gpus_per_node) for name in job.nodes),
        submit_time=job.submitted,
        start_time=job.started,
        end_time=job.ended if job.ended is not None else ends,
        restarts=job.restarts,
        batch_host=job.nodes[0] if job.nodes else "",
        exit_code=job.exit_code,
        settings=tuple(sorted(job.settings.items())),
        array=job.array,
        heterogeneous=job.heterogeneous,
    )


def _accounted(job: SlurmJob) -> SlurmJob:
    """As much as accounting knows of it."""
    return SlurmJob(
        job_id=job.job_id,
        name=job.name,
        user=job.user,
        uid=job.uid,
        account="",
        state=job.state,
        flags=frozenset(),
        reason="",
        hold=HoldKind.NONE,
        requested=Requested(None, None, None, None),
        submit_time=job.submit_time,
        start_time=job.start_time,
        end_time=job.end_time,
        exit_code=job.exit_code,
    )


def _flags(job: MemoryJob, now: float) -> frozenset[str]:
    if job.completing_until is not None:
        return frozenset({"COMPLETING"})
    waits = job.state is JobBaseState.RUNNING and job.started is not None and job.started > now
    return frozenset({"CONFIGURING"}) if waits else frozenset()


def _seen_node(node: MemoryNode, free: int, partition: str) -> SlurmNode:
    load = "IDLE" if free == node.gpus else "ALLOCATED" if free == 0 else "MIXED"
    return SlurmNode(
        name=node.name,
        state=frozenset({load} | node.state),
        gpus=(GpuCount(node.gpu_type, node.gpus),),
        partitions=(partition,),
        reason=node.reason,
        cpus=64,
    )
