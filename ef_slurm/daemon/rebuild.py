"""`ef-schedd rebuild`: the queue anew, from the records beside it, from Slurm and from the jobs.

What the records say is put back as it is, but for what Slurm knows better: where a job runs, and
how it ended. Whatever a daemon finds out by itself when it starts after a crash is left to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory

from ef_slurm.daemon.observe.job_status import JobReports, layout_of
from ef_slurm.daemon.observe.ownership import is_another_submission, may_be_its_end, ownership_error
from ef_slurm.daemon.observe.plausible import plausible
from ef_slurm.daemon.observe.record_files import FoundRecords
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.daemon.observe.transitions import derive_end
from ef_slurm.formats.sentences import instant
from ef_slurm.formats.times import format_stamp
from ef_slurm.model import (
    ACTOR,
    FINAL,
    Block,
    Event,
    EventKind,
    HeldBy,
    IntentAction,
    JobRecord,
    JobState,
    ModelError,
    Promise,
    PromiseOutcome,
    QueueJob,
    Running,
)
from ef_slurm.queue.copies import install, new_queue
from ef_slurm.queue.errors import RowError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.types import HoldKind, Observation, SlurmJob

_BETWEEN = frozenset({JobState.STARTING, JobState.RUNNING})
_MISSING = "Slurm does not know it any more: ef-schedd says what becomes of it"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a queue is rebuilt from.

    Args:
        records: what lies beside it.
        observation: what slurmctld says now.
        ended: jobs that it has forgotten and accounting has not, by Slurm's id.
        state_dirs: where the jobs themselves report, and their orders lie.
        ours: how the daemon holds jobs.
        partitions: that it schedules.
        backup: a copy of the queue to begin with; None for none.
        now: UTC epoch seconds.
        uid: whose jobs the daemon may submit again; None for the caller's.
    """

    records: FoundRecords
    observation: Observation
    ended: Mapping[int, SlurmJob]
    state_dirs: StateDirs
    ours: HoldKind
    partitions: frozenset[str]
    now: float
    backup: Path | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class RebuiltJob:
    """A job that is in the queue again; `words` say what Slurm makes of it."""

    job: QueueJob
    promise: Promise | None
    words: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found.

    Args:
        jobs: of the records, by the queue's id.
        lost: a sentence for each thing that could not be rebuilt.
        always: what no rebuilding brings back, in sentences.
        aside: where the queue is now that was there; None where there was none.
    """

    jobs: tuple[RebuiltJob, ...]
    lost: tuple[str, ...]
    always: tuple[str, ...]
    aside: Path | None = None


def wanted_of_accounting(records: FoundRecords, observation: Observation) -> Sequence[int]:
    """Slurm's ids of jobs that had not ended and that slurmctld does not know any more."""
    return [
        record.job.request.slurm_job_id
        for record in records.records.values()
        if record.job.state not in FINAL and _in_slurm(record.job, observation) is None
    ]


def rebuild(path: Path, evidence: Evidence, *, dry_run: bool = False) -> Rebuilt:
    """Make a queue and put it into its place.

    Nothing is there by half: it is made beside its place, and a queue that was there is kept.

    Args:
        path: of the queue.
        dry_run: make it elsewhere, and throw it away.

    Raises:
        QueueError: it cannot be written.
    """
    path = path.resolve()
    moment = format_stamp(evidence.now, UTC)
    with _place(path, dry_run) as target, new_queue(target, backup=evidence.backup) as place:
        with closing(Queue.open(place)) as queue:
            jobs, lost = _fill(queue, evidence)
            queue.settle()
        aside = None if dry_run else install(place, target, aside=f".before-rebuild-{moment}")
    return Rebuilt(jobs, (*lost, *_strangers(evidence)), _always(evidence), aside)


@contextmanager
def _place(path: Path, dry_run: bool) -> Iterator[Path]:
    with TemporaryDirectory() if dry_run else nullcontext() as directory:
        yield path if directory is None else Path(directory) / path.name


