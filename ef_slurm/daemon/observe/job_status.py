"""What is known of one job at one moment: Slurm's word and the job's own reports."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.contract import Action, Launch, LaunchState, Order, Phase, Progress
from ef_slurm.contract import Companion as CompanionReport
from ef_slurm.formats.printing import shortened
from ef_slurm.model import (
    Block,
    ChangeKind,
    Companion,
    CompanionState,
    change_kind,
    is_power_of_two,
)
from ef_slurm.slurm.types import HoldKind, SlurmJob

MOST_NAMED = 200
"""Characters of names that only a job's own word has."""

Layout = frozenset[tuple[str, int]]
"""(node, GPUs on it), in no order."""


@dataclass(frozen=True, slots=True)
class JobReports:
    """What lies in the job's state directory, and the order that it was given.

    `trouble` says in one line why a file was refused.
    """

    launch: Launch | None = None
    progress: Progress | None = None
    order: Order | None = None
    trouble: str = ""
    companion: CompanionReport | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A companion of a job as the queue has it, and as Slurm does (None: it does not know it)."""

    companion: Companion
    slurm: SlurmJob | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job as Slurm and its own reports show it.

    Args:
        slurm: the job's first Slurm job, where its batch script runs.
        seen_pending: when it was first seen pending since its last run (UTC epoch seconds), None
            while it is not.
        killed_by: when its last run was killed at the latest (UTC epoch seconds), None while it
            does not pend.
        done_since: when a run that goes on first said that nothing is left to train.
        members: its companions that have not ended.
        booted: which slurmctld says so (`Observation.booted`).
        forgotten_at: when it was found that Slurm has forgotten our release of the run for which
            it pends; None if it has not.
    """

    slurm: SlurmJob
    reports: JobReports = JobReports()
    seen_pending: float | None = None
    killed_by: float | None = None
    done_since: float | None = None
    members: tuple[Member, ...] = ()
    booted: str = ""
    forgotten_at: float | None = None

    @property
    def gpus(self) -> tuple[tuple[str, int], ...]:
        """(node, GPUs) that its launch has, its companions' included once they train."""
        joined = [
            one.slurm
            for one in self.members
            if one.companion.state is CompanionState.JOINED and not self.is_over(one.companion)
        ]
        more = (pair for job in joined if job is not None and job.is_running for pair in job.gpus)
        return (*self.slurm.gpus, *more)

    def is_over(self, companion: Companion) -> bool:
        """Whether the launch that a companion is for has ended, as the batch script says."""
        launch = self.reports.launch
        if launch is None:
            return False  # not to be read just now
        other = launch.generation != companion.generation
        return other or launch.state is not LaunchState.RUNNING

    @property
    def layout(self) -> Layout:
        """The same, in no order."""
        return frozenset(self.gpus)

    @property
    def coming(self) -> Member | None:
        """The companion that is on its way to be taken in."""
        return next((one for one in self.members if one.companion.is_coming), None)

    @property
    def is_live(self) -> bool:
        """Whether its launch trains, and can change its size while it does."""
        launch, progress = self.launch, self.progress
        return (
            self.slurm.is_running
            and launch is not None
            and progress is not None
            and launch.state is LaunchState.RUNNING
            and launch.finds_orders
            and progress.live
            and progress.phase is Phase.RUNNING
        )

    @property
    def hands_over(self) -> bool:
        """Whether its launch changes its size by handing over to a larger one."""
        return self.progress is not None and self.progress.hands_over

    @property
    def handing_over(self) -> Order | None:
        """The order by which its launch has stopped for the one that takes over, or is about to."""
        progress, order = self.progress, self.reports.order
        if progress is None or order is None or not progress.hands_over:
            return None
        ordered = order.action is Action.RESIZE and order.generation == progress.generation
        due = ordered and order.change > max(progress.change, progress.refused_change)
        return order if due and progress.phase in (Phase.STOPPING, Phase.STOPPED) else None

    @property
    def trains_on(self) -> tuple[str, ...]:
        """The nodes that a live launch trains on, in rank order, by its own word.

        Of nodes that it may be on: they are written into orders, and kept.
        """
        launch, progress = self.launch, self.progress
        if launch is None or progress is None:
            return ()
        return self._of_its_nodes(progress.nodes or launch.nodes)

    @property
    def launched_on(self) -> tuple[str, ...]:
        """The nodes that its launch began on, by its script's word: of those that it may be on."""
        return () if self.launch is None else self._of_its_nodes(self.launch.nodes)

    @property
    def nodes_gone(self) -> str:
        """Nodes that its launch says it trains on and that are not its own any more, in words."""
        launch, progress = self.launch, self.progress
        named = "" if progress is None else progress.nodes
        if launch is not None and launch.change:  # it may not have come to a report
            named = f"{named},{launch.nodes}"
        left = set(named.split(",")).difference(self._of_its_nodes(named), ("",))
        return shortened(",".join(sorted(left)), MOST_NAMED)

    def _of_its_nodes(self, named: str) -> tuple[str, ...]:
        may_be = {*self.slurm.nodes}.union(*(one.companion.block.nodes for one in self.members))
        return tuple(dict.fromkeys(name for name in named.split(",") if name in may_be))

    @property
    def launch(self) -> Launch | None:
        """The launch report of the present run; an older run's report says nothing about it."""
        launch = self.reports.launch
        if launch is None:
            return None
        same_run = (launch.slurm_job_id, launch.restart_count) == (
            self.slurm.job_id,
            self.slurm.restarts,
        )
        return launch if same_run else None

    @property
    def progress(self) -> Progress | None:
        """The training's report of the present launch."""
        launch, progress = self.launch, self.reports.progress
        if launch is None or progress is None or progress.generation != launch.generation:
            return None
        return progress

    @property
    def held(self) -> bool:
        """Whether it pends and nobody but a release can start it."""
        return self.slurm.is_pending and self.slurm.hold is not HoldKind.NONE

    @property
    def forgotten(self) -> bool:
        """Whether Slurm does not know of the run that the job reports, or that we released it to.

        slurmctld saves its state every few seconds only: killed, it comes back with the past, and
        a job that we released pends again, held, as if its owner had held it.
        """
        known = self.launch is not None or self.forgotten_at is not None
        return self.slurm.is_pending and known

    @property
    def waiting(self) -> bool:
        """Whether the batch script stands alone and waits for the daemon."""
        stands = self.launch is not None and self.launch.state is LaunchState.WAITING
        return stands and self.relaunching is None

    @property
    def relaunching(self) -> Order | None:
        """The order by which the script that waits is about to go on."""
        launch, order = self.launch, self.reports.order
        if launch is None or order is None or launch.state is not LaunchState.WAITING:
            return None
        ordered = order.generation == launch.generation and order.action is Action.RELAUNCH
        return order if ordered else None

    @property
    def ordered_to_stop(self) -> Order | None:
        """The stop order that the present launch has been given."""
        launch, order = self.launch, self.reports.order
        if launch is None or order is None or order.generation != launch.generation:
            return None
        return order if order.action is Action.STOP else None

    @property
    def ordered_to_relaunch(self) -> Order | None:
        """The order by which the present launch, which still runs, is to make room for another."""
        launch, order = self.launch, self.reports.order
        if launch is None or order is None or launch.state is LaunchState.WAITING:
            return None
        ordered = order.generation == launch.generation and order.action is Action.RELAUNCH
        return order if ordered else None

    @property
    def launched_gpus(self) -> int | None:
        """GPUs that the present launch runs on, by its own word; None if that is unknown."""
        return None if self.launch is None else self.launch.gpus(self.progress)

    def declined(self, gpus: int | None) -> bool:
        """Whether this run was ordered to run on so many of its GPUs, and launched otherwise.

        Its script does so when the training failed at that size, or does not know such orders.

        Args:
            gpus: as in the order; None for all that it holds.
        """
        launch, order, began = self.launch, self.reports.order, self.slurm.start_time
        if launch is None or order is None or order.action is not Action.RELAUNCH:
            return False
        of_this_run = began is None or order.issued_at >= began
        overtaken = order.gpus == gpus and order.generation < launch.generation
        wanted = sum(count for _, count in self.gpus) if gpus is None else gpus
        return of_this_run and overtaken and self.launched_gpus not in (None, wanted)

    def says_done(self, iterations: int | None) -> bool:
        """Whether it runs and says that nothing is left of its `iterations` (None: not known)."""
        launch, progress = self.reports.launch, self.reports.progress
        if launch is None or not self.slurm.is_running:
            return False
        if progress is not None and iterations is not None and progress.iteration >= iterations:
            return self.progress is not None  # of the present launch
        return launch.state is LaunchState.FINISHED and self.launch is not None

    @property
    def acknowledged(self) -> bool:
        """Whether the training has agreed to stop.

        That a smaller launch stopped says nothing of the one that has taken over.
        """
        launch, progress = self.launch, self.progress
        if launch is None or progress is None or launch.change > progress.change:
            return False
        return progress.phase in (Phase.STOPPING, Phase.STOPPED)

    def holds(self, block: Block) -> bool:
        """Whether it runs on exactly this block."""
        return self.slurm.is_running and self.layout == layout_of(block)

    def requests(self, block: Block) -> bool:
        """Whether Slurm has been told to start it on exactly this block."""
        return requests_block(self.slurm, block)


