"""Follows companions: what the facts tell is written down, and what failed is given up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from ef_slurm.contract import Companion as Told
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.closures import Closures, live_refusal_data, refusal_data
from ef_slurm.daemon.observe.companion_book import CompanionBook, of_owner
from ef_slurm.daemon.observe.companion_moves import (
    CompanionMove,
    companion_move,
    disbelief,
    is_cancelled,
)
from ef_slurm.daemon.observe.job_status import JobStatus, Member
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import (
    ACTOR,
    Block,
    Companion,
    CompanionState,
    Event,
    EventKind,
    Json,
    QueueJob,
    Running,
    is_power_of_two,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.refusals import Refused, refusal_of

_log = logging.getLogger(__name__)

_OF_THE_SHAPE = frozenset({Refused.SIZE, Refused.NODES, Refused.BUSY})
"""What Slurm refuses a companion for, and would refuse the whole job for, too."""


_NEW_SECONDS = 5.0
"""A launch that dies so soon after it has grown, or before that, is taken to die of it."""


class CompanionFollower:
    """Slurm's word and the job's on its companions → the queue."""

    def __init__(
        self,
        queue: Queue,
        book: CompanionBook,
        observer: Observer,
        closures: Closures,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._book = book
        self._observer = observer
        self._closures = closures
        self._clock = clock

    def ask(self, job: QueueJob) -> None:
        """Read what the last look at Slurm did not mention, or what the job says is its companion.

        It may take its time, so it is asked before anything is written.

        Raises:
            SlurmError: its answer is none.
        """
        for companion in self._book.of(job.id):
            slurm_id, told = companion.slurm_job_id, None
            if companion.state is CompanionState.WANTED:
                told = self._told(companion, self._observer.status(job))
                slurm_id = None if told is None else told.slurm_job_id
            known = slurm_id in self._observer.observation.jobs
            if slurm_id is not None and (told is not None or not known):
                self._observer.fetch(slurm_id)

    def has_any(self, job: QueueJob) -> bool:
        """Whether the job has companions that have not ended: most have none."""
        return self._book.has_any(job.id)

    def follow(self, job: QueueJob, lost_nodes: Collection[str] = ()) -> bool:
        """Write what is new of a job's companions.

        Args:
            job: its row as it is now.
            lost_nodes: nodes that Slurm cannot use now.

        Returns:
            Whether the plan in force does not fit any more.
        """
        replan = False
        # Of several that go at once with their launch, the one that was cancelled says why.
        members = [self._member(job, companion) for companion in self._book.of(job.id)]
        for member in sorted(members, key=lambda one: not is_cancelled(one.slurm)):
            companion, status = member.companion, self._observer.status(job)
            if status is None:
                continue
            move = companion_move(member, status)
            if move is not None:
                replan |= self._move(job, status, companion, move, lost_nodes)
            elif companion.state is CompanionState.WANTED:
                replan |= self._find(job, status, companion)
        return replan

    def give_up(
        self, job: QueueJob, status: JobStatus, why: str, words: str, *, held: bool = False
    ) -> None:
        """The job does not grow now: it keeps what it has, and is planned otherwise.

        Args:
            why: a sentence for its story, in which the job's own words may stand.
            words: Slurm's own, where it was Slurm that refused; they say what is closed to the job.
            held: whether it is not to have these nodes by any other way either.
        """
        now = self._clock()
        row = self._queue.jobs.get(job.id)
        data: dict[str, Json] = {}
        if row.running is not None:
            block = row.running.block
            data = self._close(job.id, block, status.gpus, words, why, stays=held)
        sentence = f"it does not grow while it trains: {why}" + (f" ({words})" if words else "")
        about_it = about(job, EventKind.ERROR)
        _log.warning("job %d: %s", job.request.slurm_job_id, sentence, extra=about_it)
        with self._queue.transaction():
            self._keep(row, status, sentence)
            self._queue.events.log(Event(now, EventKind.ERROR, ACTOR, sentence, job.id, data))

    def _close(
        self,
        job_id: int,
        block: Block,
        kept: Sequence[tuple[str, int]],
        words: str,
        why: str,
        *,
        stays: bool,
    ) -> dict[str, Json]:
        """Close a growth for a while; what the audit log keeps of that.

        Args:
            block: that the job was to get.
            kept: (node, GPUs) that it has.
            words: Slurm's own on it, "" for none. Nobody else's are read for what they close.
            stays: whether no larger one is to be tried either.
        """
        now = self._clock()
        if stays:
            # The next larger one is closed, and with it all that are larger still.
            block = replace(block, nodes=block.nodes[: 2 * max(1, len(kept))])
            self._closures.refuse(job_id, block, words or why, now, Refused.SIZE)
            return {**refusal_data(block, words or why), "of": Refused.SIZE.value}
        refused = refusal_of(words) if words else Refused.UNKNOWN
        if refused in _OF_THE_SHAPE:
            self._closures.refuse(job_id, block, words, now)
            return dict(refusal_data(block, words))
        self._closures.refuse_live(job_id, refused, now)
        return dict(live_refusal_data(words or why, refused))

    def _member(self, job: QueueJob, companion: Companion) -> Member:
        slurm_id = companion.slurm_job_id
        if slurm_id is None:
            return Member(companion)
        slurm = self._observer.observation.jobs.get(slurm_id)
        return Member(companion, of_owner(slurm, job))

    def _move(
        self,
        job: QueueJob,
        status: JobStatus,
        companion: Companion,
        move: CompanionMove,
        lost_nodes: Collection[str],
    ) -> bool:
        now = self._clock()
        with self._queue.transaction():
            self._book.move(companion, move.to, at=now, why=move.why)
            row = self._queue.jobs.get(job.id)
            block = None if row.running is None else row.running.block
            brought = set(companion.block.nodes)
            if block is None or not move.unexpected or not brought <= set(block.nodes):
                return False
            after = self._observer.status(row) or status
            # All end with their launch: that speaks against growth only right after it.
            ended = move.died and _is_new(companion, now)
            ended |= move.to is CompanionState.ENDED and not move.over
            failed = ended and not brought & set(lost_nodes)
            if move.unwanted or failed:
                stays = move.unwanted and not brought & set(lost_nodes)
                kept = after.slurm.gpus if move.died else after.gpus
                data = self._close(job.id, block, kept, "", move.why, stays=stays)
                why = f"it does not grow now: {move.why}"
                self._queue.events.log(Event(now, EventKind.ERROR, ACTOR, why, job.id, data))
            self._keep(row, after, move.why)
        return True

    def _told(self, companion: Companion, status: JobStatus | None) -> Told | None:
        """What the batch script says of the one that it was told to submit; None for nothing."""
        told = None if status is None else status.reports.companion
        answers = (companion.generation, companion.change, companion.ordered_at)
        if told is None or (told.generation, told.change, told.issued_at) != answers:
            return None
        return told

    def _find(self, job: QueueJob, status: JobStatus, companion: Companion) -> bool:
        """The companion that the batch script says it has submitted, if it is one."""
        told = self._told(companion, status)
        if told is None:
            return False
        now, cancelled = self._clock(), False
        if told.slurm_job_id is None:
            told_why = told.message or "no reason given"
            why = f"its batch script could submit no companion ({told_why})"
        else:
            slurm = self._observer.observation.jobs.get(told.slurm_job_id)
            other = self._queue.companions.of_slurm(told.slurm_job_id)
            known = other is not None or self._queue.jobs.of_slurm(told.slurm_job_id) is not None
            doubt = disbelief(job, status.slurm, companion, slurm, known)
            cancelled = is_cancelled(of_owner(slurm, job))  # before it was seen to be held
            why = f"Slurm job {told.slurm_job_id} is not its companion ({doubt})"
            if not doubt:
                self._book.move(
                    companion, CompanionState.SUBMITTED, at=now, slurm_job_id=told.slurm_job_id
                )
                return False
        with self._queue.transaction():
            self._book.move(companion, CompanionState.ENDED, at=now)
            self.give_up(job, status, why, "", held=cancelled)
        return True

    def _keep(self, row: QueueJob, status: JobStatus, note: str) -> None:
        """The row with what the job really has; with nothing where that is no block."""
        if row.running is None:
            return
        now, block = self._clock(), row.running.block
        held = dict(status.gpus)
        nodes = tuple(node for node in block.nodes if held.get(node) == block.gpus_per_node)
        running = None
        if nodes and len(nodes) == len(held) and is_power_of_two(len(nodes)):
            running = Running(replace(block, nodes=nodes), now, now)
        self._queue.jobs.save(replace(row, running=running, note=note))


def _is_new(companion: Companion, now: float) -> bool:
    """Whether its nodes have hardly been trained on."""
    match companion.state:
        case CompanionState.RUNNING | CompanionState.READY:
            return True
        case CompanionState.JOINED:
            return lately(companion.changed_at, _NEW_SECONDS, now)
    return False
