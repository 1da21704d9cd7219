"""What owners want otherwise of jobs that are in the queue: judged, and written.

What loosens a promise is done as it is asked; the promise is then for what was asked. What tightens
it is judged as a newcomer would be, beside all promises but its own. If it cannot be promised the
job keeps the promise that it has, and its owner gets a counter-offer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.plan.planning import Planning
from ef_slurm.daemon.plan.recording import NotRecordedError
from ef_slurm.formats.dependencies import format_dependency
from ef_slurm.formats.durations import whole_minutes
from ef_slurm.formats.sentences import instant, verdict_sentence
from ef_slurm.model import (
    ACTIVE,
    FINAL,
    ChangeKind,
    ChangeOutcome,
    Event,
    EventKind,
    Fault,
    Gate,
    GateState,
    IfInfeasible,
    JobChange,
    JobKind,
    JobRequest,
    JobState,
    ModelError,
    Outcome,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    Settlement,
    Verdict,
    changed,
    check_request,
    is_looser,
    planner_id,
    time_needed,
)
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm


class NotPossibleError(Exception):
    """The job is not one with which this can be done; the text says why, and what can."""


class NotAllowedError(Exception):
    """Whoever asks may not do this with the job; the text says who may."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a change.

    Args:
        verdict: the one that it got, if it was judged now.
        words: a sentence for whoever asked.
    """

    outcome: ChangeOutcome
    words: str
    verdict: Verdict | None = None


class Changes:
    """Changes jobs of the queue for whoever may. Belongs to the scheduler's thread.

    Args:
        partitions: that ef-slurm schedules.
    """

    def __init__(
        self,
        queue: Queue,
        planning: Planning,
        observer: Observer,
        slurm: Slurm,
        partitions: Collection[str],
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._planning = planning
        self._observer = observer
        self._slurm = slurm
        self._partitions = partitions
        self._clock = clock

    def change(self, job_id: int, change: JobChange, actor: str) -> Changed:
        """Change a job, if that can be.

        Args:
            job_id: the queue's id.
            actor: who wants it, for the job's story.

        Raises:
            ModelError: a value is none that the job could have.
            NotPossibleError: the job has ended.
            SlurmUnavailableError: Slurm does not answer.
        """
        now = self._clock()
        job = self._queue.jobs.get(job_id)
        if job.state in FINAL:
            raise NotPossibleError(
                f"job {job.request.slurm_job_id} is {job.state.value}: "
                f"ef-sbatch --continue={job.request.slurm_job_id} goes on from its checkpoint"
            )
        request = changed(job, change)
        if change.deadline is not None and change.deadline <= now:
            raise ModelError("deadline", instant(change.deadline), "a time that lies ahead")
        check_request(request, now)
        said = _difference(job.request, request)
        asks = change.deadline is not None or change.best_effort is False
        wants_back = job.best_effort and asks
        if not said and not wants_back:
            return Changed(ChangeOutcome.DONE, "nothing to change: it is so already")
        why = f"changed by {actor}: {said or 'its deadline is wanted again'}"
        if change.dependency is not None:
            self._check_circle(job, request)
        asked = self._asked(job, request, now)
        if change.dependency is not None and self._waits_anew(job):
            return self._let_wait(asked, actor, why, now)
        promise = self._queue.promises.of(job.id)
        promised = promise is not None and promise.outcome is PromiseOutcome.OPEN
        held = job.state is JobState.HELD
        if job.state is JobState.NEW or (held and not promised) or job.measuring is not None:
            self._write(job, asked, actor, why, now)
            when = "released" if held else "judged"
            return Changed(ChangeOutcome.TO_BE_JUDGED, f"{said}; it counts when it is {when}")
        if not request.complete:
            raise NotPossibleError("nobody knows yet how long it takes: try again in a minute")
        if request.kind is JobKind.BEST_EFFORT:
            return self._give_up(job, asked, actor, why, now)
        if change.dependency is not None and request.dependency.conditions:
            raise NotPossibleError(
                "it has its verdict: a dependency can be taken away now (dependency=), but not "
                "given; submit it anew with --dependency"
            )
        if promised and is_looser(job.request, request):
            with self._queue.transaction():
                self._write(job, asked, actor, why, now)
                self._queue.promises.renew(job.id, at=now, why=why)
            return Changed(ChangeOutcome.DONE, said)
        if held:
            raise NotPossibleError(
                "it is held, and what it was promised stands: until it is released it can only ask "
                "for less (a later deadline, fewer iterations, best_effort=yes)"
            )
        if promised or wants_back or change.deadline is not None:
            return self._judge(job, asked, actor, why, now)
        if job.state is JobState.WAITLISTED:
            return self._judge(job, asked, actor, why, now)
        self._write(job, asked, actor, why, now)
        return Changed(ChangeOutcome.DONE, said)

    def _waits_anew(self, job: QueueJob) -> bool:
        """Whether a job waits, with no promise that another dependency could break."""
        never = job.gate is not None and job.gate.state is GateState.NEVER
        return never or job.state in (JobState.NEW, JobState.WAITLISTED)

    def _let_wait(self, asked: QueueJob, actor: str, why: str, now: float) -> Changed:
        """It is judged once more, as far as its new dependency lets it."""
        with self._queue.transaction():
            row = self._write(asked, replace(asked, note=""), actor, why, now)
            if row.state is JobState.ADMITTED and row.kind is not JobKind.BEST_EFFORT:
                self._queue.jobs.move(row.id, JobState.NEW, at=now, actor=actor, why=why)
        return Changed(ChangeOutcome.TO_BE_JUDGED, f"{why.partition(': ')[2]}; it is judged anew")

    def _check_circle(self, job: QueueJob, request: JobRequest) -> None:
        """Refuse a dependency that leads back to the job itself.

        Raises:
            ModelError: it does.
        """
        todo = [self._queue.jobs.with_rows(request)]
        seen: set[int] = set()
        while todo:
            for condition in todo.pop().dependency.conditions:
                if condition.row == job.id:
                    name = f"job {job.request.slurm_job_id}"
                    wanted = f"jobs that do not wait for {name} themselves"
                    raise ModelError("dependency", format_dependency(request.dependency), wanted)
                if condition.row is not None and condition.row not in seen:
                    seen.add(condition.row)
                    with suppress(NoSuchRowError):
                        todo.append(self._queue.jobs.get(condition.row).request)

    def _asked(self, job: QueueJob, request: JobRequest, now: float) -> QueueJob:
        """The row with the request, and with what follows from it for its run."""
        ordered, running = job.ordered_iterations, job.running
        if request.dependency != job.request.dependency:
            # Not as one of which nothing is known: the rest of its array was there.
            known = job.gate is not None
            job = replace(job, gate=Gate(GateState.UNKNOWN) if known else None)
        if request.iterations != job.request.iterations:
            ordered = request.iterations
            if running is not None and job.first_started_at is not None:
                # Its script is told at its next launch, which follows at once.
                lost = request.overhead.of(ChangeKind.RELAUNCH, running.active_gpus)
                running = replace(running, since=now, trains_from=now + lost)
        limit, settings = self._time_limit(job, request, now), job.slurm_settings
        if limit is not None:
            # Plans are made with it from here on, and Slurm is told before the next start.
            minutes = f"{limit / 60:.0f}"
            settings = tuple(
                (name, minutes if name == "time limit" else value) for name, value in settings
            )
        return replace(
            job,
            request=request,
            ordered_iterations=ordered,
            running=running,
            time_limit=limit,
            slurm_settings=settings,
        )

    def _time_limit(self, job: QueueJob, request: JobRequest, now: float) -> float | None:
        """Slurm's limit where the one that the job has is too short for the request."""
        if request.max_time is not None:
            return job.time_limit
        status = self._observer.status(job)
        present = None if status is None else status.slurm.requested.time_limit
        longest = [one.max_time for one in self._slurm.partitions() if one.name in self._partitions]
        needed = min((whole_minutes(time_needed(request, now)), *longest))
        if present is None or needed <= present:
            return job.time_limit
        return needed if math.isfinite(needed) else job.time_limit

    def _write(
        self, before: QueueJob, asked: QueueJob, actor: str, why: str, now: float
    ) -> QueueJob:
        with self._queue.transaction():
            written = self._queue.jobs.change(before.id, asked.request)
            row = self._queue.jobs.save(
                replace(asked, request=written.request, revision=written.revision)
            )
            self._queue.events.log(Event(now, EventKind.USER, actor, why, before.id))
        self._planning.wanted = True
        return row

    def _give_up(self, job: QueueJob, asked: QueueJob, actor: str, why: str, now: float) -> Changed:
        """Its owner wants no promise any more."""
        with self._queue.transaction():
            free = replace(asked, best_effort=False, promise=PromiseState.NONE)
            self._write(job, free, actor, why, now)
            settled = Settlement(PromiseOutcome.VOID, Fault.OWNER, why)
            self._queue.promises.settle(job.id, settled, at=now)
            if job.state is JobState.WAITLISTED:
                self._queue.jobs.move(job.id, JobState.NEW, at=now, actor=actor, why=why)
        return Changed(ChangeOutcome.DONE, "it runs as best effort, without a promise")

    def _judge(self, job: QueueJob, asked: QueueJob, actor: str, why: str, now: float) -> Changed:
        waits = job.state is JobState.WAITLISTED

        def accept(verdict: Verdict) -> QueueJob | None:
            kept = waits and verdict.outcome is Outcome.WAITLISTED
            if verdict.outcome is not Outcome.PROMISED and not kept:
                return None
            row = replace(asked, best_effort=False, promise=PromiseState.NONE)
            row = self._write(job, row, actor, why, now)
            settled = Settlement(PromiseOutcome.REPLACED, None, why)
            self._queue.promises.settle(job.id, settled, at=now)
            return row

        request = asked.request
        if not waits:
            # What would not be promised is not to wait either: it has what it has.
            request = replace(request, if_infeasible=IfInfeasible.REJECT)
        jobs = self._queue.jobs.all(ACTIVE)
        try:
            verdict = self._planning.judge_anew(asked, request, jobs, now, accept)
        except NotRecordedError as error:
            raise NotPossibleError(f"it keeps what it has, try again later: {error}") from None
        if verdict is None:
            raise NotPossibleError("no plan can be made with it now: see ef-squeue --explain")
        names = {planner_id(one.id): str(one.request.slurm_job_id) for one in jobs}
        words = verdict_sentence(verdict, lambda name: names.get(name, name))
        if verdict.outcome is Outcome.PROMISED or (waits and verdict.outcome is Outcome.WAITLISTED):
            return Changed(ChangeOutcome.DONE, words, verdict)
        self._queue.events.log(Event(now, EventKind.USER, actor, f"not {why}: {words}", job.id))
        return Changed(ChangeOutcome.REFUSED, words, verdict)


def _difference(before: JobRequest, after: JobRequest) -> str:
    """What is otherwise, in words; "" for nothing."""
    words = []
    if before.kind is not after.kind:
        words.append(f"{before.kind.value} to {after.kind.value}")
    if before.deadline != after.deadline:
        there, here = _instant(before.deadline), _instant(after.deadline)
        words.append(f"deadline from {there} to {here}")
    if before.begin != after.begin:
        there, here = _instant(before.begin), _instant(after.begin)
        words.append(f"begin from {there} to {here}")
    if before.dependency.conditions != after.dependency.conditions:
        there, here = (format_dependency(one.dependency) or "none" for one in (before, after))
        words.append(f"dependency from {there} to {here}")
    for name in ("iterations", "max_gpus"):
        there, here = getattr(before, name), getattr(after, name)
        if there != here:
            words.append(f"{name} from {_number(there)} to {_number(here)}")
    return "; ".join(words)


def _instant(at: float | None) -> str:
    return "none" if at is None else instant(at)


def _number(value: int | None) -> str:
    return "none" if value is None else str(value)
