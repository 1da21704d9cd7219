"""What must hold after every step, whatever happens.

Everything is compared with what is known from outside: the simulated Slurm, the trainings' true
progress, and which faults there were when.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ef_slurm.contract import read_companion_comment
from ef_slurm.model import (
    FINAL,
    Fault,
    Intent,
    IntentAction,
    JobState,
    Promise,
    PromiseOutcome,
    QueueJob,
    is_in_time,
)
from ef_slurm.queue.transitions import TRANSITIONS
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.simulation.faults import ViolationError
from tests.simulation.people import People, SimulatedJob
from tests.simulation.rows import RowsSeen
from tests.simulation.site import Site
from tests.simulation.story import Behaviour, What
from tests.simulation.trainings import companions_of, lives_in_slurm

SPIN_TICKS = 200
"""Ticks within `SPIN_SECONDS` after which the daemon is taken to spin."""
SPIN_SECONDS = 5.0

FAILING_STARTS = 3
"""Starts without progress after which a job has failed, and not before."""
SAYS_ANYTHING = frozenset(
    {Behaviour.SAYS_DONE, Behaviour.GARBAGE, Behaviour.JUMPS, Behaviour.SILENT}
)
"""Trainings whose word on whether they are done counts for nothing, or is missing."""

_FORGETS = frozenset(
    what.value
    for what in What
    if what.name.startswith("KILLED") or what in (What.LOSES_QUEUE, What.CLOCK)
)
"""After which the daemon may not know any more what has taken a job's time."""

KEPT = frozenset({PromiseOutcome.KEPT, PromiseOutcome.KEPT_IN_GRACE, PromiseOutcome.REPLACED})


@dataclass
class Blame:
    """Which faults there were, and from when to when each may explain something."""

    moments: list[tuple[float, str]] = field(default_factory=list)

    def add(self, at: float, what: str) -> None:
        self.moments.append((at, what))

    def before(self, at: float) -> list[str]:
        """The faults that had begun by then."""
        return [what for begun, what in self.moments if begun <= at]

    def has(self, what: What) -> bool:
        """Whether there was any of a kind."""
        return any(each == what.value for _, each in self.moments)


