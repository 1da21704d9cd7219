"""How long a verdict takes while 64 jobs are reshaped at once, and while none is.

    pytest -s tests/benchmarks/test_acting.py

The daemon's own loop, scheduler, queue on disk and API over its socket; beside it the Slurm in
memory, made as slow as real commands are. 64 best-effort jobs have a node each. A job with a
promise takes all nodes and ends: all others pause, and start again. Meanwhile somebody asks what a
job would get (`ef-sbatch --test-only`), and somebody submits one and waits for its
verdict, each a fifth of a second after the last answer. Times are wall time, what they ask Slurm
themselves included.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ef_slurm.api.client import UnixEndpoint, await_status
from ef_slurm.api.http_client import HttpClient
from ef_slurm.api.messages import Judge, Register, Until
from ef_slurm.daemon import main
from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.server import Server
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.daemon.settings import NO_LIMITS
from ef_slurm.model import ACTIVE, JobKind, JobRequest, JobState, ThroughputCurve
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm
from tests.fakes.memory_slurm import MemorySlurm
from tests.fakes.slow_slurm import SlowSlurm
from tests.unit.api.fakes import FakeMunge
from tests.unit.daemon.make import SCRIPT
from tests.unit.daemon.world import Training, World

pytestmark = pytest.mark.benchmark

JOBS = 64
COMMAND_SECONDS = 0.02
PAUSE_SECONDS = 0.2
BOOT_SECONDS = 0.5
SAVE_SECONDS = 0.1
ROUNDS = 1
"""Times that all are reshaped."""
QUIET_SECONDS = 6.0
LINEAR = ThroughputCurve.of({2**power: 10.0 * 2**power for power in range(10)})
OF_A_NODE = ThroughputCurve.of({2**power: 10.0 * 2**power for power in range(4)})
"""Of trainings that gain nothing from a second node: each has one."""


class WallClock:
    """The world's clock, if it is everybody's."""

    @property
    def now(self) -> float:
        return time.time()

    def __call__(self) -> float:
        return time.time()


class Guarded:
    """A Slurm in memory that is asked by many threads, one at a time."""

    def __init__(self, slurm: Slurm) -> None:
        self._slurm = slurm
        self.lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._slurm, name)

        def alone(*arguments: Any, **options: Any) -> Any:
            with self.lock:
                return method(*arguments, **options)

        return alone


@dataclass(frozen=True)
class Asked:
    """One verdict: what kind, when it was asked for and when it came."""

    kind: str
    at: float
    until: float


class Site:
    """A daemon's parts around one world. Its loop belongs to the main thread."""

    def __init__(self, directory: Path, *, gives_way: bool) -> None:
        self.path = directory / "queue.sqlite"
        self.world = world = World(self.path, nodes=JOBS, gpus_per_node=8, now=time.time())
        clock = cast(Any, WallClock())
        world.clock = world.bench._clock = clock
        self.guarded = Guarded(MemorySlurm(world.cluster, clock))
        slurm = SlowSlurm(self.guarded, lambda count: time.sleep(count * COMMAND_SECONDS))
        self.calls = SchedulerCalls()
        self.others: main.Others | None = None
        world.time_to_act = lambda: TimeToAct(self._somebody_waits if gives_way else lambda: False)
        world.restart(cast(Slurm, slurm))
        self.others = main.Others(world.queue)
        self.socket = directory / "socket"
        self._context = ServerContext(
            scheduler=world.scheduler,
            calls=self.calls,
            slurm=cast(Slurm, slurm),
            open_queue=lambda: Queue.open(self.path, create=False),
            cluster="",
            partition="ef",
            limits=NO_LIMITS,
            user="ef-slurm",
            version="1",
            started=time.time(),
            advisory=False,
            visibility=Visibility(self.guarded.configuration, lambda _: None),
        )
        self.numbers = itertools.count()

    def _somebody_waits(self) -> bool:
        return self.calls.waited_for or (self.others is not None and self.others.wrote)

    def serve(self) -> Server:
        many = 1e9
        limits = ServeLimits(requests_per_second=many, burst=many, what_ifs_per_minute=many)
        return Server(
            self._context, FakeMunge(os.getuid()), path=self.socket, mode=0o600, limits=limits
        )

    def client(self) -> HttpClient:
        return HttpClient(UnixEndpoint(self.socket), FakeMunge(os.getuid()))

    def advance(self) -> None:
        """Let the trainings go on, in the scheduler's thread."""
        with self.guarded.lock:
            self.world.bench.advance()

    def request(self, slurm_id: int, **other: Any) -> JobRequest:
        values: dict[str, Any] = {
            "slurm_job_id": slurm_id,
            "owner": "user1",
            "uid": os.getuid(),
            "name": "train",
            "submitted": time.time(),
            "kind": JobKind.DEADLINE,
            "iterations": 1000,
            "global_batch_size": 512,
            "curves": (("gpu", LINEAR),),
            "state_dir": f"/nowhere/{next(self.numbers)}",
            "overhead": self.world.overhead,
            **other,
        }
        return JobRequest(**values)


