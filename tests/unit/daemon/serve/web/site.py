"""A daemon over a made-up queue: jobs of the past, of now and of later, some with hostile names."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.server import Server
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.daemon.serve.web.access import WebSettings
from ef_slurm.model import (
    ACTOR,
    Block,
    Cluster,
    Event,
    EventKind,
    Fault,
    JobKind,
    JobRequest,
    JobState,
    Json,
    MeasuredRate,
    Node,
    NodeGroup,
    Outage,
    Outcome,
    ProfileKey,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    QueueLimits,
    Reason,
    ReasonCode,
    Reservation,
    Running,
    Settlement,
    ThroughputCurve,
    Verdict,
    planner_id,
)
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.commands.accounting import Rights
from ef_slurm.slurm.site_types import SlurmConfiguration
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm
from tests.unit.api.fakes import REQUEST, SCRIPT, FakeMunge
from tests.unit.daemon.serve.stub import NoScheduler

ALICE, BOB = 5001, 5002
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[2J\u202e{{ 7*7 }}"
CURVE = ThroughputCurve.of({1: 1.0, 2: 1.9, 4: 3.4, 8: 5.6})
EXPECTED = ThroughputCurve.of({1: 1.1, 2: 2.1, 4: 3.9, 8: 6.8})
HOUR = 3600.0


class Scheduler(NoScheduler):
    """Has seen two nodes of eight GPUs, one of which gives up two of them."""

    def __init__(self, now: float) -> None:
        self.ticked_at: float | None = now - 1.0  # type: ignore[assignment]
        closed = (Outage(now - HOUR, now + 2 * HOUR, 2),)
        nodes = (Node("gpu01"), Node("gpu02", closed))
        self.cluster: Cluster | None = Cluster((NodeGroup("a100", 8, nodes),))  # type: ignore[assignment]


class Filler:
    """Puts jobs into a queue."""

    def __init__(self, queue: Queue, now: float) -> None:
        self.queue = queue
        self.now = now
        self._number = 100

    def add(self, name: str, owner: str, uid: int, *, ago: float, due: float | None) -> QueueJob:
        """A new job, submitted `ago` seconds ago, due in `due` seconds."""
        self._number += 1
        request: JobRequest = replace(
            REQUEST,
            slurm_job_id=self._number,
            name=name,
            owner=owner,
            uid=uid,
            account="physics" if uid == ALICE else "bio",
            submitted=self.now - ago,
            kind=JobKind.BEST_EFFORT if due is None else JobKind.DEADLINE,
            iterations=20_000,
            deadline=None if due is None else self.now + due,
            grace=0.0,
            curves=(("a100", CURVE),),
            growth_curves=(("a100", EXPECTED),),
            model_name="resnet",
            precision="bf16",
            state_dir=f"/shared/{self._number}",
        )
        return self.queue.jobs.add(request, SCRIPT, actor=owner)

    def judge(self, job: QueueJob, outcome: Outcome, *, finish: float | None = None) -> None:
        """Its verdict, a minute after it was submitted; `finish` from now."""
        at = job.request.submitted + 60
        predicted = None if finish is None else self.now + finish
        reason = Reason(ReasonCode.STARTED, gpus=4)
        if outcome is Outcome.WAITLISTED:
            reason = Reason(ReasonCode.REJECTED, until=self.now + 5 * HOUR)
        verdict = Verdict(planner_id(job.id), outcome, reason, share=2, finish=predicted)
        self.queue.promises.record(verdict, at=at, explanation=f"{outcome.value}: 2 GPUs")
        to = JobState.WAITLISTED if outcome is Outcome.WAITLISTED else JobState.ADMITTED
        self.queue.jobs.move(job.id, to, at=at, actor=ACTOR, why=f"it is {to.value}")

    def share(self, job: QueueJob, at: float, old: int, new: int, nodes: str, each: int) -> None:
        """It was given other GPUs."""
        data: dict[str, Json] = {"from": old, "to": new, "nodes": nodes, "gpus_per_node": each}
        message = f"{old} → {new} GPUs on {nodes}: grows to {new} GPUs"
        self.queue.events.log(Event(at, EventKind.SHARE, ACTOR, message, job.id, data))

    def run(self, job: QueueJob, at: float) -> None:
        """It trains."""
        for state in (JobState.STARTING, JobState.RUNNING):
            self.queue.jobs.move(job.id, state, at=at, actor=ACTOR, why=f"it is {state.value}")

    def holds(self, job: QueueJob, block: Block, since: float, ahead: float, done: float) -> None:
        """What it holds now, and for how long to come."""
        first = (0 if block.nodes[0] == "gpu01" else 8) + block.first_gpu
        row = self.queue.jobs.get(job.id)
        finish = self.now + ahead
        late = row.request.deadline is not None and finish > row.request.deadline
        plan = (Reservation(since, finish, block.gpus, block.gpu_type, first),)
        state = PromiseState.AT_RISK if late else PromiseState.SAFE
        if row.request.deadline is None:
            state = PromiseState.NONE
        self.queue.jobs.save(
            replace(
                row,
                running=Running(block, since, since + 30),
                plan=plan,
                finish=finish,
                iteration=done,
                rate=3.7,
                progress_at=self.now,
                first_started_at=since,
                promise=state,
                reason=Reason(ReasonCode.GREW, gpus=block.gpus),
            )
        )

    def end(self, job: QueueJob, at: float, outcome: PromiseOutcome, fault: Fault | None) -> None:
        """It has ended, and so has its promise."""
        self.queue.promises.settle(job.id, Settlement(outcome, fault, "it ended"), at=at)
        row = self.queue.jobs.get(job.id)
        self.queue.jobs.save(replace(row, iteration=20_000.0, first_started_at=at - HOUR))
        self.queue.jobs.move(
            job.id, JobState.COMPLETED, at=at, actor=ACTOR, why="training is complete"
        )


def fill(queue: Queue, now: float) -> None:
    """Jobs as a site may have them."""
    filler = Filler(queue, now)
    grown = filler.add("bert-large", "alice", ALICE, ago=4 * HOUR, due=3 * HOUR)
    filler.judge(grown, Outcome.PROMISED, finish=2 * HOUR)
    filler.run(grown, now - 3.8 * HOUR)
    filler.share(grown, now - 3.8 * HOUR, 0, 2, "gpu01", 2)
    filler.share(grown, now - 2 * HOUR, 2, 4, "gpu01", 4)
    filler.holds(grown, Block("a100", ("gpu01",), 4, 0), now - 2 * HOUR, 2 * HOUR, 12_345.0)
    late = filler.add(HOSTILE, "bob", BOB, ago=3 * HOUR, due=0.5 * HOUR)
    filler.judge(late, Outcome.PROMISED, finish=0.4 * HOUR)
    filler.run(late, now - 2.5 * HOUR)
    filler.share(late, now - 2.5 * HOUR, 0, 4, "gpu02", 4)
    filler.holds(late, Block("a100", ("gpu02",), 4, 0), now - 2.5 * HOUR, 1.5 * HOUR, 9_000.0)
    best = filler.add("sweep", "alice", ALICE, ago=2 * HOUR, due=None)
    filler.judge(best, Outcome.BEST_EFFORT)
    filler.run(best, now - HOUR)
    filler.share(best, now - HOUR, 0, 4, "gpu01", 4)
    filler.holds(best, Block("a100", ("gpu01",), 4, 4), now - HOUR, 4 * HOUR, 500.0)
    waits = filler.add("vit", "bob", BOB, ago=HOUR, due=6 * HOUR)
    filler.judge(waits, Outcome.PROMISED, finish=5 * HOUR)
    row = queue.jobs.get(waits.id)
    plan = (
        Reservation(now + 2 * HOUR, now + 4 * HOUR, 4, "a100", 0),
        Reservation(now + 4 * HOUR, now + 5 * HOUR, 8, "a100", 0),
    )
    queue.jobs.save(
        replace(row, plan=plan, finish=now + 5 * HOUR, promise=PromiseState.SAFE,
                reason=Reason(ReasonCode.WAITS, until=now + 2 * HOUR))
    )  # fmt: skip
    listed = filler.add("llama", "bob", BOB, ago=HOUR, due=2 * HOUR)
    filler.judge(listed, Outcome.WAITLISTED)
    why = Reason(ReasonCode.PAUSED, job=planner_id(grown.id))
    queue.jobs.save(replace(queue.jobs.get(listed.id), reason=why, note=f"<b>{HOSTILE}"))
    filler.add("new one", "alice", ALICE, ago=5.0, due=9 * HOUR)
    for number in range(24):
        ago = HOUR * (5 + 20 * number)
        job = filler.add(f"nightly-{number}", "alice" if number % 3 else "bob",
                         ALICE if number % 3 else BOB, ago=ago, due=1.5 * HOUR - ago)  # fmt: skip
        filler.judge(job, Outcome.PROMISED, finish=HOUR - ago)
        filler.run(job, now - ago + 120)
        filler.share(job, now - ago + 120, 0, 2, "gpu02", 2)
        outcome, fault = PromiseOutcome.KEPT, None
        if number % 9 == 4:
            outcome, fault = PromiseOutcome.BROKEN, Fault.CLUSTER
        elif number % 7 == 3:
            outcome, fault = PromiseOutcome.VOID, Fault.OWNER
        took = HOUR * (0.85 + 0.02 * (number % 12)) + (HOUR if fault is Fault.CLUSTER else 0)
        filler.end(job, now - ago + took, outcome, fault)
    key = ProfileKey("resnet", 64, "bf16", "a100")
    for gpus, rate in ((1, 1.1), (2, 2.05), (8, 6.9)):
        queue.profiles.add(
            MeasuredRate(key, gpus, gpus, rate, 60.0, "alice", "physics", now - HOUR)
        )
    queue.events.log(Event(now - 60, EventKind.NODE, ACTOR, "node gpu02: 2 GPUs went away"))
    queue.events.log(Event(now - 50, EventKind.ERROR, ACTOR, f"Slurm said {HOSTILE}"))


@dataclass
class Daemon:
    """A daemon that serves the page."""

    path: Path
    port: int
    queue: Path

    def get(
        self,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        over: str = "unix",
        body: bytes | None = None,
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """What a browser gets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if over == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.path))
        with contextlib.closing(connection):
            sent = {"Host": "localhost"} | dict(headers or {})
            connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    directory: Path,
    *,
    private: bool = False,
    pages: WebSettings | None = None,
    limits: ServeLimits | None = None,
    rights: Rights | None = None,
    filled: bool = True,
    seen: bool = True,
) -> Iterator[Daemon]:
    """A daemon with its page.

    Args:
        private: whether Slurm's PrivateData keeps jobs from others.
        seen: whether the scheduler has seen the cluster.
    """
    now, path = time.time(), directory / "queue.sqlite"
    with Queue.open(path) as queue:
        if filled:
            with queue.transaction(durable=False):
                fill(queue, now)
    port = free_port()
    words = {"PrivateData": "jobs" if private else "none", "SlurmUser": "slurm(64030)"}
    slurm = MemorySlurm(MemoryCluster({"n1": 4}), time.time, user="me", operator=True)
    configuration = SlurmConfiguration((24, 11, 5), "mini", 30.0, 300.0, True, (), words)
    context = ServerContext(
        scheduler=Scheduler(now) if seen else NoScheduler(),
        calls=SchedulerCalls(),
        slurm=slurm,
        open_queue=lambda: Queue.open(path, create=False),
        cluster="mini",
        partition="ef",
        limits=QueueLimits(),
        user="ef-slurm",
        version="1",
        started=now - 5 * HOUR,
        advisory=False,
        visibility=Visibility(lambda: configuration, lambda _: rights),
    )
    chosen = replace(pages or WebSettings(), address=("127.0.0.1", port))
    where = directory / "s"
    munge = FakeMunge(os.getuid())
    with Server(context, munge, path=where, mode=0o600, limits=limits, pages=chosen):
        yield Daemon(where, port, path)