def _fill(queue: Queue, evidence: Evidence) -> tuple[tuple[RebuiltJob, ...], tuple[str, ...]]:
    refused = sorted(evidence.records.refused.items())
    lost = [f"the record {name} is none: {why}" for name, why in refused]
    jobs: list[RebuiltJob] = []
    reports = _reports(evidence)
    from_when = "a backup" if evidence.backup is not None else "nothing else"
    with queue.restore.open():
        queue.become_another()
        for job_id, record in sorted(evidence.records.records.items()):
            found, words = corrected(record, evidence, reports.get(job_id, JobReports()))
            why = (
                f"put back by ef-schedd rebuild, from its record of {instant(record.written_at)} "
                f"and {from_when}: {words}"
            )
            try:
                with queue.transaction():
                    queue.restore.put(found, at=evidence.now, why=why)
                    row = queue.jobs.get(job_id)
                    if row.state is JobState.LOST or words == _MISSING:
                        _open_submission(queue, row, evidence)
            except (RowError, ModelError) as error:
                name = record.job.request.slurm_job_id
                lost.append(f"Slurm job {name} ({record.job.request.owner}): {error}")
                continue
            jobs.append(RebuiltJob(row, queue.promises.of(job_id), words))
        message = f"the queue was rebuilt: {len(jobs)} jobs from their records"
        queue.events.log(Event(evidence.now, EventKind.DAEMON, ACTOR, message))
    return tuple(jobs), tuple(lost)


def _open_submission(queue: Queue, row: QueueJob, evidence: Evidence) -> None:
    """Whoever submits a lost job again is to look first whether that was done.

    The lost queue may have had such an intent, and its daemon may have died in the midst of it.
    """
    own = os.getuid() if evidence.uid is None else evidence.uid
    if row.request.uid == own and queue.intents.unfinished_of(row.id) is None:
        why = "it may have been submitted again, which the lost queue alone knew"
        queue.intents.open(
            row.id, row.generation, IntentAction.SUBMIT, {}, at=evidence.now, why=why
        )


def _reports(evidence: Evidence) -> dict[int, JobReports]:
    """What the jobs themselves say, where it may count: read and bounded as the daemon does it."""
    asked = [
        record.job for record in evidence.records.records.values() if record.job.state not in FINAL
    ]
    answers = evidence.state_dirs.read_all(asked)
    return {
        job.id: plausible(answer, job.request.iterations, evidence.now)
        for job, answer in zip(asked, answers, strict=True)
    }


def corrected(record: JobRecord, evidence: Evidence, reports: JobReports) -> tuple[JobRecord, str]:
    """The record as it is to be put back, and in words what Slurm makes of its job."""
    job = record.job
    if job.state in FINAL:
        return record, "it had ended"
    order = reports.order
    if order is not None and order.generation > job.generation:
        job = replace(job, generation=order.generation)
    if job.state is JobState.HELD and job.held_by is None:
        # Records of older versions do not say. Nobody ends a hold that may not be theirs to end.
        job = replace(job, held_by=HeldBy.OPERATOR)
    record = replace(record, job=job)
    slurm = _in_slurm(job, evidence.observation)
    if slurm is not None and slurm.is_final:
        return _ended(record, slurm, evidence, reports)  # slurmctld forgets it soon
    if slurm is not None:
        job, words = _as_in_slurm(job, slurm, evidence.ours)
        return replace(record, job=job), words
    ended = evidence.ended.get(job.request.slurm_job_id)
    if ended is not None and may_be_its_end(job, ended):
        return _ended(record, ended, evidence, reports)
    return record, _MISSING


def _in_slurm(job: QueueJob, observation: Observation) -> SlurmJob | None:
    """The job that carries it; ids are recycled, so it has to be the same owner's."""
    slurm = observation.jobs.get(job.request.slurm_job_id)
    if slurm is None or is_another_submission(job, slurm):
        return None
    return None if ownership_error(job, slurm) is not None else slurm


