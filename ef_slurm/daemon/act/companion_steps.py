"""What is done with companions in Slurm, and the orders that a live change consists of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ef_slurm.contract import Action, Order
from ef_slurm.daemon.act.steps import (
    CancelCompanion,
    ExtendCompanion,
    OrderPrepare,
    OrderResize,
    ReleaseCompanion,
    ShapeCompanion,
    WantCompanion,
)
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.companion_moves import may_start
from ef_slurm.daemon.observe.job_status import JobStatus, Member
from ef_slurm.formats.hostlist import compress
from ef_slurm.model import Block, Companion, CompanionState, QueueJob
from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import JobUpdate, Shape, SlurmJob

MIN_RUN_SECONDS = 60.0
"""The least time limit that anything is started with: Slurm knows whole minutes only."""

CompanionStep = (
    WantCompanion | ShapeCompanion | ReleaseCompanion | CancelCompanion | ExtendCompanion
)


def live_order(step: OrderPrepare | OrderResize, iterations: int | None, now: float) -> Order:
    """The order by which a job is told.

    Args:
        iterations: of its whole training, where its owner has changed that.
    """
    match step:
        case OrderPrepare(companion):
            why = f"to grow by {compress(companion.block.nodes)}"
            order = Order(companion.generation, Action.PREPARE, companion.ordered_at, why)
            return replace(order, iterations=iterations, change=companion.change)
        case OrderResize(generation, change, nodes, gpus, leave, sizes):
            why = "to be measured" if sizes else "another size"
            order = Order(generation, Action.RESIZE, now, why, gpus, iterations)
            told = ",".join(map(str, sizes))
            return replace(order, change=change, nodes=",".join(nodes), leave=leave, sizes=told)


class CompanionSteps:
    """Each may be repeated without harm.

    A companion that Slurm does not know is left to be found ended at the next look.
    """

    def __init__(
        self,
        slurm: Slurm,
        book: CompanionBook,
        clock: Callable[[], float],
        slurm_type: Callable[[Block], str],
    ) -> None:
        self._slurm = slurm
        self._book = book
        self._clock = clock
        self._slurm_type = slurm_type

    def carry_out(self, job: QueueJob, status: JobStatus, step: CompanionStep) -> JobStatus:
        """Do it; the facts afterwards.

        Raises:
            SlurmError: as of the command.
        """
        now = self._clock()
        match step:
            case WantCompanion(generation, change, block):
                self._book.want(job.id, generation, change, block, at=now)
                return self._seen(job, status)
            case ShapeCompanion(companion):
                return self._seen(job, status, self._shape(job, status, companion, now))
            case ReleaseCompanion(companion):
                slurm = self._release(job, status, companion, now)
                return self._seen(job, status, slurm)
            case CancelCompanion(companion):
                return self._seen(job, status, self._cancel(job, companion, now))
            case ExtendCompanion(companion, seconds):
                slurm = self._known(job, companion)
                if slurm is not None:
                    slurm = self._slurm.update(slurm.job_id, JobUpdate(time_limit=seconds))
                return self._seen(job, status, slurm)

    def _shape(
        self, job: QueueJob, status: JobStatus, companion: Companion, now: float
    ) -> SlurmJob | None:
        slurm = self._to_start(job, status, companion)
        if slurm is None:
            return None
        block, ends = companion.block, status.slurm.end_time
        left = None
        if ends is not None:
            left = ends if math.isinf(ends) else max(MIN_RUN_SECONDS, ends - now)
        shape = Shape(block.nodes, block.gpus_per_node, self._slurm_type(block))
        return self._slurm.update(slurm.job_id, JobUpdate(shape, left, start_now=True))

    def _release(
        self, job: QueueJob, status: JobStatus, companion: Companion, now: float
    ) -> SlurmJob | None:
        slurm = self._to_start(job, status, companion)
        if slurm is None:
            return None
        self._slurm.release(slurm.job_id)
        if companion.state is CompanionState.SUBMITTED:
            self._book.move(companion, CompanionState.RELEASED, at=now)
        return self._known(job, companion)

    def _cancel(self, job: QueueJob, companion: Companion, now: float) -> SlurmJob | None:
        """Written down before: whoever dies in between is to cancel it still."""
        known = companion.slurm_job_id is not None
        to = CompanionState.LEAVING if known else CompanionState.ENDED
        self._book.move(companion, to, at=now, why="" if not known else _ends(companion))
        slurm = self._known(job, companion)
        if slurm is None or slurm.is_final:
            return slurm
        self._slurm.cancel(slurm.job_id)
        return self._known(job, companion)

    def _known(self, job: QueueJob, companion: Companion) -> SlurmJob | None:
        """The companion as Slurm has it now; None where that id is none, or another job's."""
        if companion.slurm_job_id is None:
            return None
        try:
            slurm = self._slurm.job(companion.slurm_job_id)
        except NoSuchJobError:
            return None
        return slurm if self._book.is_still(companion, slurm, job) else None

    def _to_start(self, job: QueueJob, status: JobStatus, companion: Companion) -> SlurmJob | None:
        """The same, unless its owner has made something else of it: the next look gives it up."""
        slurm = self._known(job, companion)
        if slurm is None or may_start(slurm, status.slurm, companion):
            return None
        return slurm

    def _seen(self, job: QueueJob, status: JobStatus, slurm: SlurmJob | None = None) -> JobStatus:
        """The facts, with the job's companions as they are now."""
        before = {one.companion.id: one.slurm for one in status.members}
        now = tuple(
            Member(
                one,
                slurm
                if slurm is not None and slurm.job_id == one.slurm_job_id
                else before.get(one.id),
            )
            for one in self._book.of(job.id)
        )
        return replace(status, members=now)


def _ends(companion: Companion) -> str:
    where = compress(companion.block.nodes)
    return f"its companion {companion.slurm_job_id} for {where} is not needed any more"
