"""A training that changes its size while it runs, and its companions, as the contract has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from ef_slurm.contract import (
    Action,
    Companion,
    LaunchState,
    Point,
    Progress,
    companion_comment,
    points_text,
    read_sizes,
)
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import QueueJob
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.fakes.memory_cluster import MemoryCluster, MemoryJob
from tests.unit.daemon.world import Training, World

STILL = 1.0
"""Seconds for which training stands still at a change."""
MEASURED = 2.5
"""Seconds that one size of a round takes, without the change to it."""


Kind = TypeVar("Kind", bound="LiveTraining")


@dataclass
class LiveTraining(Training):
    """Obeys `prepare` and `resize`; its companions are jobs of the same cluster in memory."""

    cluster: MemoryCluster = field(default_factory=lambda: MemoryCluster({}))
    submits: bool = True
    """Whether its script submits what it is told to; else Slurm says no."""
    names: int | None = None
    """What its script says instead of the companion's id."""
    refuses: frozenset[int] = frozenset()
    """Sizes at which it does not go on."""
    deaf: bool = False
    gather: float = 4.0
    """Seconds from a companion's start until its ranks are ready."""
    measures: bool = True
    """Whether its library measures what it is ordered to; an earlier one knows of no sizes."""
    train: tuple[str, ...] = ()
    change: int = 0
    last_still: float | None = None
    refused: tuple[int, str] = (0, "")
    companions: dict[int, MemoryJob] = field(default_factory=dict)
    told: Companion | None = None
    leaving: dict[int, float] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    changes: list[tuple[str, ...]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    """Sizes of a round; the first one trains until `measured_at`."""
    measured_at: float = math.inf
    points: list[Point] = field(default_factory=list)
    rounds: list[tuple[int, ...]] = field(default_factory=list)
    """The sizes that each round had to measure."""
    began_on: int = 0
    """GPUs of its launch, before any change."""
    says_why: str = "QOSMaxSubmitJobPerUserLimit"
    """What it writes where it submits no companion."""

    @property
    def gpus(self) -> int:
        if self.running and self.train:
            return len(self.train) * self.slurm.gpus_per_node if self.part is None else self.part
        return super().gpus

    def _launch(self, at: float, boot_of: Callable[[Training], float]) -> None:
        self.train, self.change, self.refused = self.slurm.nodes, 0, (0, "")
        self.left, self.measured_at, self.points = [], math.inf, []
        super()._launch(at, boot_of)
        self.began_on = self.gpus

    def advance(self, now: float, boot_of: Callable[[Training], float]) -> None:
        super().advance(now, boot_of)
        self._follow_companions(now, boot_of)
        order = self.order
        if not self.running or order is None or order.generation != self.generation:
            return
        if self.state is not LaunchState.RUNNING or self.deaf:
            return
        if self.left:
            self._measure(now, boot_of)
        elif order.action is Action.PREPARE:
            self._prepare(now)
        elif order.action is Action.RESIZE:
            due = order.change == max(self.change, self.refused[0]) + 1
            if due and now >= self.trains_from:
                if order.gpus in self.too_small:
                    self._launch(now, boot_of)
                else:
                    self._resize(now)

    def _prepare(self, now: float) -> None:
        order = self.order
        assert order is not None
        told = self.told
        answers = (order.generation, order.change, order.issued_at)
        if told is not None and (told.generation, told.change, told.issued_at) == answers:
            return
        if not self.submits:
            self.told = Companion(*answers, None, self.says_why)
            return
        comment = companion_comment(self.slurm.job_id, order.generation, order.change)
        there = [
            one
            for one in self.companions.values()
            if one.comment == comment
            and one.state in (JobBaseState.PENDING, JobBaseState.RUNNING)
            and one.completing_until is None
        ]
        if not there:
            job = self.cluster.add_job(
                self.slurm.user, self.slurm.name, now=now, uid=self.slurm.uid
            )
            job.comment, job.time_limit = comment, self.slurm.time_limit
            job.requeues = False
            job.settings.update(self.slurm.settings)
            self.companions[job.job_id] = job
            there = [job]
        self.told = Companion(*answers, self.names or there[0].job_id, "")

    def ready(self, now: float) -> tuple[str, ...]:
        """Nodes whose ranks wait."""
        return tuple(
            node
            for job in self.companions.values()
            if job.state is JobBaseState.RUNNING and job.job_id not in self.leaving
            if job.started is not None and now >= job.started + self.gather
            for node in job.nodes
            if node not in self.train
        )

    def _resize(self, now: float) -> None:
        order = self.order
        assert order is not None
        nodes = tuple(order.nodes.split(","))
        if not set(nodes) <= {*self.train, *self.slurm.nodes, *self.ready(now)}:
            return
        gpus = order.gpus or 0
        if len(nodes) == 1 and gpus > self.launches[-1]:
            self.refused = (order.change, f"{gpus} GPUs on {nodes[0]}, which has fewer ranks")
            return
        if gpus in self.refuses:
            self.refused = (order.change, "fewer samples than ranks")
            return
        if order.sizes and self.measures:
            self.left, self.points = list(read_sizes(order.sizes)), []
            self.rounds.append(tuple(self.left))
            self._train_at(now, nodes, self.left[0])
            return
        self._go_on(now, nodes, None if gpus == len(nodes) * self.slurm.gpus_per_node else gpus)
        if order.leave:
            for job in self.companions.values():
                if not set(job.nodes) & set(nodes) and job.state is JobBaseState.RUNNING:
                    self.leaving.setdefault(job.job_id, now + 0.5)

    def _go_on(self, now: float, nodes: tuple[str, ...], part: int | None) -> None:
        self.base = self.done(now)
        self.train, self.part, self.change = nodes, part, self.change + 1
        self.trains_from, self.last_still = now + STILL, STILL
        self.rate = self.rates.get(self.gpus, 0.0) * self.speed
        self.changes.append(nodes)

    def _train_at(self, now: float, nodes: tuple[str, ...], gpus: int) -> None:
        """The step of a round; no change is complete with it."""
        still = STILL if gpus != self.gpus else 0.0
        self.base, self.trains_from = self.done(now), now + still
        self.train = nodes[: max(1, gpus // self.slurm.gpus_per_node)]
        self.part = None if gpus == len(self.train) * self.slurm.gpus_per_node else gpus
        self.rate = self.rates.get(gpus, 0.0) * self.speed
        self.measured_at = self.trains_from + MEASURED

    def _measure(self, now: float, boot_of: Callable[[Training], float]) -> None:
        order = self.order
        assert order is not None
        nodes = tuple(order.nodes.split(","))
        while self.left and now >= self.measured_at:
            if self.left[0] in self.too_small:
                self._launch(now, boot_of)
                return
            iterations = max(1, round(self.rate * (MEASURED - 1.0)))
            self.points.append(Point(self.left.pop(0), iterations, MEASURED - 1.0))
            if self.left:
                self._train_at(now, nodes, self.left[0])
            else:
                self.measured_at = math.inf
                whole = order.gpus == len(nodes) * self.slurm.gpus_per_node
                self._go_on(now, nodes, None if whole else order.gpus)

    def _follow_companions(self, now: float, boot_of: Callable[[Training], float]) -> None:
        running = self.running and self.state is LaunchState.RUNNING
        for job in self.companions.values():
            if job.state is not JobBaseState.RUNNING:
                if job.job_id in self.gone:
                    continue
                if job.nodes:
                    self.gone.add(job.job_id)
                if not (running and set(job.nodes) & set(self.train)):
                    continue
                if job.state is JobBaseState.NODE_FAIL:
                    # Some ranks are gone without a word, and the launch with them.
                    self.base, self.trains_from = self.checkpoint, math.inf
                    self._launch(now, boot_of)
                    continue
                # Its ranks have left within KillWait.
                rest = tuple(node for node in self.train if node not in job.nodes)
                self._go_on(now, rest, None)
                continue
            of = job.comment.partition("launch ")[2].partition(",")[0]
            if not running or of != str(self.generation):
                self.leaving.setdefault(job.job_id, now + 1.0)
            known = job.job_id in self.cluster.jobs
            if known and self.leaving.get(job.job_id, math.inf) <= now:
                self.cluster.finish(job.job_id, now)

    def next_event(self, now: float) -> float:
        starts = [
            job.started + self.gather
            for job in self.companions.values()
            if job.state is JobBaseState.RUNNING and job.started is not None
        ]
        moments = [super().next_event(now), *starts, *self.leaving.values(), self.measured_at]
        return min((moment for moment in moments if moment > now), default=math.inf)

    def reports(self, now: float) -> JobReports:
        known = super().reports(now)
        if self.generation and known.launch is not None:
            whole = self.slurm.gpus_per_node
            launch = replace(
                known.launch,
                nodes=",".join(self.slurm.nodes[: max(1, self.began_on // whole)]),
                gpus_per_node=min(self.began_on, whole),
            )
            return replace(known, launch=launch, companion=self.told)
        return known

    def _progress(self, now: float) -> Progress:
        plain = super()._progress(now)
        first = plain.first_iteration_at
        if self.change:
            first = self.launched + self.boot
        return replace(
            plain,
            phase=plain.phase if not self.change or self.finished else _phase(plain),
            first_iteration_at=first,
            live=True,
            change=self.change,
            change_seconds=self.last_still,
            nodes=",".join(self.train),
            ready=",".join(self.ready(now)),
            refused_change=self.refused[0],
            refusal=self.refused[1],
            points=points_text(self.points),
            change_iteration=0 if self.change or self.rounds else None,
        )


def _phase(plain: Progress) -> Any:
    from ef_slurm.contract import Phase

    return Phase.RUNNING if plain.phase is Phase.STARTING else plain.phase


def submit_live(world: World, *arguments: Any, **options: Any) -> tuple[QueueJob, LiveTraining]:
    """`World.submit` of a training that is live."""
    return submit_as(LiveTraining, world, *arguments, **options)


def submit_as(
    kind: type[Kind], world: World, *arguments: Any, **options: Any
) -> tuple[QueueJob, Kind]:
    """`World.submit` of a training of this kind."""
    job = world.submit(*arguments, **options)
    plain = world.training(job)
    values = {one.name: getattr(plain, one.name) for one in fields(plain)}
    made = kind(**values, cluster=world.cluster)
    world.bench.trainings[job.request.slurm_job_id] = made
    return job, made


def holds(job: MemoryJob) -> bool:
    """Whether it pends, held."""
    return job.state is JobBaseState.PENDING and job.hold is not HoldKind.NONE
