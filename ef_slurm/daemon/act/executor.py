"""Steps are carried out: intent written, Slurm asked, effect read back, intent closed.

An intent is on disk before its step is tried. Whatever happens between the two, or after, the next
tick finds the intent, compares it with the facts (`effect_seen`) and closes it, or `next_step`
names the same step again, which is harmless.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ef_slurm.contract import Action, LaunchState, Order
from ef_slurm.daemon.act.comments import comment_of
from ef_slurm.daemon.act.companion_steps import MIN_RUN_SECONDS, CompanionSteps, live_order
from ef_slurm.daemon.act.effects import (
    action_of,
    arguments_of,
    being_requeued,
    effect_seen,
    just_released,
    state_during,
)
from ef_slurm.daemon.act.steps import (
    CancelCompanion,
    CancelOrphan,
    Extend,
    ExtendCompanion,
    GiveBack,
    Hold,
    OrderPrepare,
    OrderRelaunch,
    OrderResize,
    OrderStop,
    Release,
    ReleaseCompanion,
    Requeue,
    Resize,
    ShapeCompanion,
    Step,
    Update,
    WantCompanion,
)
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.observe.closures import refusal_data
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.model import (
    ACTIVE,
    ACTOR,
    Block,
    Event,
    EventKind,
    Intent,
    IntentAction,
    IntentState,
    JobState,
    Json,
    QueueJob,
    StopSignal,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import (
    HeldFirstError,
    NoSuchJobError,
    NotPermittedError,
    RefusedError,
    SlurmError,
    UnexpectedOutputError,
)
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.read_back import differences_of, undone_after_release
from ef_slurm.slurm.types import HoldKind, JobUpdate, Shape, SignalTarget, SlurmJob

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Slurm, or the file system, did not let a step be done. `message` is its own words.

    Args:
        held_first: others hold the job, and did so before us: it is not ours to do anything.
    """

    step: Step
    message: str
    held_first: bool = False


def _closing(step: Step, message: str) -> Mapping[str, Json]:
    """What the audit log keeps of it, where a block was refused."""
    return refusal_data(step.block, message) if isinstance(step, Update | Release) else {}


