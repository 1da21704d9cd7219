"""A whole small world for the daemon: Slurm in memory, trainings that obey, a clock of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ef_slurm.contract import Action, Launch, LaunchState, Order, Phase, Progress
from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.record_files import Records
from ef_slurm.daemon.scheduler import Scheduler
from ef_slurm.daemon.settings import Settings
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import (
    ACTIVE,
    FINAL,
    ArrayMember,
    BatchScript,
    IfInfeasible,
    JobKind,
    JobRequest,
    JobState,
    Overhead,
    QueueJob,
    ThroughputCurve,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import JobBaseState
from tests.fakes.memory_cluster import MemoryCluster, MemoryJob, Timing
from tests.fakes.memory_slurm import MemorySlurm
from tests.fakes.new_queue import open_queue
from tests.unit.daemon.unmeasured import once_enough

CURVE = ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 32.0, 8: 56.0, 16: 90.0})
START = 1_000_000.0
SAME_MOMENT = 1e-6
"""As in the simulator: moments that are nearer to each other are one."""


class Clock:
    """Virtual time."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Training:
    """One job's script and training: what it would write into its state directory."""

    slurm: MemoryJob
    iterations: int
    rates: dict[int, float]
    boot: float
    """Seconds from the start of the script to the first iteration."""
    save: float
    """Seconds that a stop and its checkpoint take."""
    speed: float = 1.0
    elastic: bool = True
    exact: bool = False
    """Report fractions of iterations, which no real training does, so that nothing is rounded."""
    generation: int = 0
    run: tuple[int, float] | None = None  # (restarts, start) of the Slurm run that it belongs to
    reported: int = 0  # restarts of the run that wrote the last report
    launched: float = 0.0
    trains_from: float = math.inf
    base: float = 0.0
    checkpoint: float = 0.0
    rate: float = 0.0
    stopped_at: float | None = None
    prepares: float = 0.0
    """Seconds that it trains on after an order to relaunch, until its next launch is ready."""
    trained_until: float | None = None
    """When the launch before ended its last iteration."""
    state: LaunchState = LaunchState.RUNNING
    order: Order | None = None
    part: int | None = None
    """GPUs that the launch uses of those that the job holds; None for all."""
    too_small: frozenset[int] = frozenset()
    """GPUs on which the training fails at its first iteration."""
    launches: list[int] = field(default_factory=list)
    """GPUs of each launch."""
    step_nodes: tuple[str, ...] = ()
    """Nodes of the step of its launch."""
    finished: bool = False
    losses: list[float] = field(default_factory=list)
    says: tuple[int | None, int | None] = (None, None)
    """Iterations and global batch size, as the script says."""
    fails_on: frozenset[int] = frozenset()
    """Numbers of GPUs on which it fails at its start."""

    @property
    def gpus(self) -> int:
        held = len(self.slurm.nodes) * self.slurm.gpus_per_node
        return held if self.part is None else self.part

    @property
    def running(self) -> bool:
        return self.slurm.state is JobBaseState.RUNNING

    def done(self, now: float) -> float:
        """Iterations done at `now`."""
        until = now if self.stopped_at is None else min(now, self.stopped_at)
        done = self.base + self.rate * max(0.0, until - self.trains_from)
        return max(self.base, min(self.iterations, done))  # it may be told to do fewer than it has

    def count(self, done: float) -> int:
        """Iterations as reported."""
        return cast(int, done) if self.exact else math.floor(done + 1e-6)

    def finish_time(self) -> float:
        if not self.running or self.finished or self.stopped_at is not None or not self.rate:
            return math.inf
        return self.trains_from + max(0.0, self.iterations - self.base) / self.rate

    def next_event(self, now: float) -> float:
        moments = [self.finish_time()]
        if self.running and self.trains_from > now:
            moments.append(self.trains_from)
        if self.stopped_at is not None and self.state is LaunchState.RUNNING:
            moments.append(self.stopped_at + self.save)
        if self.order is not None and self.prepares:
            moments.append(self.order.issued_at + self.prepares)
        return min((m for m in moments if m > now), default=math.inf)

    def advance(self, now: float, boot_of: Callable[[Training], float]) -> None:
        if not self.running:
            if self.run is not None:
                self._interrupted(now)
            return
        if (self.slurm.started or 0.0) > now:
            return  # its nodes are still on their way
        run = (self.slurm.restarts, self.slurm.started or 0.0)
        if run != self.run:
            self.run, order = run, self.order
            self.part = None
            if order is not None and order.generation == self.generation:
                self.part = order.gpus if order.action is Action.RELAUNCH else None
            self._launch(self.slurm.started or now, boot_of)
        self._obey(now, boot_of)
        self.slurm.step_nodes = self.step_nodes if self.state is LaunchState.RUNNING else ()

    def pace(self, now: float, speed: float) -> None:
        """From now on it trains at this part of its rates."""
        if now > self.trains_from:
            self.base, self.trains_from = self.done(now), now
        self.rate, self.speed = self.rate * speed / self.speed, speed

    def hang(self, now: float) -> None:
        """From now on no iteration ends."""
        self.base, self.trains_from, self.rate = self.done(now), min(now, self.trains_from), 0.0

    def _interrupted(self, now: float) -> None:
        """TERM: what was done is saved, as the library does within KillWait."""
        self.checkpoint = self.count(self.done(now)) if self.elastic else 0
        self._trained(now if self.stopped_at is None else self.stopped_at)
        self.base, self.rate, self.run = self.checkpoint, 0.0, None
        self.trains_from, self.stopped_at = math.inf, None

    def _trained(self, until: float | None) -> None:
        """A launch ends that stops in good order (None: it does not)."""
        if until is not None and self.trains_from < until:
            self.trained_until = until

    def _launch(self, at: float, boot_of: Callable[[Training], float]) -> None:
        self._trained(self.stopped_at)
        self.generation += 1
        if self.order is not None and self.order.iterations is not None:
            self.iterations = self.order.iterations
        self.launches.append(self.gpus)
        if self.gpus in self.too_small:
            self.generation, self.part = self.generation + 1, None
        self.step_nodes = self._nodes()
        self.reported = self.slurm.restarts
        self.launched, self.state, self.stopped_at = at, LaunchState.RUNNING, None
        self.base = self.checkpoint
        self.trains_from = boot_of(self)
        self.rate = self.rates.get(self.gpus, 0.0) * self.speed

    def _obey(self, now: float, boot_of: Callable[[Training], float]) -> None:
        order = self.order
        if order is None or order.generation != self.generation or not self.elastic:
            return
        runs = self.state is LaunchState.RUNNING
        if order.action is Action.STOP or (order.action is Action.RELAUNCH and runs):
            waits = order.action is Action.RELAUNCH and now < order.issued_at + self.prepares
            if self.stopped_at is None and runs and not waits:
                self.stopped_at = now
            stopped = self.stopped_at
            if stopped is not None and now >= stopped + self.save:
                self.checkpoint = self.count(self.done(stopped))
                self.state = LaunchState.WAITING
        if order.action is Action.RELAUNCH and self.state is LaunchState.WAITING:
            self.part = order.gpus
            self._launch(now, boot_of)

    def _nodes(self) -> tuple[str, ...]:
        """Of its launch."""
        return self.slurm.nodes[: max(1, self.gpus // self.slurm.gpus_per_node)]

    def reports(self, now: float) -> JobReports:
        if self.generation == 0:
            return JobReports(order=self.order)
        state = self.state
        if self.finished:
            state = LaunchState.FINISHED
        launch = Launch(
            generation=self.generation,
            state=state,
            slurm_job_id=self.slurm.job_id,
            restart_count=self.reported,
            nodes=",".join(self._nodes()),
            gpus_per_node=min(self.gpus, self.slurm.gpus_per_node),
            port=15000,
            started_at=self.launched,
            updated_at=now,
            finds_orders=True,
        )
        return JobReports(launch, self._progress(now) if self.elastic else None, self.order)

    def _progress(self, now: float) -> Progress:
        trains = now >= self.trains_from
        phase = Phase.RUNNING if trains else Phase.STARTING
        if self.finished:
            phase = Phase.FINISHED
        elif self.stopped_at is not None:
            phase = Phase.STOPPED if self.state is LaunchState.WAITING else Phase.STOPPING
        done = self.count(self.done(now))
        at = now
        if trains and self.rate and phase is Phase.RUNNING:
            at = self.trains_from + (done - self.base) / self.rate
        return Progress(
            generation=self.generation,
            phase=phase,
            world_size=max(1, self.gpus),
            iteration=done,
            updated_at=min(at, now),
            started_at=self.launched,
            first_iteration_at=self.trains_from if trains and now > self.trains_from else None,
            iterations_per_second=self.rate if trains else None,
            checkpoint_iteration=self.count(self.checkpoint),
            script_iterations=self.says[0],
            script_global_batch_size=self.says[1],
            trained_until=self.trained_until,
        )


class Bench:
    """All trainings of a world; the daemon's `StateDirs`."""

    def __init__(self, clock: Clock, cluster: MemoryCluster) -> None:
        self._clock = clock
        self._cluster = cluster
        self.trainings: dict[int, Training] = {}
        self.unwritable = False
        self.boot_of: Callable[[Training], float] = lambda t: t.launched + t.boot

    def read(self, job: QueueJob) -> JobReports:
        training = self.trainings.get(job.request.slurm_job_id)
        if training is None:
            return JobReports()
        training.advance(self._clock.now, self.boot_of)
        return training.reports(self._clock.now)

    def read_all(self, jobs: Sequence[QueueJob]) -> Sequence[JobReports]:
        return [self.read(job) for job in jobs]

    def order(self, job: QueueJob, order: Order) -> None:
        if self.unwritable:
            raise PermissionError(13, "Permission denied", job.request.state_dir)
        self.trainings[job.request.slurm_job_id].order = order

    def prepare(self, job: QueueJob) -> None:
        """Nothing: the training's own variable is the file."""

    def forget(self, job: QueueJob) -> None:
        """Nothing: a training that has ended reads no orders."""

    def advance(self) -> None:
        now = self._clock.now
        self._cluster.settle(now)
        for slurm_id, training in self.trainings.items():
            training.advance(now, self.boot_of)
            if training.running and training.gpus in training.fails_on:
                training.state = LaunchState.FAILED
                self._cluster.finish(slurm_id, now, exit_code=78)
                # Slurm takes a job back that has just failed.
                training.slurm.completing_until = now + 5.0
                training.slurm.becomes = JobBaseState.FAILED
            if training.finish_time() <= now + SAME_MOMENT:
                training.finished = True
                training.base, training.rate = float(training.iterations), 0.0
                training.trains_from = now
                self._cluster.finish(slurm_id, now)
                # What it was before it left is its last word.
                training.run = (training.slurm.restarts, training.slurm.started or 0.0)

    def next_event(self) -> float:
        now = self._clock.now
        moments = [training.next_event(now) for training in self.trainings.values()]
        moments += [node.awake_at for node in self._cluster.nodes.values()]
        for job in self._cluster.jobs.values():
            if job.completing_until is not None:
                moments.append(job.completing_until)
        return min((m for m in moments if m > now), default=math.inf)


class World:
    """A cluster, a queue and a daemon that can be killed and started again.

    Args:
        idle_report_interval: the daemon's, in seconds. It has 1 s; a fifth of the ticks show as
            much of most lives, in half the time.
    """

    def __init__(
        self,
        path: Path,
        *,
        nodes: int = 4,
        gpus_per_node: int = 4,
        timing: Timing | None = None,
        overhead: Overhead | None = None,
        settings: Settings | None = None,
        idle_report_interval: float = 5.0,
        now: float = START,
        records: Records | None = None,
        time_to_act: Callable[[], TimeToAct] = TimeToAct,
    ) -> None:
        self.records = records
        self.time_to_act = time_to_act
        self.clock = Clock(now)
        names = {f"n{number}": gpus_per_node for number in range(1, nodes + 1)}
        self.cluster = MemoryCluster(
            names, timing=timing or Timing(start=0.3, stop=0.3, min_job_age=1e12)
        )
        self.bench = Bench(self.clock, self.cluster)
        self.path = path
        self.overhead = overhead or Overhead(
            start=8.0, grow=10.0, shrink=8.0, move=10.0, restart=10.0
        )
        self.settings = settings or Settings(
            ResourceScope(frozenset({"ef"})),
            idle_interval=5.0,
            idle_report_interval=idle_report_interval,
            uid=0,
        )
        self.slurm: Slurm = MemorySlurm(self.cluster, self.clock)
        self.queue = open_queue(path)
        self.scheduler = self._scheduler()
        self.arrivals: list[tuple[float, Callable[[], object]]] = []
        self.ticks = 0

    def _scheduler(self) -> Scheduler:
        self.metrics = Metrics(clock=self.clock)
        return Scheduler(
            self.settings,
            self.slurm,
            self.queue,
            self.bench,
            self.clock,
            records=self.records,
            metrics=self.metrics,
            time_to_act=self.time_to_act(),
        )

    def restart(self, slurm: Slurm | None = None) -> None:
        """The daemon dies without a word, and another one starts."""
        self.queue.close()
        self.queue = Queue.open(self.path)
        if slurm is not None:
            self.slurm = slurm
        self.scheduler = self._scheduler()

    def submit(
        self,
        iterations: int,
        deadline: float | None,
        *,
        curve: ThroughputCurve = CURVE,
        if_infeasible: IfInfeasible = IfInfeasible.REJECT,
        boot: float = 5.0,
        save: float = 0.5,
        speed: float = 1.0,
        elastic: bool = True,
        grace: float = 0.0,
        exact: bool = False,
        known: bool = True,
        told: bool = True,
        fails_on: frozenset[int] = frozenset(),
        model_name: str = "",
        max_time: float | None = None,
        time_limit: float = math.inf,
        asked: Mapping[str, str] = MappingProxyType({}),
        begin: float | None = None,
        after: str = "",
        name: str = "train",
        array: ArrayMember | None = None,
    ) -> QueueJob:
        """`ef-sbatch`: a held job and its row. `deadline` and `begin` are in seconds from now.

        Without `known` it comes without its curve; without `told` its script, and nobody else, says
        how many iterations there are. `max_time` is the owner's --time, `time_limit` Slurm's where
        there is none; `asked` is what else it asks Slurm for. `after` is its --dependency, `array`
        which job of an array it is.
        """
        now = self.clock.now
        slurm = self.cluster.add_job("user1", name, now=now)
        slurm.time_limit = time_limit if max_time is None else max_time
        limit = slurm.time_limit / 60
        slurm.settings["time limit"] = "unlimited" if math.isinf(limit) else f"{limit:.0f}"
        slurm.settings.update(asked)
        self.bench.trainings[slurm.job_id] = Training(
            slurm, iterations, dict(curve.points), boot, save, speed, elastic, exact
        )
        training = self.bench.trainings[slurm.job_id]
        training.fails_on = fails_on
        training.says = (None, None) if told else (iterations, 64)
        kind = JobKind.DEADLINE
        if deadline is None:
            kind = JobKind.BEST_EFFORT
        elif grace:
            kind = JobKind.SOFT_DEADLINE
        return self.queue.jobs.add(
            JobRequest(
                slurm_job_id=slurm.job_id,
                owner="user1",
                uid=0,
                name=name,
                submitted=now,
                kind=kind,
                iterations=iterations if told else None,
                global_batch_size=64 if told else None,
                curves=(("gpu", curve),) if known else (),
                model_name=model_name,
                state_dir=f"/shared/{slurm.job_id}",
                deadline=None if deadline is None else now + deadline,
                grace=grace,
                if_infeasible=if_infeasible,
                overhead=self.overhead,
                max_time=max_time,
                begin=None if begin is None else now + begin,
                dependency=parse_dependency(after),
                array=array,
                partition="ef",
            ),
            BatchScript("#!/bin/bash\n"),
            actor="user1",
        )

    def row(self, job: QueueJob) -> QueueJob:
        return self.queue.jobs.get(job.id)

    def training(self, job: QueueJob) -> Training:
        return self.bench.trainings[job.request.slurm_job_id]

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Let something happen at a moment of the clock."""
        self.arrivals.append((when, what))
        self.arrivals.sort(key=lambda arrival: arrival[0])

    def step(self, until: float = math.inf) -> None:
        """What is due now, one tick, and on to the next moment at which anything may happen."""
        while self.arrivals and self.arrivals[0][0] <= self.clock.now:
            self.arrivals.pop(0)[1]()
        self.bench.advance()
        self.ticks += 1
        delay = once_enough(self.ticks, self.scheduler.tick)
        self.check()
        moments = [until, self.clock.now + max(delay, 1e-3), self.bench.next_event()]
        if self.scheduler.next_change > self.clock.now:
            moments.append(self.scheduler.next_change)
        if self.arrivals:
            moments.append(self.arrivals[0][0])
        self.clock.now = max(self.clock.now, min(moments))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.step(end)
        self.step(end)

    def run_until(self, condition: Callable[[], bool], limit: float = 100_000.0) -> None:
        """Let time pass until something holds."""
        end = self.clock.now + limit
        while not condition():
            assert self.clock.now < end, "it never came to pass"
            self.step(end)

    def finished(self) -> bool:
        return not self.arrivals and not self.queue.jobs.all(ACTIVE)

    def check(self) -> None:
        """What must hold at any moment."""
        for name, free in self.cluster.free_gpus().items():
            assert free >= 0, f"{name} was given out twice"

    def state(self, job: QueueJob) -> JobState:
        return self.row(job).state


__all__ = ["CURVE", "FINAL", "START", "Bench", "Clock", "Training", "World", "replace"]
