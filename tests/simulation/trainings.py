"""Trainings of all kinds, and the state directories in which they report.

What a hostile job writes goes through the daemon's own validator as bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from ef_slurm.contract import ContractError, Launch, LaunchState, Order, Phase, Progress
from ef_slurm.contract.decode import decode
from ef_slurm.contract.files import dump
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import QueueJob
from ef_slurm.slurm.types import JobBaseState
from tests.fakes.memory_cluster import MemoryCluster, MemoryJob
from tests.simulation.story import Behaviour, Live
from tests.unit.daemon.handover import HandoverTraining
from tests.unit.daemon.live import LiveTraining
from tests.unit.daemon.world import SAME_MOMENT, Clock, Training

FAILS_AFTER_SECONDS = 15.0
"""How long a training that fails runs before."""

Record = TypeVar("Record", Launch, Progress)


@dataclass
class SimulatedTraining(Training):
    """A training that may behave in any way. Public facts of it are the truth."""

    behaviour: Behaviour = Behaviour.HONEST
    rates_by_type: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    type_of: Callable[[str], str] = lambda _node: ""
    number: int = 0
    best: float = 0.0
    """The newest checkpoint that there ever was."""

    def misbehave(self, behaviour: Behaviour, now: float) -> None:
        """From now on."""
        # What it has done by now, it has done as before.
        self.pace(now, 0.3 if behaviour is Behaviour.SLOW else self.speed)
        self.behaviour = behaviour

    def fails_at(self) -> float:
        """When its script exits with an error."""
        if self.behaviour is not Behaviour.FAILS or not self.running or not self.slurm.started:
            return math.inf
        return self.slurm.started + FAILS_AFTER_SECONDS

    def next_event(self, now: float) -> float:
        fails = self.fails_at()
        return min(super().next_event(now), fails if fails > now else math.inf)

    def finish_time(self) -> float:
        endless = (Behaviour.NEVER_ENDS, Behaviour.SAYS_DONE)
        return math.inf if self.behaviour in endless else super().finish_time()

    def done(self, now: float) -> float:
        done = super().done(now)
        if self.behaviour is Behaviour.NEVER_ENDS:
            return max(self.base, min(done, self.iterations * 0.9))
        return done

    def _launch(self, at: float, boot_of: Callable[[Training], float]) -> None:
        self.finished = False
        if self.slurm.nodes:
            kind = self.type_of(self.slurm.nodes[0])
            self.rates = dict(self.rates_by_type[kind])
        super()._launch(at, boot_of)

    def _obey(self, now: float, boot_of: Callable[[Training], float]) -> None:
        if self.behaviour is not Behaviour.DEAF:
            super()._obey(now, boot_of)

    def reports(self, now: float) -> JobReports:
        self.best = max(self.best, self.checkpoint)
        true = super().reports(now)
        launch, progress = true.launch, true.progress
        if launch is None:
            return true
        match self.behaviour:
            case Behaviour.SILENT:
                return replace(true, launch=None, progress=None)
            case Behaviour.SAYS_DONE:
                launch = replace(launch, state=LaunchState.FINISHED)
                if progress is not None:
                    progress = replace(progress, phase=Phase.FINISHED, iteration=10**9)
            case Behaviour.JUMPS if progress is not None:
                any_iteration = self._random(now).choice((0, 1, 10**9, progress.iteration))
                progress = replace(progress, iteration=any_iteration)
            case Behaviour.GARBAGE:
                return self._garbage(true, now)
        return replace(true, launch=launch, progress=progress)

    def _random(self, now: float) -> Random:
        return Random(f"{self.number} {now:.3f}")

    def _garbage(self, true: JobReports, now: float) -> JobReports:
        random, troubles = self._random(now), list[str]()
        launch = _mangled(random, true.launch, Launch, troubles)
        progress = _mangled(random, true.progress, Progress, troubles)
        return replace(true, launch=launch, progress=progress, trouble="; ".join(troubles))


_NUMBERS = ("-1", "0", "1e308", "NaN", "null", '"x"', "[]", "9999999999999999999999", "true")


def _mangled(
    random: Random, record: Record | None, kind: type[Record], troubles: list[str]
) -> Record | None:
    """A report in which anything may stand for anything, as the daemon's reader takes it."""
    if record is None:
        return None
    text = dump(record)
    match random.randrange(4):
        case 0:
            lines = text.splitlines()
            row = random.randrange(1, len(lines) - 1)
            key, _, _ = lines[row].partition(":")
            comma = "," if lines[row].endswith(",") else ""
            lines[row] = f"{key}: {random.choice(_NUMBERS)}{comma}"
            data = "\n".join(lines).encode()
        case 1:
            data = text.encode()[: random.randrange(len(text))]
        case 2:
            data = random.randbytes(random.randrange(200))
        case _:
            data = text.encode()
    try:
        return decode(kind, data, kind.__name__.lower() + ".json")
    except ContractError as error:
        troubles.append(str(error))
        return None


