"""The demo's story unfolds at any speed of the machine: played in virtual time."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from demo.jobs import (
    OVERHEAD_SECONDS,
    PATIENCE_SECONDS,
    DemoJob,
    Request,
    slowed_down,
    sooner_seconds,
)

from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.settings import Settings
from ef_slurm.model import (
    CompanionState,
    IfInfeasible,
    JobState,
    Outcome,
    Overhead,
    Policy,
    PromiseOutcome,
    QueueJob,
    ThroughputCurve,
)
from tests.unit.daemon.live import submit_live
from tests.unit.daemon.world import START, World

READING = 4.0
"""Seconds in which a person reads a counter-offer and pastes it."""


class Play:
    def __init__(self, path: Path, boot: float, factor: float = 1.0) -> None:
        settings = Settings(
            ResourceScope(frozenset({"ef"})), policy=Policy(offer_resolution=5.0), idle_interval=5.0
        )
        self.world = World(
            path, overhead=Overhead.constant(OVERHEAD_SECONDS * factor), settings=settings
        )
        self.boot = boot
        self.factor = factor
        self.rows: dict[str, QueueJob] = {}
        self.shares: dict[str, list[int]] = defaultdict(list)
        self.jobs = slowed_down(factor)
        self.todo = list(self.jobs)
        self.kept_back = 0.0

    def arrivals(self) -> None:
        """Those whose time has come, after whom they wait for."""
        while self.todo and self.world.clock.now >= START + self.todo[0].at + self.kept_back:
            job, late = self.todo[0], self.world.clock.now - START - self.todo[0].at
            if job.after and job.after not in self.grown():
                assert late < PATIENCE_SECONDS * self.factor, f"{job.after} has not grown"
                self.kept_back = late
                return
            self.arrive(self.todo.pop(0))

    def grown(self) -> set[str]:
        """Jobs that have grown while they trained."""
        joined = CompanionState.JOINED
        return {
            name
            for name, row in self.rows.items()
            if any(one.state is joined for one in self.world.queue.companions.of(row.id))
        }

    def arrive(self, job: DemoJob) -> None:
        now = self.world.clock.now
        if job.request is Request.TOO_SOON:
            assert self.submit(job, job.deadline, IfInfeasible.REJECT) is Outcome.REJECTED
            offered = now + self.offer(job) + 6.0
            self.world.at(now + READING, lambda: self.accept(job, offered))
        elif job.request is Request.SOONER_THAN_OFFERED:
            assert self.submit(job, 5.0, IfInfeasible.REJECT) is Outcome.REJECTED
            sooner = self.offer(job) - sooner_seconds(self.factor)
            assert self.submit(job, sooner, IfInfeasible.WAIT) is Outcome.WAITLISTED
        elif job.request is Request.UNKNOWN:
            assert self.submit(job, job.deadline, IfInfeasible.REJECT) is None
        else:
            best_effort = job.request is Request.BEST_EFFORT
            expected = Outcome.BEST_EFFORT if best_effort else Outcome.PROMISED
            assert self.submit(job, job.deadline, IfInfeasible.REJECT) is expected

    def accept(self, job: DemoJob, deadline: float) -> None:
        left = deadline - self.world.clock.now
        assert self.submit(job, left, IfInfeasible.REJECT) is Outcome.PROMISED

    def submit(
        self, job: DemoJob, deadline: float | None, if_infeasible: IfInfeasible
    ) -> Outcome | None:
        unknown = job.request is Request.UNKNOWN
        options: dict[str, Any] = {
            "curve": ThroughputCurve(job.rates),
            "if_infeasible": if_infeasible,
            "boot": self.boot,
            "speed": job.faster,
            "known": not unknown,
            "told": not unknown,
            "model_name": job.name,
        }
        if unknown:  # measured on a part of its GPUs, for which it is launched again
            row = self.world.submit(job.iterations, deadline, **options)
        else:
            row, training = submit_live(self.world, job.iterations, deadline, **options)
            training.gather = self.boot
        self.rows[job.name] = row
        self.world.bench.advance()
        self.world.scheduler.tick()
        verdict = self.world.queue.promises.verdict(row.id)
        return None if verdict is None else verdict.outcome

    def offer(self, job: DemoJob) -> float:
        verdict = self.world.queue.promises.verdict(self.rows[job.name].id)
        assert verdict is not None
        assert verdict.earliest_deadline is not None
        return verdict.earliest_deadline - self.world.clock.now

    def run(self) -> None:
        while self.todo or not self.world.finished():
            assert self.world.clock.now < START + 330, "the demo takes too long"
            self.arrivals()
            self.world.step(self.world.clock.now + 2)
            for name, row in self.rows.items():
                job = self.world.row(row)
                shares = self.shares[name]
                moving = job.state is JobState.STOPPING
                if not moving and (not shares or shares[-1] != job.share):
                    shares.append(job.share)

    def did(self, name: str, change: str) -> bool:
        pairs = zip(self.shares[name], self.shares[name][1:], strict=False)
        tests = {
            "shrink": lambda a, b: a > b > 0,
            "pause": lambda a, b: a > b == 0,
        }
        return any(tests[change](a, b) for a, b in pairs)


@pytest.mark.parametrize(("boot", "factor"), [(6.0, 1.0), (8.0, 1.0), (14.0, 1.0), (20.0, 1.0)])
def test_the_story(tmp_path: Path, boot: float, factor: float) -> None:
    play = Play(tmp_path / "queue.sqlite", boot * factor, factor)
    play.run()
    promises = play.world.queue.promises
    for job in play.jobs:
        row = play.world.row(play.rows[job.name])
        assert row.state is JobState.COMPLETED
        if job.request is not Request.BEST_EFFORT:
            promise = promises.of(row.id)
            assert promise is not None
            assert promise.outcome is PromiseOutcome.KEPT, job.name
    assert play.did("resnet", "shrink")
    assert play.did("resnet", "pause")
    assert play.did("bert", "pause")
    story = [event.message for event in play.world.queue.events.all(job_id=play.rows["whisper"].id)]
    assert any("iterations/s on 1 GPU, 1.8 iterations/s on 4 GPUs" in told for told in story)
    bert = [event.message for event in play.world.queue.events.all(job_id=play.rows["bert"].id)]
    assert any("trains on 16 GPUs, n[1-2] among them" in one for one in bert), bert
    play.world.queue.close()
