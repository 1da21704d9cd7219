"""Looks at a campaign from outside, all the time: what Slurm, the queue and the trainings say."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ef_slurm.contract import read_companion_comment
from tests.campaign.growths import JOINED, Growth
from tests.campaign.hosts import HostError, Hosts
from tests.campaign.service import Service
from tests.campaign.traces import Trace
from tests.cluster.daemon_bench import gpus_given_twice

LOOK_SECONDS = 6.0
FINAL = frozenset({"completed", "failed", "cancelled", "lost", "rejected"})
SETTLED = frozenset({"kept", "kept-in-grace", "broken", "void", "replaced"})
MAY_FOLLOW = {
    "open": SETTLED | {"open"},
    # Called broken by a clock that was ahead, which is taken back.
    "broken": frozenset({"broken", "open", "kept", "kept-in-grace"}),
}
"""What may become of a promise; of every other one, nothing more."""
JOBS = """\
SELECT id, slurm_job_id, name, owner, state, generation, iteration, checkpoint_iteration, deadline,
    grace, best_effort, submitted, ended_at, exit_code, note, promise FROM jobs"""
PROMISES = "SELECT id, job_id, given_at, deadline, grace, outcome, settled_at FROM promises"
COMPANIONS = f"""\
SELECT c.id, j.name, c.generation, c.change, c.state, c.note, EXISTS (
    SELECT 1 FROM events e WHERE e.job_id = c.job_id
    AND json_extract(e.data, '$.companion') = c.id
    AND json_extract(e.data, '$.companion_state') = '{JOINED}') AS joined
FROM companions c JOIN jobs j ON j.id = c.job_id"""
GROWING = "SELECT id FROM companions WHERE state NOT IN ('joined', 'leaving', 'ended') LIMIT 1"
SLURM = "timeout 15 scontrol --details --oneliner show job --all"
NAMES = "timeout 15 squeue --noheader --states=all --format='%A %j %T %k'"
ENDED_IN_SLURM = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "TIMEOUT",
    }
)

Row = dict[str, Any]


def some_job_grows(service: Service) -> bool:
    """Whether a companion is on its way; no, where the queue cannot be read."""
    try:
        return bool(service.rows(GROWING))
    except HostError:
        return False


@dataclass(frozen=True)
class InSlurm:
    """A job as squeue lists it."""

    number: int
    name: str
    state: str
    is_companion: bool

    @classmethod
    def read(cls, line: str) -> InSlurm:
        number, name, state, *comment = line.split(maxsplit=3)
        companion = read_companion_comment("".join(comment).strip()) is not None
        return cls(int(number), name, state, companion)


@dataclass
class Observer:
    """Remembers what was, to compare it with what is.

    Args:
        tell: is told of each thing that must not be, once.

    Attributes:
        companions: those that have not ended, as last seen: id in Slurm → a line.
    """

    hosts: Hosts
    service: Service
    tell: Callable[[str, object], None]
    jobs: dict[str, Row] = field(default_factory=dict)
    promises: dict[int, Row] = field(default_factory=dict)
    growths: dict[int, Growth] = field(default_factory=dict)
    slurm_ids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    slurm_states: dict[int, str] = field(default_factory=dict)
    companions: dict[int, str] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    looks: int = 0
    blind: int = 0
    _others: frozenset[int] = frozenset()
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """What is in Slurm now is of an earlier campaign."""
        self._others = frozenset(job.number for job in self._slurm_jobs())

    def run(self, over: threading.Event) -> None:
        """Look every few seconds until `over` is set."""
        while not over.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """One look; what cannot be seen now is seen by a later one."""
        with self._one_at_a_time:  # what is compared is newer than what it is compared with
            self.looks += 1
            sights = (self._see_queue, self._see_growths, self._see_slurm, self._see_traces)
            for see in sights:
                try:
                    see()
                except HostError:
                    self.blind += 1

    def active(self) -> int:
        """Jobs of the queue that have not ended, as last seen."""
        return sum(row["state"] not in FINAL for row in list(self.jobs.values()))

    def trace(self, name: str) -> Trace:
        """What a job's trainings wrote down."""
        log: Path = self.hosts.cluster.directory / "log"
        return Trace.read(log / f"campaign-{name}.trace")

    def found_wrong(self, kind: str, what: str) -> None:
        if (kind, what) not in self.wrong:
            self.wrong.append((kind, what))
            self.tell("wrong", f"{kind}: {what}")

    def _see_queue(self) -> None:
        rows = self.service.rows(JOBS)
        promises = self.service.rows(PROMISES)
        seen = {str(row["name"]): row for row in rows}
        # Whoever is rejected may ask again.
        live = [row["name"] for row in rows if row["state"] != "rejected"]
        if len(set(live)) < len(live):
            self.found_wrong("double start", "two rows of the queue have one name")
        for name, before in self.jobs.items():
            now = seen.get(name)
            if now is None:
                self.found_wrong("job lost", f"{name} is no longer in the queue")
                continue
            if before["state"] in FINAL and now["state"] != before["state"]:
                told = f"{name} was {before['state']} and is {now['state']}"
                self.found_wrong("double start", told)
            if now["checkpoint_iteration"] < before["checkpoint_iteration"]:
                self.found_wrong(
                    "checkpoint lost",
                    f"{name}: the queue had {before['checkpoint_iteration']:g}, and has "
                    f"{now['checkpoint_iteration']:g}",
                )
        self.jobs.update(seen)
        for row in seen.values():
            self.slurm_ids[str(row["name"])].add(int(row["slurm_job_id"]))
        found = {int(row["id"]): row for row in promises}
        for number, promise in self.promises.items():
            now = found.get(number)
            if now is None:
                self.found_wrong("promise weakened", f"promise {number} is gone")
            elif any(now[key] != promise[key] for key in ("deadline", "grace", "job_id")) or (
                now["outcome"] not in MAY_FOLLOW.get(promise["outcome"], {promise["outcome"]})
            ):
                self.found_wrong("promise weakened", f"{promise} is now {now}")
        self.promises.update(found)

    def _see_growths(self) -> None:
        at = time.time()
        for row in self.service.rows(COMPANIONS):
            number = int(row["id"])
            growth = self.growths.get(number) or Growth(
                row["name"], int(row["generation"]), int(row["change"]), at
            )
            growth = growth.seen(row["state"], row["note"], at)
            # It may have come and gone between two looks.
            self.growths[number] = replace(growth, joined=growth.joined or bool(row["joined"]))

    def _see_slurm(self) -> None:
        jobs = [job for job in self._slurm_jobs() if job.number not in self._others]
        for job in jobs:
            if not job.is_companion:
                self.slurm_ids[job.name].add(job.number)
                self.slurm_states[job.number] = job.state
        self.companions = {
            job.number: f"{job.name} ({job.number}) is {job.state}"
            for job in jobs
            if job.is_companion and job.state not in ENDED_IN_SLURM
        }
        for gpu in gpus_given_twice(self.hosts.run("ctl", SLURM, timeout=30)):
            self.found_wrong("GPU given twice", gpu)

    def _slurm_jobs(self) -> list[InSlurm]:
        lines = self.hosts.run("ctl", NAMES, timeout=30).splitlines()
        return [InSlurm.read(line) for line in lines]

    def _see_traces(self) -> None:
        for name in list(self.jobs):
            trace = self.trace(name)
            for what in trace.lost_checkpoints():
                self.found_wrong("checkpoint lost", f"{name}: {what}")
            for what in trace.done_twice():
                self.found_wrong("double start", f"{name}: {what}")