@dataclass
class SimulatedLive(SimulatedTraining, LiveTraining):
    """One that may change its size while it runs, as its script has it."""

    def answer_as(self, live: Live, anothers: int) -> None:
        """From its first launch on.

        Args:
            anothers: Slurm's id of a job that is not its companion.
        """
        self.submits = live is not Live.SUBMITS_NONE
        sizes = (size for rates in self.rates_by_type.values() for size in rates)
        self.refuses = frozenset(sizes if live is Live.REFUSES else ())
        self.names = anothers if live is Live.NAMES_ANOTHER else None

    def misbehave(self, behaviour: Behaviour, now: float) -> None:
        """From now on."""
        super().misbehave(behaviour, now)
        self.deaf = behaviour is Behaviour.DEAF


@dataclass
class SimulatedHandover(SimulatedLive, HandoverTraining):
    """One from which a larger launch takes over."""


class StateDirectories:
    """All trainings of a life by state directory; the daemon's `StateDirs`."""

    def __init__(self, clock: Clock, cluster: MemoryCluster) -> None:
        self._clock = clock
        self._cluster = cluster
        self.by_directory: dict[str, SimulatedTraining] = {}

    def read(self, job: QueueJob) -> JobReports:
        training = self.by_directory.get(job.request.state_dir)
        if training is None:
            return JobReports()
        training.advance(self._clock.now, _boot_of)
        return training.reports(self._clock.now)

    def read_all(self, jobs: Sequence[QueueJob]) -> Sequence[JobReports]:
        return [self.read(job) for job in jobs]

    def order(self, job: QueueJob, order: Order) -> None:
        self.by_directory[job.request.state_dir].order = order

    def prepare(self, job: QueueJob) -> None:
        """Nothing: the training's own variable is the file."""

    def forget(self, job: QueueJob) -> None:
        """Nothing: a training that has ended reads no orders."""

    def advance(self) -> None:
        """Let happen what is due."""
        now, cluster = self._clock.now, self._cluster
        cluster.settle(now)
        for training in self.by_directory.values():
            training.advance(now, _boot_of)
            slurm = training.slurm
            if training.fails_at() <= now + SAME_MOMENT and slurm.job_id in cluster.jobs:
                training.state = LaunchState.FAILED
                cluster.finish(slurm.job_id, now, exit_code=1)
            if training.finish_time() <= now + SAME_MOMENT:
                training.finished = True
                training.base, training.rate = training.done(now), 0.0
                training.trains_from = now
                cluster.finish(slurm.job_id, now)
                # What it was before it left is its last word.
                training.run = (slurm.restarts, slurm.started or 0.0)

    def next_event(self) -> float:
        """When something happens by itself."""
        now = self._clock.now
        moments = [each.next_event(now) for each in self.by_directory.values()]
        for job in self._cluster.jobs.values():
            if job.completing_until is not None:
                moments.append(job.completing_until)
        return min((moment for moment in moments if moment > now), default=math.inf)


def _boot_of(training: Training) -> float:
    return training.launched + training.boot


def companions_of(training: SimulatedTraining) -> Mapping[int, MemoryJob]:
    """All that it ever had, by Slurm's ids."""
    return training.companions if isinstance(training, SimulatedLive) else {}


def lives_in_slurm(job: MemoryJob, cluster: MemoryCluster) -> bool:
    """Whether Slurm may run the job, now or later."""
    known = cluster.jobs.get(job.job_id) is job
    ended = job.ended is not None and job.completing_until is None
    return known and not ended and job.state is not JobBaseState.CANCELLED