def requests_block(job: SlurmJob, block: Block) -> bool:
    """Whether Slurm has been told to start a job on exactly this block."""
    requested = job.requested
    count = len(block.nodes)
    return (
        frozenset(requested.nodes) == frozenset(block.nodes)
        and requested.gpus_per_node == block.gpus_per_node
        and requested.gpu_type in ("", block.gpu_type)
        and requested.min_nodes in (None, count)
        and requested.max_nodes in (None, 0, count)
    )


def layout(job: SlurmJob) -> Layout:
    """What the job holds."""
    return frozenset(job.gpus)


def layout_of(block: Block) -> Layout:
    """What a job on the block holds."""
    return frozenset((node, block.gpus_per_node) for node in block.nodes)


def held_block(job: SlurmJob, gpu_type: str) -> Block | None:
    """What a running job holds by Slurm's word, the node of its batch script first.

    Args:
        job: as Slurm reports it.
        gpu_type: what the type of its GPUs is called.

    Returns:
        None when it holds nothing, or nothing that ef-slurm gives out.
    """
    counts = {gpus for _, gpus in job.gpus}
    names = sorted((node for node, _ in job.gpus), key=lambda node: node != job.batch_host)
    if not job.is_running or len(counts) != 1 or not is_power_of_two(len(names)):
        return None
    gpus = counts.pop()
    return Block(gpu_type, tuple(names), gpus) if is_power_of_two(gpus) else None


def shrinks_in_place(job: SlurmJob, block: Block) -> bool:
    """Whether the running job gets to the block by giving up whole nodes, its first one not."""
    held = held_block(job, block.gpu_type)
    return held is not None and change_kind(held, block) is ChangeKind.SHRINK