class Executor:
    """Carries steps out, one job at a time."""

    def __init__(
        self,
        slurm: Slurm,
        queue: Queue,
        state_dirs: StateDirs,
        clock: Callable[[], float],
        slurm_type: Callable[[Block], str],
        companions: CompanionBook,
        hold: HoldKind,
    ) -> None:
        """Carries steps out.

        Args:
            slurm_type: what Slurm calls the type of a block's GPUs, "" for none.
            hold: how we hold jobs: as an operator (ADMIN) or as their owner (USER).
        """
        # An operator's requeue leaves an operator's hold.
        self._foreign = frozenset({HoldKind.USER} if hold is HoldKind.ADMIN else ())
        self._companions = CompanionSteps(slurm, companions, clock, slurm_type)
        self._slurm = slurm
        self._queue = queue
        self._state_dirs = state_dirs
        self._clock = clock
        self._slurm_type = slurm_type
        # What jobs were last told before their release; and when that was, until a later look.
        self._told: dict[int, JobUpdate] = {}
        self._released: dict[int, tuple[float, JobUpdate]] = {}

    def settle(self, job: QueueJob, status: JobStatus) -> None:
        """Close the job's unfinished intent if its effect is seen."""
        intent = self._queue.intents.unfinished_of(job.id)
        if intent is not None and effect_seen(intent, status):
            self._close(intent)

    def drop(self, job: QueueJob, why: str) -> None:
        """Abandon the job's unfinished intent: nothing is to come of it any more."""
        self._told.pop(job.id, None)
        self._released.pop(job.id, None)
        intent = self._queue.intents.unfinished_of(job.id)
        if intent is None:
            return
        if intent.action is IntentAction.SUBMIT and job.state not in ACTIVE:
            return  # it may be done: `resubmit` or `leftovers` finds that out
        now = self._clock()
        with self._queue.transaction():
            if intent.action is IntentAction.RELEASE:
                self._not_started(job, now, why)
            self._queue.intents.advance(intent.id, IntentState.ABANDONED, at=now, why=why)

    def execute(
        self, job: QueueJob, status: JobStatus, step: Step, why: str
    ) -> JobStatus | Refusal:
        """Carry out one step.

        Returns:
            The facts afterwards, or why it was not done.

        Raises:
            SlurmUnavailableError: nobody knows whether it was done. The intent stays open.
            NoSuchJobError: Slurm does not know the job any more.
        """
        if isinstance(step, WantCompanion):  # nothing but a row
            return self._companions.carry_out(job, status, step)
        intent = self._announce(job, status, step, why)
        about_it = about(job, EventKind.INTENT)
        _log.info("job %d: %s (%s)", job.request.slurm_job_id, step, why, extra=about_it)
        try:
            after = self._carry_out(job, status, step)
        except NoSuchJobError:
            self._abandon(intent, "Slurm does not know the job any more")
            raise
        except HeldFirstError as error:
            return self._held_first(job, intent, step, error.message)
        except (RefusedError, NotPermittedError, UnexpectedOutputError) as error:
            return self._refused(job, intent, step, error.message)
        except SlurmError as error:
            self._queue.intents.tried(intent.id, at=self._clock(), error=error.message)
            raise
        except OSError as error:
            return self._refused(job, intent, step, str(error))
        with self._queue.transaction(durable=False):
            now = self._clock()
            if self._queue.intents.get(intent.id).state is IntentState.ABANDONED:
                return after  # its owner has given the job up meanwhile: `orphans` sees to the rest
            self._queue.intents.advance(intent.id, IntentState.EXECUTED, at=now)
            if effect_seen(intent, after):
                self._queue.intents.advance(intent.id, IntentState.VERIFIED, at=now)
                self._queue.intents.advance(intent.id, IntentState.CLOSED, at=now)
        return after

    def read_back(self, slurm_job_id: int) -> SlurmJob:
        """The job as Slurm knows it now.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
            NoSuchJobError: it does not know the job.
        """
        return self._slurm.job(slurm_job_id)

    def step_nodes(self, slurm_job_id: int) -> frozenset[str]:
        """Nodes on which steps of the job run, as Slurm knows it now.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        return self._slurm.step_nodes(slurm_job_id)

    def _announce(self, job: QueueJob, status: JobStatus, step: Step, why: str) -> Intent:
        action, arguments = action_of(step), arguments_of(step, status)
        now = self._clock()
        with self._queue.transaction():
            to = state_during(self._queue.jobs.get(job.id), step)
            if to is not None:
                self._queue.jobs.move(job.id, to, at=now, actor=ACTOR, why=why)
            other = self._queue.intents.unfinished_of(job.id)
            if other is not None:
                if (other.action, dict(other.arguments)) == (action, dict(arguments)):
                    return self._queue.intents.tried(other.id, at=now)
                self._queue.intents.advance(
                    other.id, IntentState.ABANDONED, at=now, why=f"overtaken by {action.value}"
                )
            return self._queue.intents.open(
                job.id, job.generation, action, arguments, at=now, why=f"{action.value}: {why}"
            )

    def _carry_out(self, job: QueueJob, status: JobStatus, step: Step) -> JobStatus:
        slurm_id = status.slurm.job_id
        match step:
            case Hold():
                # We had released it: what holds it since it was seen is not ours.
                ran = job.state is JobState.STARTING and status.slurm.hold is HoldKind.NONE
                self._slurm.hold(slurm_id, foreign=self._foreign if ran else ())
            case OrderStop(generation):
                order = Order(
                    generation,
                    Action.STOP,
                    self._clock(),
                    "reshape",
                    iterations=job.ordered_iterations,
                )
                return self._order(job, status, order)
            case OrderRelaunch(generation, gpus, iterations):
                order = Order(
                    generation, Action.RELAUNCH, self._clock(), "go on here", gpus, iterations
                )
                return self._order(job, status, order)
            case Requeue(ended):
                self._requeue(status, ended=ended)
                return replace(status, slurm=being_requeued(status.slurm))
            case Update(block):
                shape = Shape(block.nodes, block.gpus_per_node, self._slurm_type(block))
                left = _time_left(job, self._clock())
                wanted = comment_of(job, status, self._clock())
                comment = None if wanted == status.slurm.requested.comment else wanted
                update = JobUpdate(shape, left, start_now=True, comment=comment)
                self._told[job.id] = update
                return replace(status, slurm=self._slurm.update(slurm_id, update))
            case Release():
                self._state_dirs.prepare(job)
                self._slurm.release(slurm_id)
                self._told_before(job)
                return replace(status, slurm=just_released(status.slurm))
            case Extend(seconds):
                update = JobUpdate(time_limit=seconds)
                return replace(status, slurm=self._slurm.update(slurm_id, update))
            case Resize(block):
                return replace(status, slurm=self._slurm.resize(slurm_id, block.nodes))
            case CancelOrphan():
                self._slurm.cancel(slurm_id)
            case GiveBack(block):
                return replace(status, slurm=self._slurm.resize(slurm_id, block.nodes))
            case OrderPrepare() | OrderResize():
                order = live_order(step, job.ordered_iterations, self._clock())
                return self._order(job, status, order)
            case (
                WantCompanion()
                | ShapeCompanion()
                | ReleaseCompanion()
                | CancelCompanion()
                | ExtendCompanion() as mine
            ):
                return self._companions.carry_out(job, status, mine)
        return replace(status, slurm=self._slurm.job(slurm_id))

    def _requeue(self, status: JobStatus, *, ended: bool) -> None:
        """Slurm may have done what it says that it has not: what holds the job is ours then."""
        before = status.slurm
        try:
            self._slurm.requeue(before.job_id, ended=ended, foreign=self._foreign)
        except HeldFirstError:
            raise  # and nothing was done
        except (RefusedError, UnexpectedOutputError):
            if self._slurm.job(before.job_id).restarts <= before.restarts:
                raise

    def _order(self, job: QueueJob, status: JobStatus, order: Order) -> JobStatus:
        self._state_dirs.order(job, order)
        # Only shortens the wait: the training reads the order several times a second. The servers
        # of a next launch are in a step too, and may not know yet that the signal is not for them.
        signal = _stop_signal(status)
        if signal is not None and order.action not in (Action.PREPARE, Action.RELAUNCH):
            with contextlib.suppress(RefusedError, NotPermittedError, UnexpectedOutputError):
                self._slurm.signal(status.slurm.job_id, signal.value, SignalTarget.STEPS)
        return replace(status, reports=self._state_dirs.read(job))

    def _told_before(self, job: QueueJob) -> None:
        """It is released now: the next look tells whether Slurm has left what it was told."""
        told = self._told.pop(job.id, None)
        if told is not None:
            self._released[job.id] = (self._clock(), told)

    def check_release(self, job: QueueJob, seen: SlurmJob, looked_at: float) -> SlurmJob:
        """A job that was released, with what Slurm has undone of its update told, and done again.

        Another shape needs nothing more: a job that asks for it is held, and one that runs on it is
        moved.

        Args:
            looked_at: when Slurm said so, UTC epoch seconds; before its release nothing is checked.
        """
        released_at, told = self._released.get(job.id, (math.inf, JobUpdate()))
        if looked_at <= released_at:
            return seen
        del self._released[job.id]
        if seen.is_final:
            return seen
        slurm_id, undone = seen.job_id, undone_after_release(told, seen)
        if undone:
            why = f"Slurm changed the job after its update: {'; '.join(undone)}"
            _log.warning("job %d: %s", slurm_id, why, extra=about(job, EventKind.ERROR))
            self._queue.events.log(Event(self._clock(), EventKind.ERROR, ACTOR, why, job.id))
            again = JobUpdate(time_limit=told.time_limit, comment=told.comment)
            if differences_of(again, seen):
                with contextlib.suppress(RefusedError, NotPermittedError):
                    return self._slurm.update(slurm_id, again)
        return seen

    def _refused(self, job: QueueJob, intent: Intent, step: Step, message: str) -> Refusal:
        now = self._clock()
        why = f"{intent.action.value} was not done: {message}"
        if isinstance(step, Extend):
            why = f"Slurm keeps the time limit of the run, the next one has the new one: {message}"
        about_it = about(job, EventKind.ERROR)
        _log.warning("job %d: %s", job.request.slurm_job_id, why, extra=about_it)
        with self._queue.transaction():
            if isinstance(step, Release):
                self._not_started(job, now, why)
            self._queue.intents.tried(intent.id, at=now, error=message)
            self._queue.intents.advance(intent.id, IntentState.ABANDONED, at=now, why=why)
            self._queue.events.log(
                Event(now, EventKind.ERROR, ACTOR, why, job.id, _closing(step, message))
            )
        return Refusal(step, message)

    def _held_first(self, job: QueueJob, intent: Intent, step: Step, message: str) -> Refusal:
        """We had let it go, and others hold it: by its row we do not, so the hold is theirs."""
        now = self._clock()
        _log.info("%s", message, extra=about(job, EventKind.INTENT))
        with self._queue.transaction():
            row = self._queue.jobs.get(job.id)
            if row.state in (JobState.ADMITTED, JobState.PAUSED, JobState.STOPPING):
                self._queue.jobs.move(job.id, JobState.STARTING, at=now, actor=ACTOR, why=message)
            self._queue.intents.tried(intent.id, at=now, error=message)
            self._queue.intents.advance(intent.id, IntentState.ABANDONED, at=now, why=message)
        return Refusal(step, message, held_first=True)

    def _not_started(self, job: QueueJob, now: float, why: str) -> None:
        """Its release is not to come: STARTING and held would say that somebody else holds it."""
        row = self._queue.jobs.get(job.id)
        if row.state is JobState.STARTING:
            self._queue.jobs.move(job.id, row.waiting_state, at=now, actor=ACTOR, why=why)

    def _abandon(self, intent: Intent, why: str) -> None:
        self._queue.intents.advance(intent.id, IntentState.ABANDONED, at=self._clock(), why=why)

    def _close(self, intent: Intent) -> None:
        now = self._clock()
        with self._queue.transaction(durable=False):
            for state in (IntentState.EXECUTED, IntentState.VERIFIED, IntentState.CLOSED):
                if _RANK[intent.state] < _RANK[state]:
                    self._queue.intents.advance(intent.id, state, at=now)


_RANK = {
    IntentState.OPEN: 0,
    IntentState.EXECUTED: 1,
    IntentState.VERIFIED: 2,
    IntentState.CLOSED: 3,
    IntentState.ABANDONED: 3,
}


def _stop_signal(status: JobStatus) -> StopSignal | None:
    """The signal that the launch's processes know; None where none runs or it is none of ours."""
    if status.launch is None or status.launch.state is not LaunchState.RUNNING:
        return None
    try:
        return StopSignal(status.launch.stop_signal)
    except ValueError:
        return None


def _time_left(job: QueueJob, now: float) -> float | None:
    """What is left of the owner's `--time`: it counts from the first start, Slurm's from each.

    Without one, the limit that the job has needed since it was changed.
    """
    if job.request.max_time is None or job.first_started_at is None:
        return job.time_limit
    return max(MIN_RUN_SECONDS, job.first_started_at + job.request.max_time - now)