@dataclass
class Invariants:
    """Remembers what was, to compare it with what is."""

    site: Site
    people: People
    blame: Blame
    _states: dict[int, JobState] = field(default_factory=dict)
    _promises: dict[int, Promise] = field(default_factory=dict)
    _version: int = -1
    _ticks: list[float] = field(default_factory=list)
    _finished: dict[int, int] = field(default_factory=dict)
    """The Slurm job as which each job that is done has come to that."""
    _rows: RowsSeen = field(default_factory=RowsSeen)

    def check(self) -> None:
        """After a step."""
        self._no_gpu_twice_in_slurm()
        self._nobody_is_released_too_early()
        self._nothing_done_is_undone()
        if self.site.is_up:
            self._no_spinning()
        version = self.site.record.data_version()
        if version == self._version:
            return
        self._version = version
        jobs = self._rows.now(self.site.record)
        self._states_follow(jobs)
        self._no_gpu_planned_twice(jobs)
        self._promises_stand()

    def _no_gpu_twice_in_slurm(self) -> None:
        for name, free in self.site.cluster.free_gpus().items():
            if free < 0:
                raise ViolationError(f"{name} was given out twice")

    def _nobody_is_released_too_early(self) -> None:
        """Where nothing goes wrong, who is released does not wait for who has not left yet."""
        if self.blame.moments:
            return
        jobs = [
            (job, slurm)
            for job in self.people.jobs
            for slurm in (job.slurm, *companions_of(job.training).values())
        ]
        for job, slurm in jobs:
            waits = slurm.state is JobBaseState.PENDING and slurm.reason == "Resources"
            if not waits or slurm.hold is not HoldKind.NONE or job.owned or job.blamed:
                continue
            for other, held in jobs:
                shared = set(held.nodes) & set(slurm.required)
                if held is not slurm and shared and held.holds_nodes and not other.owned:
                    raise ViolationError(f"job {job.number} waits for {other.number} on {shared}")

    def _nothing_done_is_undone(self) -> None:
        """No checkpoint is lost, and nobody who is done is started again."""
        cluster = self.site.cluster
        for job in self.people.jobs:
            training = job.training
            if training.checkpoint < training.best and training.behaviour.name != "SILENT":
                raise ViolationError(f"job {job.number} is back at {training.checkpoint}")
            if training.finished:
                self._finished.setdefault(job.number, job.slurm.job_id)
            # Whose training is silent, or cannot be understood, and whose Slurm job was purged:
            # nobody knows that it is done.
            purged = self._finished.get(job.number) != job.slurm.job_id
            unknown = Behaviour.SILENT in job.behaved or self.blame.has(What.SLURM_OLDER)
            unknown |= purged and Behaviour.GARBAGE in job.behaved
            if job.number in self._finished and not (training.finished or unknown):
                raise ViolationError(f"job {job.number} was done, and started again")
            twins = [
                other.job_id
                for other in cluster.jobs.values()
                if other.name == job.request.name
                and lives_in_slurm(other, cluster)
                and other.job_id not in companions_of(training)
            ]
            if len(twins) > 1:
                raise ViolationError(f"job {job.number} is in Slurm as {twins}")

    def _no_spinning(self) -> None:
        now = self.site.clock.now
        self._ticks = [at for at in self._ticks if now - SPIN_SECONDS < at <= now]
        self._ticks.append(now)
        if len(self._ticks) > SPIN_TICKS:
            raise ViolationError(f"{SPIN_TICKS} ticks within {SPIN_SECONDS} s")

    def _states_follow(self, jobs: dict[int, QueueJob]) -> None:
        """Nothing is forgotten, and every state is one that may be reached from the one before."""
        for gone in self._states.keys() - jobs.keys():
            raise ViolationError(f"row {gone} is gone")
        for row, job in jobs.items():
            before = self._states.get(row, JobState.NEW)
            if job.state is not before and job.state not in _reachable(before):
                raise ViolationError(f"row {row} went from {before.value} to {job.state.value}")
            if job.state is JobState.HELD and before is not JobState.HELD:
                self._somebody_holds(job)
            if job.note and "cannot be" in job.note and "Error" in job.note:
                self._expected(job.note)
            self._states[row] = job.state

    def _somebody_holds(self, row: QueueJob) -> None:
        """Nobody is told that others hold a job which the daemon itself has not let go."""
        job = self.job_of(row)
        if job is None or job.owned or job.blamed:
            return
        if not self.blame.has(What.SLURM_HOLDS):
            raise ViolationError(f"job {job.number} is held, and nobody holds it: {row.note}")

    def _expected(self, note: str) -> None:
        """A fence ends what goes wrong with one job; only Slurm and the disk may go wrong."""
        allowed = ("Timeout", "Unavailable", "Refused", "Permitted", "UnexpectedOutput", "OSError")
        if not any(word in note for word in (*allowed, "UpdateIncomplete", "NoSuchJob")):
            raise ViolationError(f"an unhandled exception: {note}")

    def _no_gpu_planned_twice(self, jobs: dict[int, QueueJob]) -> None:
        """No two jobs are to hold the same GPUs."""
        held: dict[str, int] = {}
        for job in jobs.values():
            if job.state in FINAL or job.running is None:
                continue
            for node in job.running.block.nodes:
                held[node] = held.get(node, 0) + job.running.block.gpus_per_node
        for node, gpus in held.items():
            if gpus > self.site.cluster.nodes[node].gpus:
                shares = {job.id: job.running for job in jobs.values() if job.running}
                raise ViolationError(f"{gpus} GPUs of {node} are given out: {shares}")

    def _promises_stand(self) -> None:
        """What was promised is never less, and what came of it is never something else."""
        asked = "SELECT id, deadline, grace, outcome FROM promises"
        found = {row["id"]: tuple(row) for row in self.site.record._database.query(asked)}
        for gone in self._promises.keys() - found.keys():
            raise ViolationError(f"promise {gone} is gone")
        known = {key: _columns(promise) for key, promise in self._promises.items()}
        if found == known:
            return
        for promise in self.site.record.promises.all():
            number = promise.id
            before = self._promises.get(number)
            self._promises[number] = promise
            row = self.site.record.jobs.get(promise.job_id)
            if promise.outcome is PromiseOutcome.OPEN and row.state is JobState.NEW:
                raise ViolationError(f"promise {promise} was given to a job without a verdict")
            if before is None:
                self._is_as_asked(promise, row)
                continue
            if (before.deadline, before.grace) != (promise.deadline, promise.grace):
                raise ViolationError(f"promise {number} was {before}, and is {promise}")
            if before.outcome is promise.outcome:
                continue
            was_early = before.outcome is PromiseOutcome.BROKEN and self.blame.has(What.CLOCK)
            if was_early and promise.outcome in (PromiseOutcome.OPEN, *KEPT):
                continue  # called broken by a clock that was ahead
            gives_up = (
                was_early and promise.outcome is PromiseOutcome.VOID
            )  # as if it had been open
            if before.outcome is not PromiseOutcome.OPEN and not gives_up:
                raise ViolationError(f"promise {number} was {before.outcome}, is {promise.outcome}")
            self._is_explained(promise, row)
            self._names_the_fault(promise, row)

    def _is_as_asked(self, promise: Promise, row: QueueJob) -> None:
        if promise.outcome is PromiseOutcome.REPLACED:
            return  # within this step, by one with a record of its own
        job = self.job_of(row)
        recorded = self.site.records.of(promise.job_id).promise
        # One that was changed to a later deadline is kept by whatever keeps the one before.
        if recorded is None or recorded.deadline > promise.deadline:
            raise ViolationError(f"promise {promise} was given before it was recorded: {recorded}")
        if job is not None and not job.owned and promise.deadline != job.request.deadline:
            raise ViolationError(f"promise {promise} is for another deadline than {job.request}")

    def _is_explained(self, promise: Promise, row: QueueJob) -> None:
        """Whether somebody, or some fault, is to blame for a promise that is not kept."""
        job = self.job_of(row)
        if promise.outcome in KEPT or job is None or job.owned or job.blamed:
            return
        if any(before.owned for before in self._waited_for(job)):
            return  # held, or made longer, while this one waited for its end
        if any(other.blamed for other in self.people.jobs):
            return  # whoever does not leave when told may hold up others for a while
        now = self.site.clock.now
        if promise.outcome is PromiseOutcome.VOID:
            limited = job.spec.max_time is not None and promise.fault is Fault.JOB
            if not (limited or self.blame.before(now)):
                raise ViolationError(f"promise {promise} is void, and whose fault is it? {row}")
            return
        if not self.blame.before(now):
            raise ViolationError(f"promise {promise} is broken without any fault: {row}")

    def _waited_for(self, job: SimulatedJob) -> Iterator[SimulatedJob]:
        """The jobs of the same user for whose end this one waits, or those wait."""
        while job.spec.after is not None and job.spec.after < job.number:
            job = self.people.jobs[job.spec.after]
            yield job

    def _names_the_fault(self, promise: Promise, row: QueueJob) -> None:
        """What others have done is not laid to the job, nor what it did to others.

        Its owner could have the latter at will.
        """
        job = self.job_of(row)
        if promise.outcome is not PromiseOutcome.BROKEN or job is None or job.owned:
            return
        forgot = any(what in _FORGETS for what in self.blame.before(self.site.clock.now))
        others = any(other.blamed or other.owned for other in self.people.jobs if other is not job)
        # Who does not leave takes time from others in more ways than the daemon keeps account of.
        if promise.fault is Fault.JOB and not (job.blamed or forgot or others):
            raise ViolationError(f"promise {promise} is laid to its job, which did nothing: {row}")
        done = {What.MISBEHAVES.value, What.SCRIPT_DIES.value}
        if not job.blamed or others or set(self.blame.before(self.site.clock.now)) - done:
            return
        if job.spec.known and promise.fault not in (Fault.JOB, Fault.OWNER):
            raise ViolationError(f"promise {promise} is laid to others, who did nothing: {row}")

    def job_of(self, row: QueueJob) -> SimulatedJob | None:
        """The job of a row."""
        name = row.request.name.removeprefix("secret")
        return self.people.jobs[int(name)] if name.isdecimal() else None

    def queue_was_rebuilt(self) -> None:
        """What was promised is there again; what nobody had been told may be gone.

        So may be who was promised nothing, and of whom nothing could be recorded.

        Events and ids of promises are others then, and records may be a tick older.
        """
        queue = self.site.record
        rows = {job.id: job for job in queue.jobs.all(JobState)}
        lost = list[int]()
        killed = any(kind.name.startswith("KILLED") and self.blame.has(kind) for kind in What)
        promised = {promise.job_id for promise in self._promises.values()}
        for row_id, state in self._states.items():
            if row_id in rows:
                continue
            records = self.site.records
            missing = row_id in records.missing or (killed and not records.has(row_id))
            unrecorded = missing and row_id not in promised
            if state not in (JobState.NEW, JobState.REJECTED) and not unrecorded:
                raise ViolationError(f"row {row_id}, {state.value}, is not in the rebuilt queue")
            lost.append(row_id)
        for promise in self._promises.values():
            now = queue.promises.of(promise.job_id)
            if promise.outcome is not PromiseOutcome.OPEN:
                continue
            if now is None or _asked(now) != _asked(promise):
                raise ViolationError(f"promise {promise} is {now} in the rebuilt queue")
        known = {row.request.name for row in rows.values()}
        self.people.queue_was_rebuilt(
            [job.number for job in self.people.jobs if job.request.name not in known]
        )
        self._states = {job.id: job.state for job in rows.values()}
        self._promises = {promise.id: promise for promise in queue.promises.all()}
        self._version, self._rows = -1, RowsSeen()

    def check_end(self) -> None:
        """When everything has come to its end."""
        queue, cluster = self.site.record, self.site.cluster
        self.site.check_file()
        if queue.companions.present():
            raise ViolationError(f"companions are left: {queue.companions.present()}")
        rows = {row.request.name: row for row in queue.jobs.all(JobState)}
        doubtful = {one.job_id for one in queue.intents.unfinished() if self._is_doubtful(one)}
        unfinished = [one for one in queue.intents.unfinished() if one.job_id not in doubtful]
        if unfinished:
            raise ViolationError(f"unfinished: {unfinished}")
        for job in self.people.jobs:
            row = rows.get(job.request.name)
            if row is None:
                if job.registered:
                    raise ViolationError(f"job {job.number} was lost")
                continue
            self._ended_well(job, row)
            for companion in companions_of(job.training).values():
                # One that its owner has renamed before it was believed is the owner's own job.
                is_ours = companion.holds_nodes or read_companion_comment(companion.comment)
                if is_ours and lives_in_slurm(companion, cluster):
                    raise ViolationError(f"row {row.id} has left a companion: {companion}")
            slurm = cluster.jobs.get(job.slurm.job_id)
            if slurm is None or slurm.user != job.slurm.user or row.id in doubtful:
                continue  # forgotten; its number may be a stranger's by now
            if slurm.state in (JobBaseState.RUNNING, JobBaseState.PENDING):
                raise ViolationError(
                    f"row {row.id} is {row.state.value}; in Slurm there is {slurm}"
                )

    def _is_doubtful(self, intent: Intent) -> bool:
        """Nobody can tell whether a lost job was submitted again: it is its owner's to look."""
        row = self.site.record.jobs.get(intent.job_id)
        return intent.action is IntentAction.SUBMIT and row.state is JobState.LOST

    def _ended_well(self, job: SimulatedJob, row: QueueJob) -> None:
        promise = self.site.record.promises.of(row.id)
        training = job.training
        honest = not (job.owned or job.blamed)
        self._ended_for_what_it_did(job, row)
        if row.state is JobState.COMPLETED and honest and not training.finished:
            raise ViolationError(f"job {job.number} is completed, and has not trained: {row}")
        late = row.state is JobState.REJECTED and not (job.spec.known and job.spec.told)
        if training.finished and honest and row.state is not JobState.COMPLETED and not late:
            raise ViolationError(f"job {job.number} has trained, is {row.state.value}: {row.note}")
        if honest and row.state in (JobState.CANCELLED, JobState.FAILED, JobState.LOST):
            # Slurm forgets who has ended, also those of whom nobody has heard how.
            unheard = row.state is JobState.LOST and self.site.story.min_job_age < 1e9
            limited = job.spec.max_time is not None and (row.state is JobState.FAILED or unheard)
            waits = job.spec.after is not None or job.spec.members > 1
            if not (limited or job.forgotten or waits):
                raise ViolationError(f"job {job.number} is {row.state.value}: {row.note}")
        self._not_lost_where_accounting_knows(job, row)
        if promise is None:
            return
        if promise.outcome is PromiseOutcome.OPEN:
            raise ViolationError(f"promise {promise} of {row.state.value} job {job.number} is open")
        if (promise.fault is None) is not (promise.outcome in KEPT):
            raise ViolationError(f"promise {promise} names the wrong fault")
        if row.state is JobState.COMPLETED and honest and not self.blame.has(What.CLOCK):
            assert row.ended_at is not None
            expected = PromiseOutcome.BROKEN
            if is_in_time(row.ended_at, promise.deadline):
                expected = PromiseOutcome.KEPT
            elif is_in_time(row.ended_at, promise.deadline, promise.grace):
                expected = PromiseOutcome.KEPT_IN_GRACE
            if promise.outcome is not expected:
                raise ViolationError(f"promise {promise} of a job that ended at {row.ended_at}")

    def _not_lost_where_accounting_knows(self, job: SimulatedJob, row: QueueJob) -> None:
        known = self.site.cluster.accounted.get(row.request.slurm_job_id)
        if row.state is not JobState.LOST or known is None or not self.site.story.accounting:
            return
        same = known.name == row.request.name and known.state is JobBaseState.CANCELLED
        if same and not self.blame.has(What.COMMAND_FAULT):
            raise ViolationError(f"job {job.number} is lost, and accounting knows how it ended")

    def _ended_for_what_it_did(self, job: SimulatedJob, row: QueueJob) -> None:
        """Whatever else befell it: complete is who has trained, or says so; three starts fail."""
        says = job.behaved & SAYS_ANYTHING or row.request.iterations != job.request.iterations
        if row.state is JobState.COMPLETED and not (job.training.finished or says):
            raise ViolationError(f"job {job.number} is completed, and has not trained: {row}")
        starts = re.search(r"\((\d+) times without progress\)", row.note or "")
        if row.state is JobState.FAILED and starts and int(starts[1]) < FAILING_STARTS:
            raise ViolationError(f"job {job.number} failed after too few starts: {row.note}")


def _asked(promise: Promise) -> tuple[float, float]:
    return promise.deadline, promise.grace


def _columns(promise: Promise) -> tuple[object, ...]:
    return promise.id, promise.deadline, promise.grace, promise.outcome.value


@functools.cache
def _reachable(state: JobState) -> frozenset[JobState]:
    """What may follow a state in one step of the simulation, which may be several of the job."""
    found, edge = set[JobState](), {state}
    while edge:
        edge = {after for one in edge for after in TRANSITIONS[one]} - found
        found |= edge
    return frozenset(found)
