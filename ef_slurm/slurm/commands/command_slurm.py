"""`Slurm` by Slurm's own commands: sbatch, scontrol, squeue --json, scancel.

Works alike on 22.05, 24.11 and 26.05: where they differ the form that all of them take is used.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ef_slurm.formats.durations import format_minutes
from ef_slurm.formats.hostlist import compress
from ef_slurm.slurm.accounting_types import Accounting
from ef_slurm.slurm.commands.accounting_limits import read_accounting
from ef_slurm.slurm.commands.ended import ended_jobs
from ef_slurm.slurm.commands.job_json import parse_jobs
from ef_slurm.slurm.commands.job_looks import JobLooks
from ef_slurm.slurm.commands.job_steps import parse_step_nodes
from ef_slurm.slurm.commands.listing import (
    parse_configuration,
    parse_licenses,
    parse_nodes,
    parse_partitions,
    parse_reservations,
)
from ef_slurm.slurm.commands.output_file import output_file
from ef_slurm.slurm.commands.recent import RecentJobs
from ef_slurm.slurm.commands.runner import Result, Runner
from ef_slurm.slurm.errors import (
    HeldFirstError,
    NoSuchJobError,
    RefusedError,
    SlurmTimeoutError,
    UnexpectedOutputError,
    UpdateIncompleteError,
)
from ef_slurm.slurm.per_gpu import per_gpu_of
from ef_slurm.slurm.read_back import differences_of, gres_of
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmLicense, SlurmPartition
from ef_slurm.slurm.types import (
    HoldKind,
    JobBaseState,
    JobUpdate,
    Observation,
    Shape,
    SignalTarget,
    SlurmJob,
    SlurmNode,
    Submission,
    Submitted,
)

SIGNAL_SECONDS = 2.0
"""For a signal: scancel tries again for minutes where the job has just ended."""

NO_GPUS = "TresPerNode="
"""What takes from a held job the GPUs that it has asked for."""

_OLD_RELEASE = re.compile(r"2[23]\.")
"""Of Slurms that add a type of GPU to those that a job has asked for, and refuse one beside none:
22.05 does, 24.11 does not; what is between them is taken to (`docs/slurm.md`)."""

_HELD_BY_OWNER = re.compile(r"^\s*JobState=\S+ Reason=JobHeldUser\b", re.M)
"""In `scontrol show job`. Who writes it into a job's name holds that job, and no other."""

_TARGETS = {SignalTarget.STEPS: (), SignalTarget.BATCH: ("--batch",), SignalTarget.ALL: ("--full",)}


