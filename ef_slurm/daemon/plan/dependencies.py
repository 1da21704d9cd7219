"""Dependencies of the jobs in the queue: looked at in every tick, and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.settlements import settle_given_up
from ef_slurm.daemon.plan.gates import gate_of
from ef_slurm.daemon.plan.waited_for import WaitedFor
from ef_slurm.formats.sentences import instant
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    Event,
    EventKind,
    Fault,
    Gate,
    GateState,
    JobRequest,
    JobState,
    PromiseState,
    QueueJob,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm

ARRAY_SECONDS = 600.0
"""For which the rest of an array is waited for."""
_SLIP_SECONDS = 1.0
"""By less than this no begin is told anew."""


@dataclass(frozen=True, slots=True)
class WouldWait:
    """A submission that would not be judged before what it waits for has come."""

    gate: Gate


class Dependencies:
    """Says which jobs may begin. The scheduler's thread only."""

    def __init__(
        self,
        queue: Queue,
        observer: Observer,
        slurm: Slurm,
        clock: Callable[[], float],
        fence: Fence,
    ) -> None:
        self._queue = queue
        self._observer = observer
        self._slurm = slurm
        self._clock = clock
        self._fence = fence
        self._waited_for = WaitedFor(queue, observer)
        self._there: dict[int, int] = {}

    def review(self, jobs: tuple[QueueJob, ...]) -> tuple[tuple[QueueJob, ...], bool]:
        """The rows with what has come of their dependencies, and whether anything has.

        Those whose dependency can never be met, and that are not to wait for it, are cancelled.
        """
        seen: list[QueueJob] = []
        changed = False
        self._waited_for.look(jobs)
        self._there = {}
        for job in jobs:
            after = job
            if job.depends:
                with self._fence.around(job, "looked at for what it waits for"):
                    after = self._reviewed(job)
            if after is not job:
                changed = True
                self._waited_for.changed(after)
            if after.state in ACTIVE:
                seen.append(after)
        return tuple(seen), changed

    def of_request(self, request: JobRequest) -> Gate:
        """What would come of a dependency that nobody has submitted yet."""
        known = WaitedFor(self._queue, self._observer)
        known.look(self._queue.jobs.all())
        dependency = request.dependency
        with_rows = self._queue.jobs.with_rows(request).dependency
        return gate_of(
            replace(dependency, conditions=with_rows.conditions),
            lambda condition: known.others(condition, request, None),
            self._clock(),
        )

    def bounded(self, request: JobRequest, gate: Gate) -> JobRequest:
        """The request of a job that may begin when its gate says."""
        moments = [one for one in (request.begin, gate.begin) if one is not None]
        return replace(request, begin=max(moments, default=None))

    def _reviewed(self, job: QueueJob) -> QueueJob:
        now = self._clock()
        if job.gate is None and not self._all_there(job):
            return job if now - job.request.submitted < ARRAY_SECONDS else self._given_up(job, now)
        gate = gate_of(
            job.request.dependency,
            lambda condition: self._waited_for.others(condition, job.request, job),
            now,
            job.gate,
        )
        if _is_same(gate, job.gate):
            return job
        kill = gate.state is GateState.NEVER and self._is_killed(job)
        with self._queue.transaction():
            self._tell(job, gate, now)
            if gate.state is GateState.NEVER:
                return self._never(job, gate, now, kill=kill)
            return self._queue.jobs.save(replace(job, gate=gate))

    def _all_there(self, job: QueueJob) -> bool:
        """Whether all members of its array are in the queue: never half of one starts."""
        array = job.request.array
        if array is None:
            return True
        if array.job_id not in self._there:
            self._there[array.job_id] = len(self._queue.jobs.of_array(array.job_id))
        return self._there[array.job_id] >= array.size

    def _given_up(self, job: QueueJob, now: float) -> QueueJob:
        array = job.request.array
        assert array is not None
        there = self._there[array.job_id]
        why = f"its array was not submitted to the end: {there} of {array.size} jobs are here"
        return self._queue.jobs.move(
            job.id, JobState.CANCELLED, at=now, actor=ACTOR, why=why, ended_at=now
        )

    def _tell(self, job: QueueJob, gate: Gate, now: float) -> None:
        before = job.gate
        if not job.request.dependency.conditions:
            return  # all of its array are there
        match gate.state:
            case GateState.OPEN:
                told = "what it waited for has come: it may begin"
            case GateState.NEVER:
                told = f"what it waits for can never be: {gate.words}"
            case GateState.UNTIL:
                when = f"it may begin at {instant(gate.begin)} at the latest"
                told = f"{gate.words}: {when}"
                if before is not None and before.begin is not None and gate.begin is not None:
                    later = "later" if gate.begin > before.begin else "earlier"
                    told = f"{gate.words}, which is {later} than it was: {when}"
            case GateState.UNKNOWN:
                told = f"{gate.words}: nobody can say when"
                if job.promise is PromiseState.NONE:
                    told += ", so it is judged then"
        self._queue.events.log(Event(now, EventKind.STATE, ACTOR, told, job.id))

    def _never(self, job: QueueJob, gate: Gate, now: float, *, kill: bool) -> QueueJob:
        why = f"what it waits for can never be: {gate.words}"
        row = self._queue.jobs.save(
            replace(job, gate=gate, promise=PromiseState.NONE, plan=(), finish=None, note=why)
        )
        settlement = settle_given_up(job, Fault.OWNER, why, now)
        self._queue.promises.settle(job.id, settlement, at=now)
        if not kill:
            return row
        # Its Slurm job is taken away as that of any cancelled row.
        return self._queue.jobs.move(
            job.id, JobState.CANCELLED, at=now, actor=ACTOR, why=why, ended_at=now
        )

    def _is_killed(self, job: QueueJob) -> bool:
        own = job.request.dependency.kill
        return _site_kills(self._slurm.configuration().settings) if own is None else own


def _site_kills(settings: Mapping[str, str]) -> bool:
    """Whether the site has Slurm cancel jobs that wait in vain (slurm.conf(5))."""
    words = (settings.get(key, "") for key in ("DependencyParameters", "SchedulerParameters"))
    return any("kill_invalid_depend" in text.split(",") for text in words)


def _is_same(gate: Gate, before: Gate | None) -> bool:
    """Whether there is nothing to tell, and nothing to plan anew for."""
    if before is None or replace(gate, begin=None) != replace(before, begin=None):
        return False
    if gate.begin is None or before.begin is None:
        return gate.begin == before.begin
    return abs(gate.begin - before.begin) < _SLIP_SECONDS