class People(threading.Thread):
    """Everybody outside the daemon. Ends the daemon's loop when all is measured."""

    def __init__(self, site: Site, takers: list[int]) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._takers = takers
        self._done = threading.Event()
        self.asked: list[Asked] = []
        self.busy: list[tuple[float, float]] = []
        self.quiet: tuple[float, float] = (0.0, 0.0)
        self.reshapes = 0
        self.error: BaseException | None = None

    def seconds(self, kind: str, when: Sequence[tuple[float, float]]) -> list[float]:
        """Of each verdict of a kind that was asked for then."""
        return [
            one.until - one.at
            for one in self.asked
            if one.kind == kind and any(begin <= one.at < end for begin, end in when)
        ]

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.error = error
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _run(self) -> None:
        with Queue.open(self._site.path, create=False) as queue:
            self._settled(queue)
            askers = [
                threading.Thread(target=self._again_and_again, args=(kind, ask), daemon=True)
                for kind, ask in (("--test-only", self._judge), ("submitted", self._submit))
            ]
            for asker in askers:
                asker.start()
            began = time.time()
            time.sleep(QUIET_SECONDS)
            self.quiet = (began, time.time())
            for taker in self._takers:
                began = time.time()
                self._take(taker)
                self.busy.append((began, self._settled(queue)))
                began = time.time()
                with self._site.guarded.lock:
                    self._site.world.cluster.cancel(
                        self._site.world.cluster.jobs[taker], time.time()
                    )
                self._site.calls.wake(refresh=True)
                self.busy.append((began, self._settled(queue)))
            self._done.set()
            for asker in askers:
                asker.join()
            self.reshapes = sum(job.reshapes for job in queue.jobs.all())

    def _take(self, slurm_id: int) -> None:
        """A job that needs the whole cluster."""
        work = 10.0 * 8 * JOBS * 3000.0
        request = self._site.request(slurm_id, iterations=int(work), deadline=time.time() + 3600.0)
        with self._site.client() as client:
            client.ask(Register(request, SCRIPT))
            detail = await_status(client, slurm_id, Until.VERDICT, 60.0)
        assert detail.job.state is not JobState.REJECTED, detail.job.reason

    def _settled(self, queue: Queue) -> float:
        """When all trainings were where they are to be, for two seconds.

        What is submitted meanwhile is held, and so always has an action of its own.
        """
        trainings = self._site.world.bench.trainings
        last = time.time()
        end = last + 120.0
        while time.time() < last + 2.0:
            assert time.time() < end, "they never were"
            rows = [job for job in queue.jobs.all(ACTIVE) if job.request.slurm_job_id in trainings]
            acting = {intent.job_id for intent in queue.intents.unfinished()}
            moving = any(
                row.id in acting or (row.running is not None and row.state is not JobState.RUNNING)
                for row in rows
            )
            if moving:
                last = time.time()
            time.sleep(0.05)
        return last

    def _again_and_again(self, kind: str, ask: Callable[[HttpClient], None]) -> None:
        with self._site.client() as client:
            while not self._done.is_set():
                at = time.time()
                ask(client)
                self.asked.append(Asked(kind, at, time.time()))
                time.sleep(PAUSE_SECONDS)

    def _judge(self, client: HttpClient) -> None:
        client.ask(Judge(self._site.request(0, deadline=time.time() + 5000.0)))

    def _submit(self, client: HttpClient) -> None:
        now = time.time()
        later, cluster = now + 36_000.0, self._site.world.cluster
        with self._site.guarded.lock:
            slurm_id = cluster.add_job("user1", "train", now=now, uid=os.getuid()).job_id
        request = self._site.request(slurm_id, begin=later, deadline=later + 36_000.0)
        client.ask(Register(request, SCRIPT))
        detail = await_status(client, slurm_id, Until.VERDICT, 60.0)
        assert detail.job.verdict is not None
        with self._site.guarded.lock:
            cluster.cancel(cluster.jobs[slurm_id], time.time())