class CommandSlurm:
    """Slurm through its commands (see `interface.Slurm`).

    Args:
        runner: how commands are run.
        clock: the present, UTC epoch seconds.
    """

    def __init__(
        self, runner: Runner | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._runner = runner or Runner()
        self._clock = clock
        self._looks = JobLooks(self._answer, clock)
        self._recent = RecentJobs()

    def observe(self) -> Observation:
        """The whole cluster: one query for jobs, one for nodes, one for reservations."""
        at, began = self._clock(), time.monotonic()
        jobs = self._looks.look()
        self._recent.look(jobs, began)
        return Observation(
            at=at,
            jobs=jobs,
            nodes=self.nodes(),
            reservations=parse_reservations(self._show("reservations")),
        )

    def jobs(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """Some jobs, read again with one query."""
        if not job_ids:
            return {}
        named = ",".join(map(str, sorted(set(job_ids))))
        try:
            found = parse_jobs(self._ask("squeue", "--json", "--states=all", f"--jobs={named}"))
        except NoSuchJobError:  # what squeue says where it was asked for a single one
            return {}
        # 22.05 answers with all jobs whatever it is asked for.
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def ended(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """How jobs ended that Slurm may have forgotten, as its accounting says."""
        return ended_jobs(self._runner, sorted(set(job_ids)))

    def job(self, job_id: int) -> SlurmJob:
        """One job, read again."""
        job = self.jobs((job_id,)).get(job_id)
        if job is None:
            raise NoSuchJobError(f"Slurm does not know job {job_id}")
        return job

    def step_nodes(self, job_id: int) -> frozenset[str]:
        """Nodes on which steps of a job run, its batch script not counted."""
        command = ("squeue", "--noheader", "--steps", f"--jobs={job_id}", "--format=%i %N")
        return parse_step_nodes(self._ask(*command), job_id)

    def configuration(self) -> SlurmConfiguration:
        """Slurm's version and settings."""
        return parse_configuration(self._ask("scontrol", "show", "config"))

    def nodes(self) -> tuple[SlurmNode, ...]:
        """Every node, in Slurm's order."""
        return parse_nodes(self._show("nodes"))

    def partitions(self) -> tuple[SlurmPartition, ...]:
        """Every partition."""
        return parse_partitions(self._show("partitions"))

    def licenses(self) -> tuple[SlurmLicense, ...]:
        """Every licence that Slurm counts."""
        return parse_licenses(self._show("licenses"))

    def accounting(self, users: Collection[str]) -> Accounting:
        """What accounting limits: every QOS and account, and these users."""
        configuration = self.configuration()
        if not configuration.enforces_limits:
            return Accounting()
        return read_accounting(self._runner, configuration.cluster, users)

    def test(self, submission: Submission) -> None:
        """Ask whether a submission would be taken, as `submit` would be answered."""
        try:
            self._sbatch(submission, "--test-only")
        except RefusedError as error:
            # A reservation that has not begun: such a job is taken, and waits.
            if "Invalid time specified" not in error.message:
                raise

    def submit(self, submission: Submission) -> Submitted:
        """Submit a batch script, held, as the calling user."""
        result = self._sbatch(submission, "--parsable")
        answer = re.search(r"^(\d+)(?:;(\S+))?\s*$", result.stdout, re.M | re.A)
        if answer is None:
            raise UnexpectedOutputError(f"sbatch wrote {result.stdout!r}, no job id")
        return Submitted(int(answer[1]), answer[2] or "", result.stderr.strip())

    def _sbatch(self, submission: Submission, option: str) -> Result:
        # sbatch takes arguments only behind the name of a script.
        script = ("/dev/stdin", *submission.arguments) if submission.arguments else ()
        return self._runner.run(
            ("sbatch", *submission.options, "--hold", option, *script),
            environment=_environment(submission),
            directory=submission.directory,
            text=submission.script,
        )

    def hold(self, job_id: int, *, foreign: Collection[HoldKind] = ()) -> None:
        """Keep a pending job from starting, and a running one from starting again."""
        self._recent.forget(job_id)
        if HoldKind.USER not in foreign:
            self._ask("scontrol", "hold", str(job_id))
            return
        said = self._several(f"show job {job_id}", f"hold {job_id}")
        self._give_back(job_id, said, "is held by its owner")

    def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
        """Change a job and read it back."""
        if update == JobUpdate():
            return self.job(job_id)
        cpus_per_gpu, clears = 0, False
        if update.shape is not None:
            job = self._held(job_id)
            if not job.is_pending:
                # Parts of a shape would be taken as a resize.
                raise RefusedError(f"job {job_id} is not pending: its shape cannot change")
            cpus_per_gpu = int(per_gpu_of(job.settings).cpus)
            clears = _keeps_types(job, update.shape)
        changes = _changes(update, cpus_per_gpu)
        refusal = ""
        try:
            if clears:
                self._ask("scontrol", "update", f"jobid={job_id}", NO_GPUS)
            self._ask("scontrol", "update", f"jobid={job_id}", *changes)
        except RefusedError as error:
            refusal = error.message
        job = self.job(job_id)
        differences = differences_of(update, job)
        if refusal or differences:
            raise UpdateIncompleteError(
                refusal
                or "Slurm took the update but did not apply all of it: " + "; ".join(differences),
                differences=differences,
                command=("scontrol", "update", f"jobid={job_id}", *changes),
            )
        return job

    def release(self, job_id: int) -> None:
        """End a hold. A job that is not held stays as it is."""
        self._recent.forget(job_id)
        try:
            self._ask("scontrol", "release", str(job_id))
        except RefusedError:
            # Already started or ended: nothing is held any more.
            if self.job(job_id).hold is not HoldKind.NONE:
                raise

    def resize(self, job_id: int, nodes: Sequence[str]) -> SlurmJob:
        """Shrink a running job to some of its nodes. GPUs per node stay."""
        job = self.job(job_id)
        if set(job.nodes) == set(nodes):
            return job
        if not job.is_running or not nodes or not set(nodes) < set(job.nodes):
            raise RefusedError(
                f"job {job_id} cannot shrink to {compress(nodes) or 'no nodes'}: it is "
                f"{job.state.value} on {compress(job.nodes) or 'no nodes'}"
            )
        self._recent.forget(job_id)
        self._ask("scontrol", "update", f"jobid={job_id}", f"ReqNodeList={compress(nodes)}")
        job = self.job(job_id)
        if set(job.nodes) != set(nodes):
            raise UpdateIncompleteError(
                f"Slurm took the resize of job {job_id} to {compress(nodes)}, but it is on "
                f"{compress(job.nodes)}",
                differences=(f"nodes {compress(job.nodes)}, not {compress(nodes)}",),
            )
        return job

    def requeue(
        self, job_id: int, *, ended: bool = False, foreign: Collection[HoldKind] = ()
    ) -> None:
        """End a job's run and put it back, held. One that others put back, and hold, is left.

        Slurm shows JobHeldUser after anybody's requeuehold, and takes `requeue incomplete` of a job
        that pends already without a word. So a run is ended without a hold; what holds the job
        before ours, a line later, is not ours, and is given back. One that has ended may start at
        once, and is put back held: Slurm refuses that where somebody was faster.
        """
        job = self._running(job_id)
        if job.is_final and not ended:
            raise RefusedError(f"job {job_id} has ended: {job.state.value}")
        if job.state is JobBaseState.PENDING:
            self._hold_requeued(job, foreign)
            return
        self._recent.forget(job_id)
        said, was_final = "", job.is_final
        try:
            if was_final:
                self._ask("scontrol", "requeuehold", str(job_id))
            else:  # not if it has ended meanwhile
                said = self._several(
                    f"requeue incomplete {job_id}", f"show job {job_id}", f"hold {job_id}"
                )
        except RefusedError:
            job = self.job(job_id)
            if job.is_final:
                words = f"job {job_id} has ended: {job.state.value}"
                raise RefusedError(words) from None
            if job.state is not JobBaseState.PENDING:
                raise
            self._hold_requeued(job, foreign)  # somebody was faster
            return
        if was_final:
            self.hold(job_id)  # its owner could end the first one, which is ours
        elif HoldKind.USER in foreign:
            self._give_back(job_id, said, "was put back by others, and is held by its owner")

    def _give_back(self, job_id: int, said: str, words: str) -> None:
        """What was seen to be its owner's hold just before ours is theirs again.

        Args:
            said: by `scontrol show job` then.
            words: what is to be told of the job.
        """
        if _HELD_BY_OWNER.search(said):
            self._ask("scontrol", "uhold", str(job_id))
            raise HeldFirstError(f"job {job_id} {words}")

    def _hold_requeued(self, job: SlurmJob, foreign: Collection[HoldKind]) -> None:
        """Hold a job that pends, unless others do."""
        if job.hold in foreign:
            words = f"job {job.job_id} was put back by others, and is held ({job.reason})"
            raise HeldFirstError(words)
        self.hold(job.job_id)

    def signal(self, job_id: int, signal: str, target: SignalTarget) -> None:
        """Send a signal to a running job's processes."""
        job = self._running(job_id)
        if not job.is_running:
            # scancel would try again and again for minutes.
            raise RefusedError(f"job {job_id} is not running: {job.state.value}")
        command = ("scancel", f"--signal={signal}", *_TARGETS[target], str(job_id))
        hasty = replace(self._runner, timeout=min(SIGNAL_SECONDS, self._runner.timeout))
        try:
            hasty.query(command)
        except SlurmTimeoutError as error:
            if self.job(job_id).is_running:
                raise
            words = f"job {job_id} has ended: {error.message}"
            raise RefusedError(words, command=command) from error

    def cancel(self, job_id: int) -> None:
        """Cancel a job. One that has ended or is unknown stays as it is."""
        self._recent.forget(job_id)
        try:
            self._ask("scancel", str(job_id))
        except RefusedError:
            if not self.job(job_id).is_final:
                raise

    def output_file(self, job_id: int) -> Path | None:
        """Where a job writes its standard output; None where Slurm does not tell."""
        return output_file(self._ask("scontrol", "--oneliner", "show", "job", str(job_id)), job_id)

    def _held(self, job_id: int) -> SlurmJob:
        """A job that is thought to pend, read only where the last look does not say so."""
        job = self._recent.get(job_id)
        held = job is not None and job.is_pending and job.hold is not HoldKind.NONE
        return job if job is not None and held else self.job(job_id)

    def _running(self, job_id: int) -> SlurmJob:
        """The same of a job that is thought to run."""
        job = self._recent.get(job_id)
        return job if job is not None and job.is_running else self.job(job_id)

    def _answer(self, *command: str) -> Result:
        return self._runner.query(command)

    def _ask(self, *command: str) -> str:
        return self._answer(*command).stdout

    def _several(self, *lines: str) -> str:
        """Some of scontrol's commands in one process; each is done whatever became of others."""
        text = "".join(f"{line}\n" for line in (*lines, "quit"))
        return self._runner.query(("scontrol",), text).stdout

    def _show(self, what: str) -> str:
        return self._ask("scontrol", "--oneliner", "show", what)


def _environment(submission: Submission) -> Mapping[str, str]:
    """sbatch's environment; of this process's own without what would change the job's options."""
    if submission.environment is not None:
        return submission.environment
    return {name: value for name, value in os.environ.items() if not name.startswith("SBATCH_")}


def _keeps_types(job: SlurmJob, shape: Shape) -> bool:
    """Whether GPUs of the types that a job has asked for stay beside those of its new shape."""
    old = _OLD_RELEASE.match(dict(job.settings).get("Slurm", ""))
    return old is not None and bool(job.requested.gpu_type or shape.gpu_type)


def _changes(update: JobUpdate, cpus_per_gpu: int) -> list[str]:
    """The portable update line: the spellings that 22.05, 24.11 and 26.05 all take."""
    changes: list[str] = []
    if update.shape is not None:
        count = len(update.shape.nodes)
        changes += [
            f"NumNodes={count}-{count}",
            f"NumTasks={count}",
            # 22.05 does not derive them from those per GPU.
            f"NumCPUs={max(count, update.shape.gpus * cpus_per_gpu)}",
            f"ReqNodeList={compress(update.shape.nodes)}",
            f"TresPerNode=gres:{gres_of(update.shape)}",
        ]
    if update.time_limit is not None:
        changes.append(f"TimeLimit={format_minutes(update.time_limit)}")
    if update.comment is not None:
        changes.append(f"Comment={update.comment}")
    if update.start_now:
        changes.append("StartTime=now")
    return changes
