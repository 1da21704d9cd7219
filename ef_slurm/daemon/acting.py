"""One round of actions on Slurm: jobs to their GPUs first, then what is in less of a hurry."""

from __future__ import annotations

from collections.abc import Callable

from ef_slurm.daemon.act.comments import Comments
from ef_slurm.daemon.act.companion_ends import CompanionEnds
from ef_slurm.daemon.act.executor import Executor
from ef_slurm.daemon.act.leftovers import Leftovers, Namesakes
from ef_slurm.daemon.act.orphans import Orphans
from ef_slurm.daemon.act.reconcile_result import ReconcileResult
from ef_slurm.daemon.act.reconciler import Reconciler
from ef_slurm.daemon.act.resubmit import Resubmitter
from ef_slurm.daemon.act.strangers import Strangers
from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.fence import Fence
from ef_slurm.daemon.looks import Looks
from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.companion_follower import CompanionFollower
from ef_slurm.daemon.observe.estimates import Estimates
from ef_slurm.daemon.observe.live_launches import LiveLaunches
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.daemon.plan.planning import Planning
from ef_slurm.daemon.settings import Settings
from ef_slurm.model import QueueJob
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm


class Acting:
    """All that acts on Slurm in a tick.

    Args:
        planning: is told where another plan is needed.
        looks: are told where Slurm is to be asked again.
        time_to_act: says when actions give way.
        lose: called with the queue's id of a job whose Slurm job is gone.
    """

    def __init__(
        self,
        settings: Settings,
        slurm: Slurm,
        queue: Queue,
        state_dirs: StateDirs,
        observer: Observer,
        companions: CompanionBook,
        companion_follower: CompanionFollower,
        launches: LiveLaunches,
        estimates: Estimates,
        planning: Planning,
        looks: Looks,
        fence: Fence,
        time_to_act: TimeToAct,
        clock: Callable[[], float],
        lose: Callable[[int], None],
    ) -> None:
        self._companions = companions
        self._planning = planning
        self._looks = looks
        partitions = settings.scope.partitions
        executor = Executor(
            slurm, queue, state_dirs, clock, observer.slurm_type, companions, settings.hold
        )
        self._orphans = Orphans(executor, observer, queue, clock, fence)
        self._strangers = Strangers(slurm, observer, queue, clock, partitions)
        self._comments = Comments(slurm, observer, clock, fence, time_to_act)
        namesakes = Namesakes(queue, slurm)
        self._leftovers = Leftovers(slurm, queue, observer, namesakes, clock, fence)
        self._resubmitter = Resubmitter(
            slurm, queue, observer, namesakes, clock, fence, lose, settings.uid
        )
        self._companion_ends = CompanionEnds(slurm, observer, queue, companions, clock, partitions)
        self.reconciler = Reconciler(
            executor,
            observer,
            queue,
            estimates,
            settings.timeouts,
            settings.hold,
            clock,
            fence,
            companions,
            companion_follower,
            launches,
            time_to_act,
        )
        self.reconciled = ReconcileResult()
        """What the last round came to."""

    def round(self, jobs: tuple[QueueJob, ...]) -> None:
        """Bring jobs to their blocks, and clear up, as far as it goes now.

        Args:
            jobs: all that are active.

        Raises:
            SlurmError: Slurm does not answer; the rest of the round is left out.
        """
        leftover = self._leftovers.cancel()
        self.reconciled = self.reconciler.reconcile(jobs)
        self._planning.wanted |= self.reconciled.replan
        self._planning.wanted |= self._resubmitter.recover(self.reconciled.dead)
        if self.reconciled.unfinished:
            return  # its rest comes before all that is in less of a hurry
        ours = {job.request.slurm_job_id for job in jobs} | self._companions.slurm_ids
        self._looks.wanted |= self._strangers.stop(ours)
        in_rounds = {job.id for job in jobs if not job.is_held_in_slurm}
        self._looks.wanted |= self._companion_ends.cancel(in_rounds)
        for wake in (leftover, self._orphans.cancel(), self._comments.write(jobs)):
            if wake is not None:
                self.reconciled.until(wake)

    def expect_lost(self) -> None:
        """A job was lost: it may be submitted again."""
        self._resubmitter.expect_lost()

    def forget(self, job: QueueJob) -> None:
        """The job has ended: nothing of it is on its way any more."""
        self.reconciler.forget(job)
