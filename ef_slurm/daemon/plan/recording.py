"""What was asked for and promised lies beside the queue too, so that a lost disk costs no promise.

A promise is recorded before the queue has it, and so before anybody hears of it; everything else as
soon as the queue has it, at the end of the same tick or before whoever asked for it is answered. A
daemon that is killed between the two finds the queue, which counts, and records it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.record_files import Records
from ef_slurm.formats.sentences import verdict_sentence
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    Companion,
    CompanionState,
    Event,
    EventKind,
    JobRecord,
    JobState,
    Outcome,
    Plan,
    Promise,
    PromiseState,
    QueueJob,
    StoredVerdict,
    Verdict,
    lasting,
    planner_id,
)
from ef_slurm.queue.errors import RowError
from ef_slurm.queue.job_records import companions_of, record_of, script_of
from ef_slurm.queue.store import Queue

_log = logging.getLogger(__name__)

_Companions = tuple[tuple[int, CompanionState, int | None], ...]
_Key = tuple[QueueJob, float | None, _Companions]
"""What a record is written for: what lasts of the job, when its open promise was given, and its
companions."""


class NotRecordedError(Exception):
    """A promise cannot be given now, since it would be lost with the queue; the text says why."""


class Recording:
    """Keeps records as the queue has it. Belongs to the scheduler's thread.

    Args:
        records: where; None to keep none.
    """

    def __init__(self, queue: Queue, records: Records | None, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._records = records
        self._clock = clock
        self._written: dict[int, _Key] = {}
        self._seen: dict[int, tuple[int, float | None, _Companions]] = {}
        self._recalled = False
        # Where nothing was ever recorded, what had ended before stays without.
        self._latest = 0 if records is None else max(queue.jobs.ids_after(0), default=0)
        self._at: tuple[int, int] | None = None
        self._trouble = ""

    def only_recorded(
        self, plan: Plan, jobs: Sequence[QueueJob], fence: Fence, anew: Collection[int] = ()
    ) -> Plan:
        """The plan without those of its promises that cannot be recorded now.

        Their jobs wait for the next plan, in which they are judged again.

        Args:
            jobs: the rows that it was made from, with what was asked for in them.
            fence: where it is told that a job cannot be promised anything.
            anew: queue ids of jobs that keep the promise that they have if they get no other.

        Raises:
            NotRecordedError: of one of those.
        """
        rows = {planner_id(job.id): job for job in jobs}
        names = {name: str(job.request.slurm_job_id) for name, job in rows.items()}
        given = {
            verdict.job_id: verdict
            for verdict in plan.verdicts
            if verdict.outcome is Outcome.PROMISED and verdict.job_id in rows
        }
        if self._records is None or not given:
            return plan
        now = plan.now
        records = [
            _promised(
                self._queue,
                rows[name],
                verdict,
                now,
                verdict_sentence(verdict, lambda one: names.get(one, one)),
            )
            for name, verdict in given.items()
        ]
        refused = self._records.write(records)
        for record in records:
            if record.job.id not in refused:
                others = tuple(map(_brief, record.companions))
                self._written[record.job.id] = (lasting(record.job), now, others)
                fence.passed(record.job.id, "promised")
        self._tell(refused)
        for job_id, why in refused.items():
            if job_id in anew:
                raise NotRecordedError(f"it cannot be recorded in {self._records.path}: {why}")
            fence.tell(rows[planner_id(job_id)], "promised", OSError(f"not recorded: {why}"))
        without = {planner_id(job_id) for job_id in refused}
        if not without:
            return plan
        return replace(
            plan,
            verdicts=tuple(one for one in plan.verdicts if one.job_id not in without),
            decisions=tuple(one for one in plan.decisions if one.job_id not in without),
        )

    def keep(self) -> None:
        """Record what the queue has otherwise than when it was recorded last.

        Raises:
            QueueError: the queue cannot be read.
        """
        if self._records is None:
            return
        at = self._queue.writes()
        if self._recalled and at == self._at:
            return
        self._recall(self._records)
        promises = self._queue.promises.open()
        companions: dict[int, _Companions] = {}
        for one in self._queue.companions.present():
            companions[one.job_id] = (*companions.get(one.job_id, ()), _brief(one))
        jobs = {job.id: job for job in self._queue.jobs.all(ACTIVE)}
        # One that has ended is recorded once more, and again when its promise is settled; and one
        # that came and ended since the last look.
        newcomers = self._queue.jobs.ids_after(self._latest)
        for job_id in (self._written.keys() | promises.keys() | set(newcomers)) - jobs.keys():
            try:
                jobs[job_id] = self._queue.jobs.get(job_id)
            except RowError:
                self._written.pop(job_id, None)
        keys: dict[int, _Key] = {}
        for job in jobs.values():
            others = (promises.get(job.id), companions.get(job.id, ()))
            if self._seen.get(job.id) == (job.revision, *others):
                continue
            key = (lasting(job), *others)
            if self._written.get(job.id) == key:
                self._seen[job.id] = (job.revision, *others)
            else:
                keys[job.id] = key
        refused = self._write(self._records, [jobs[job_id] for job_id in keys])
        for job_id, key in keys.items():
            if job_id not in refused:
                self._written[job_id] = key
                self._seen[job_id] = (jobs[job_id].revision, *key[1:])
        for job_id in [one for one in self._written if jobs[one].state not in ACTIVE]:
            if job_id not in promises and job_id not in refused:
                self._written.pop(job_id)
                self._seen.pop(job_id, None)
        if not refused:
            self._at = at
            self._latest = max([self._latest, *newcomers])

    def forget(self, job_ids: Collection[int]) -> None:
        """The queue has forgotten these jobs."""
        if self._records is not None and job_ids:
            self._records.forget(job_ids)

    def _recall(self, records: Records) -> None:
        """What lies there from before need not be written again where nothing has changed."""
        if self._recalled:
            return
        try:
            found = records.read(ended=False)
        except OSError as error:
            _log.warning("the records of jobs cannot be read: %s", error)
            return
        for job_id, record in found.records.items():
            promise = record.promise
            given = promise.given_at if promise is not None and promise.settled_at is None else None
            briefs = tuple(map(_brief, record.companions))
            self._written[job_id] = (lasting(record.job), given, briefs)
        self._latest = found.latest or self._latest
        self._recalled = True

    def _write(self, records: Records, jobs: Iterable[QueueJob]) -> Mapping[int, str]:
        now = self._clock()
        wanted = [record_of(self._queue, job, at=now) for job in jobs]
        if not wanted:
            return {}
        refused = records.write(wanted)
        self._tell(refused)
        return refused

    def _tell(self, refused: Mapping[int, str]) -> None:
        """Say once that it does not work, and once that it does again."""
        why = next(iter(refused.values()), "")
        if bool(why) is bool(self._trouble):
            return
        message = "records of jobs are kept beside the queue again"
        if why:
            message = (
                f"records of {len(refused)} jobs cannot be kept beside the queue, and no promise "
                f"is given until they can: {why}"
            )
        self._trouble = why
        _log.warning("%s", message)
        self._queue.events.log(Event(self._clock(), EventKind.DAEMON, ACTOR, message))


def _brief(companion: Companion) -> tuple[int, CompanionState, int | None]:
    return companion.id, companion.state, companion.slurm_job_id


def _promised(
    queue: Queue, job: QueueJob, verdict: Verdict, now: float, explanation: str
) -> JobRecord:
    """The record of a job with the promise that it is about to be given."""
    request = job.request
    assert request.deadline is not None
    assert verdict.finish is not None
    state = job.state
    if state in (JobState.NEW, JobState.WAITLISTED):
        state = JobState.ADMITTED
    row = replace(
        job, state=state, best_effort=False, measuring=None, promise=PromiseState.SAFE, reason=None
    )
    told = StoredVerdict(
        0,
        job.id,
        now,
        verdict.outcome,
        verdict.reason,
        verdict.share,
        verdict.finish,
        verdict.earliest_deadline,
        explanation,
    )
    promise = Promise(
        id=0,
        job_id=job.id,
        given_at=now,
        deadline=request.deadline,
        grace=request.grace,
        finish=verdict.finish,
        share=verdict.share,
        curves=request.curves,
        overhead=request.overhead,
    )
    companions = companions_of(queue, job)
    return JobRecord(row, script_of(queue, job), told, promise, companions, written_at=now)