def measured(directory: Path, *, gives_way: bool) -> People:
    """Everybody's day with one daemon."""
    directory.mkdir()
    site = Site(directory, gives_way=gives_way)
    world = site.world
    for _ in range(JOBS):
        world.submit(10**9, None, curve=OF_A_NODE, boot=BOOT_SECONDS, save=SAVE_SECONDS)
    takers = []
    for _ in range(ROUNDS):
        slurm = world.cluster.add_job("user1", "taker", now=time.time(), uid=os.getuid())
        world.bench.trainings[slurm.job_id] = Training(
            slurm, 10**9, dict(LINEAR.points), BOOT_SECONDS, SAVE_SECONDS
        )
        takers.append(slurm.job_id)
    with site.serve():
        people = People(site, takers)
        people.start()
        main._loop(world.scheduler, world.queue, site.calls, site.advance, others=site.others)
        people.join()
    world.queue.close()
    if people.error is not None:
        raise people.error
    return people


def percentile(values: Sequence[float], part: float) -> float:
    """The least value that `part` of all do not pass."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


@pytest.mark.timeout(0)
def test_verdicts_while_jobs_are_reshaped(tmp_path: Path) -> None:
    print("\n| actions | verdict | asked | p50 ms | p99 ms | p50, of none | p99, of none |")
    worst: dict[bool, float] = {}
    for gives_way in (False, True):
        people = measured(tmp_path / str(gives_way), gives_way=gives_way)
        for kind in ("--test-only", "submitted"):
            quiet = people.seconds(kind, [people.quiet])
            busy = people.seconds(kind, people.busy)
            how = "give way" if gives_way else "do not"
            for name, values in ((f"none, {how}", quiet), (f"{JOBS} reshapes, {how}", busy)):
                fifty, most = percentile(values, 0.5), percentile(values, 0.99)
                of_none = [fifty / percentile(quiet, 0.5), most / percentile(quiet, 0.99)]
                print(
                    f"| {name} | {kind} | {len(values)} | {1000 * fifty:.0f} | {1000 * most:.0f} "
                    f"| {of_none[0]:.1f} | {of_none[1]:.1f} |"
                )
            worst[gives_way] = max(worst.get(gives_way, 0.0), percentile(busy, 0.99))
        spent = [until - at for at, until in people.busy]
        assert people.reshapes >= JOBS * ROUNDS
        print(
            f"reshapes of all, {how}: {statistics.median(spent):.1f} s in the median of "
            f"{len(spent)}, the longest {max(spent):.1f} s; {people.reshapes} reshapes"
        )
    assert worst[True] < worst[False]