def _as_in_slurm(job: QueueJob, slurm: SlurmJob, ours: HoldKind) -> tuple[QueueJob, str]:
    """The row with what it holds in Slurm, where that was not recorded any more."""
    if slurm.is_pending:
        # A hold as ours is taken for ours: the daemon may have requeued it just before it died, and
        # a job that waits for an operator who never held it breaks its promise.
        holds = {ours, HoldKind.NONE}
        if not slurm.restarts:
            holds.add(HoldKind.USER)  # that of its submission: it has never run
        if job.state in _BETWEEN and slurm.hold in holds:
            whose = "" if slurm.hold is HoldKind.NONE else " with a hold like ef-slurm's"
            return replace(job, state=job.waiting_state, running=None), f"it pends in Slurm{whose}"
        # What it had may be somebody else's by now.
        return replace(job, running=None), f"it pends in Slurm ({slurm.hold.value} hold)"
    where = f"it runs in Slurm on {','.join(slurm.nodes) or 'no node yet'}"
    waits = (JobState.ADMITTED, JobState.PAUSED, *_BETWEEN)
    if job.running is None and job.state in waits and slurm.is_running:
        block = _block_of(slurm)
        if block is not None:
            since = slurm.start_time or 0.0
            trains_from = since + job.request.overhead.start
            return replace(job, running=Running(block, since, trains_from)), where
    if job.running is not None and slurm.is_running:
        held = frozenset(slurm.gpus)
        if held != layout_of(job.running.block):
            where += ", and not where it was to: it is moved"
    return job, where


def _block_of(slurm: SlurmJob) -> Block | None:
    """What a job holds, as a block; None where it is none."""
    counts = {count for _, count in slurm.gpus}
    types = {one.gpu_type for one in slurm.held}
    if len(counts) != 1 or len(types) != 1:
        return None
    try:
        return Block(types.pop() or "gpu", tuple(slurm.nodes), counts.pop())
    except ModelError:
        return None


def _ended(
    record: JobRecord, slurm: SlurmJob, evidence: Evidence, reports: JobReports
) -> tuple[JobRecord, str]:
    """The record of a job that ended while nobody looked, as the daemon would have settled it."""
    transition = derive_end(record.job, slurm, reports, evidence.now, ours=evidence.ours)
    if transition is None:
        return record, f"it ended in Slurm ({slurm.state.value}) and is to go on"
    assert transition.to is not None
    at = evidence.now if transition.ended_at is None else transition.ended_at
    job = replace(transition.job, state=transition.to, held_from=None, held_by=None, ended_at=at)
    promise, settled = record.promise, transition.settled
    if promise is not None and promise.outcome is PromiseOutcome.OPEN and settled is not None:
        promise = replace(
            promise, outcome=settled.outcome, fault=settled.fault, settled_at=evidence.now
        )
    words = f"it ended in Slurm at {instant(at)} ({slurm.state.value}): {transition.why}"
    return replace(record, job=job, promise=promise), words


def _strangers(evidence: Evidence) -> Iterable[str]:
    """Jobs of Slurm of which nothing was recorded."""
    known = {one.job.request.slurm_job_id for one in evidence.records.records.values()}
    for slurm in evidence.observation.jobs.values():
        if slurm.requested.partition not in evidence.partitions or slurm.is_final:
            continue
        if slurm.job_id not in known:
            yield (
                f"Slurm job {slurm.job_id} of {slurm.user or slurm.uid} ({slurm.state.value}) has "
                "no record: if ef-sbatch submitted it nothing was promised to it yet, and it has "
                "to be submitted again"
            )


def _always(evidence: Evidence) -> tuple[str, ...]:
    since = "" if evidence.backup is None else f" since the backup {evidence.backup}"
    history = "events, stories, shares and plans of the past, and earlier promises of a job"
    return (
        f"{history}{since}",
        f"what was calibrated and learned from measurements (profile library, prices){since}",
    )
