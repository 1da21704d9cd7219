"""What Slurm and the jobs say is written into the rows of the queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.observe.companion_follower import CompanionFollower
from ef_slurm.daemon.observe.follower import Follower
from ef_slurm.daemon.observe.live_launches import LiveLaunches
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.daemon.plan.planning import Planning
from ef_slurm.model import ACTIVE, ACTOR, Event, Intent, JobState, QueueJob
from ef_slurm.queue.store import Queue

PROGRESS_SECONDS = 2.0
"""How much training may pass between two writes of a job's progress."""

_UNDER_WAY = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})


class Ingest:
    """Follows all jobs, once in a tick.

    Args:
        planning: is told where another plan is needed.
        apply: writes what is new of a job; returns its row as it is then.
        advisory: jobs and companions are left as they are.
    """

    def __init__(
        self,
        queue: Queue,
        observer: Observer,
        follower: Follower,
        companions: CompanionFollower,
        launches: LiveLaunches,
        state_dirs: StateDirs,
        planning: Planning,
        fence: Fence,
        apply: Callable[[QueueJob, Transition], QueueJob],
        *,
        advisory: bool,
    ) -> None:
        self._queue = queue
        self._observer = observer
        self._follower = follower
        self._companions = companions
        self._launches = launches
        self._state_dirs = state_dirs
        self._planning = planning
        self._fence = fence
        self._apply = apply
        self._advisory = advisory

    def all(self, jobs: tuple[QueueJob, ...]) -> tuple[QueueJob, ...]:
        """Write what Slurm and the jobs say into the rows; returns those that are active still.

        Raises:
            QueueError: it cannot be written.
            SlurmError: Slurm does not answer.
        """
        unknown = self._not_found(jobs)
        self._observer.ask_accounting(job for job in jobs if job.id not in unknown)
        lost = {node.name for node in self._observer.observation.nodes if not node.usable}
        self._follower.look()
        observed = {job.id for job in jobs}
        active: list[QueueJob] = []
        ended: list[QueueJob] = []
        intents = {intent.job_id: intent for intent in self._queue.intents.unfinished()}
        if any(self._may_be_of_before(job) for job in jobs if job.id not in unknown):
            self._observer.ask_who_answers()
        with self._queue.transaction(durable=False):
            # Again: another process may have changed rows since. New ones wait for the next tick.
            for job in self._queue.jobs.all(ACTIVE):
                if job.id not in observed:
                    continue
                if job.id in unknown:
                    # It keeps what it has; of a new one nobody knows yet whose it is.
                    if job.state is not JobState.NEW:
                        active.append(job)
                    continue
                with self._fence.around(job, "followed"):
                    intent = intents.get(job.id) or self._last_intent(job)
                    transition = self._follower.follow(job, intent, lost)
                    transition = self._planning.lost_time.settled(job, transition)
                    if transition != Transition(job):
                        with self._queue.transaction():
                            job = self._apply(job, transition)
                    if job.state in ACTIVE and not self._advisory:
                        job = self._follow_live(job, lost)
                (active if job.state in ACTIVE else ended).append(job)
        for job in ended:
            self._state_dirs.forget(job)
        return tuple(active)

    def _not_found(self, jobs: tuple[QueueJob, ...]) -> frozenset[int]:
        """Read again what the last look did not mention.

        Returns:
            Queue ids of those of which nobody can say whether Slurm has them, or a companion of
            theirs: its answer was no answer. They are not gone for that.
        """
        unknown = set[int]()
        for job in jobs:
            with self._fence.around(job, "found in Slurm"):
                unknown.add(job.id)
                if self._observer.status(job) is None:
                    self._observer.fetch(job.request.slurm_job_id)
                self._companions.ask(job)
                unknown.remove(job.id)
        return frozenset(unknown)

    def _may_be_of_before(self, job: QueueJob) -> bool:
        """Whether Slurm holds a job that we have released, as it did before, or has ended it."""
        status = self._observer.status(job)
        if status is None or job.state not in (JobState.STARTING, JobState.RUNNING):
            return False
        return status.held or status.slurm.is_final

    def _last_intent(self, job: QueueJob) -> Intent | None:
        """What we did last with a job that does not run as it is to; None for the others."""
        status = self._observer.status(job)
        if status is None or not (status.slurm.is_pending or status.slurm.is_final):
            return None
        return self._queue.intents.last_of(job.id) if job.state in _UNDER_WAY else None

    def _follow_live(self, job: QueueJob, lost: set[str]) -> QueueJob:
        """What is new of the job's live changes; its row as it is then."""
        status = self._observer.status(job)
        if status is not None:
            self._launches.see(job.id, status)
        if not self._companions.has_any(job):
            return job
        with self._queue.transaction():
            if self._companions.follow(job, lost):
                self._planning.wanted = True
                return self._queue.jobs.get(job.id)
        return job


def write_transition(
    queue: Queue, job: QueueJob, transition: Transition, now: float, actor: str | None
) -> QueueJob:
    """Write the row, its state and the audit log; returns the row as it is then.

    Args:
        actor: who did it; None: its owner or the daemon, as the transition says.

    Raises:
        QueueError: it cannot be written.
    """
    row = job
    if transition.job != job and not transition.is_little_progress(job, PROGRESS_SECONDS):
        job_now = transition.job
        if job_now.request != job.request:  # told by the training, or by Slurm
            completed = queue.jobs.complete(job.id, job_now.request)
            job_now = replace(job_now, revision=completed.revision)
        row = queue.jobs.save(job_now, durable=False)
    if actor is None:
        actor = job.request.owner if transition.actor_is_owner else ACTOR
    for entry in transition.entries:
        queue.events.log(Event(now, entry.kind, actor, entry.message, job.id, entry.data))
    if transition.to is not None:
        row = queue.jobs.move(
            job.id,
            transition.to,
            at=now,
            actor=actor,
            why=transition.why,
            ended_at=transition.ended_at,
        )
    return row
