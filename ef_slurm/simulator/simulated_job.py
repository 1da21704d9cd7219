"""What the loop knows of a job while it simulates."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from ef_slurm.model import (
    Block,
    ChangeKind,
    Outcome,
    Overhead,
    Schedule,
    Standing,
    ThroughputCurve,
    change_kind,
)
from ef_slurm.planner.measuring import Measurement
from ef_slurm.profiling.measuring import Belief, Need
from ef_slurm.simulator.cluster import GPU_TYPE
from ef_slurm.simulator.overhead import counted_change
from ef_slurm.simulator.trace import TraceJob

CHECKPOINT_SECONDS = 600.0
"""Seconds of training between two checkpoints. Starts and reshapes go on from one of their own."""


@dataclass(frozen=True, slots=True)
class HeldShare:
    """A share that a job held for a while, as it came to pass (a plan has reservations).

    Args:
        start: seconds on the trace's clock.
        end: when it was given back or changed.
        gpus: how many.
        trains_from: when the overhead was paid and training went on; may lie after `end`.
        places: on which block from when on: a job that stays on its nodes may get other indices
            there on the way. Empty under policies that only count GPUs.
        lost: seconds of training at its end that a node's failure undid.
        gpu_type: of the GPUs.
        change: of which kind the change was that it began with.
    """

    start: float
    end: float
    gpus: int
    trains_from: float
    places: tuple[tuple[float, Block], ...] = ()
    lost: float = 0.0
    gpu_type: str = GPU_TYPE
    change: ChangeKind = ChangeKind.START

    @property
    def overhead_gpu_seconds(self) -> float:
        """GPU-seconds held without training, for the change that it began with."""
        return (min(self.trains_from, self.end) - self.start) * self.gpus


@dataclass(frozen=True, slots=True)
class Grant:
    """What a policy gives one job from now on.

    Args:
        gpus: 0 for none.
        block: None under policies that only count GPUs.
        schedule: the job's plan, for policies that make one; it is handed back at the next round.
        gpu_type: of the GPUs, where there is no block to say so and the cluster has several types.
    """

    gpus: int
    block: Block | None = None
    schedule: Schedule = ()
    gpu_type: str = GPU_TYPE


class SimulatedJob:
    """One job on its way through the simulated cluster. Only the engine changes it.

    Between two changes of its share a job trains at a constant rate, so that its state is the
    iterations that remained at `anchor` and the rate since; nothing is touched at other jobs'
    events.
    """

    __slots__ = (
        "_overhead",
        "_places",
        "anchor",
        "at_risk",
        "at_risk_since",
        "belief",
        "block",
        "change",
        "changes",
        "finished",
        "gpu_type",
        "gpus",
        "held_shares",
        "last_reshape",
        "measured_gpu_seconds",
        "measurement",
        "outcome",
        "pauses",
        "promised_at",
        "rate",
        "remaining",
        "reshapes",
        "schedule",
        "since",
        "spec",
        "standing",
        "starts",
        "trained_since",
        "trains_from",
    )

    def __init__(self, spec: TraceJob, overhead: Overhead) -> None:
        self.spec = spec
        self.remaining = spec.iterations
        self.anchor = spec.submitted
        self.rate = 0.0
        self.gpus = 0
        self.gpu_type = spec.curves[0][0] if spec.curves else GPU_TYPE
        self.block: Block | None = None
        self.since = spec.submitted
        self.trains_from = spec.submitted
        self.standing = Standing.NEW
        self.outcome: Outcome | None = None
        self.promised_at: float | None = None
        self.at_risk = False  # whether the present plan does not keep its promise
        self.at_risk_since: float | None = None  # when that was first so
        self.belief: Belief | None = None  # what to plan it with; None: to be measured,
        self.measurement: Measurement | None = None  # in this way (None: not yet)
        self.measured_gpu_seconds = 0.0
        self.trained_since: float | None = None
        self.finished: float | None = None
        self.starts = 0
        self.reshapes = 0
        self.change = ChangeKind.START  # of which kind the present share's was
        self.changes: Counter[ChangeKind] = Counter()  # those of a job that had started, by kind
        self.pauses = 0
        self.last_reshape = -math.inf
        self.schedule: Schedule = ()
        self.held_shares: list[HeldShare] = []
        self._overhead = overhead
        self._places: list[tuple[float, Block]] = []

    def __repr__(self) -> str:
        return f"SimulatedJob({self.spec.id!r}, gpus={self.gpus}, remaining={self.remaining:g})"

    @property
    def migrations(self) -> int:
        """Moves to as many GPUs elsewhere."""
        return self.changes[ChangeKind.MOVE]

    @property
    def admitted(self) -> bool:
        """Whether the job was let in."""
        return self.standing is Standing.ADMITTED

    @property
    def overhead(self) -> Overhead:
        """What a start or a reshape costs the job."""
        return self._overhead

    def remaining_at(self, now: float) -> float:
        """Iterations that remain at `now`, which is not before the last change."""
        if now <= self.anchor:
            return self.remaining
        return max(0.0, self.remaining - self.rate * (now - self.anchor))

    def need(self, now: float) -> Need:
        """What matters for whether the job has to be measured (further)."""
        deadline = math.inf if self.spec.deadline is None else self.spec.deadline
        trained = 0.0 if self.trained_since is None else max(0.0, now - self.trained_since)
        measured = sum(
            share.gpus * max(0.0, share.end - share.trains_from) for share in self.held_shares
        )
        if self.gpus:
            measured += self.gpus * max(0.0, now - self.trains_from)
        return Need(
            deadline - now - self._overhead.start, self.remaining_at(now), trained, measured
        )

    def finish_time(self) -> float:
        """When the job finishes at its present share; infinite without GPUs."""
        return self.anchor + self.remaining / self.rate if self.rate > 0 else math.inf

    @property
    def curve(self) -> ThroughputCurve:
        """Iterations/s on GPUs of the type that it has, or would have first."""
        return self.spec.curve_on(self.gpu_type) or self.spec.curve

    def rate_at(self, gpus: int, gpu_type: str | None = None) -> float:
        """Iterations/s on exactly `gpus` of a type (None: of its own); 0 where it cannot run.

        The curve's own value, not its envelope. At the requested size of a job whose curve does not
        have that size, the rate is what the trace's duration says.
        """
        curve = self.spec.curve_on(self.gpu_type if gpu_type is None else gpu_type)
        if curve is None:
            return 0.0
        for size, rate in curve.points:
            if size == gpus:
                return rate
        if gpus == self.spec.requested_gpus and self.spec.duration is not None:
            return self.spec.iterations / self.spec.duration
        return 0.0

    def expected_rate(self, gpus: int) -> float:
        """Iterations/s on exactly `gpus`, as far as the scheduler knows; 0 where it cannot run."""
        if self.belief is None:
            return 0.0
        for size, rate in self.belief.expected.points:
            if size == gpus:
                return rate
        return self.rate_at(gpus)

    def assign(self, now: float, grant: Grant) -> bool:
        """Gives the job a share and a block from `now` on; whether it is started or reshaped.

        Other indices on the same nodes are no reshape: Slurm picks them, the training does not
        notice.
        """
        self.schedule = grant.schedule
        change = self._change(grant)
        if change is None and grant.gpus == self.gpus:
            if self.block != grant.block:
                self._put(now, grant.block)
            return False
        self._close(now)
        self.gpus = grant.gpus
        if grant.gpus:
            self.gpu_type = grant.gpu_type if grant.block is None else grant.block.gpu_type
        self._put(now, grant.block)
        if change is None:  # it holds nothing any more
            self.pauses += 1
            self.rate = 0.0
            self.anchor = self.since = self.trains_from = now
            return True
        if self.starts == 0:
            self.starts = 1
        else:
            self.reshapes += 1
            self.changes[change] += 1
            self.last_reshape = now
        self.since, self.change = now, change
        self.trains_from = now + self._overhead.of(change, grant.gpus)
        if self.trained_since is None:
            self.trained_since = self.trains_from
        self.anchor = self.trains_from
        self.rate = self.rate_at(grant.gpus)
        return True

    def note_measured(self, now: float) -> None:
        """Count what the job has held so far as spent on measuring it."""
        held = sum((share.end - share.start) * share.gpus for share in self.held_shares)
        self.measured_gpu_seconds = held + (now - self.since) * self.gpus

    def finish(self, when: float) -> None:
        """The job is trained; it holds nothing from `when` on."""
        self._close(when)
        self.remaining = 0.0
        self.finished = when
        self._drop()

    def stop(self, now: float) -> None:
        """A node of the job has failed: what it trained since its last checkpoint is lost.

        Its plan stays, as for the daemon: what still holds of it is for the planner to see.
        """
        lost = max(0.0, now - self.trains_from) % CHECKPOINT_SECONDS
        undone = self.rate * lost
        self._close(now, lost)
        self.remaining = min(self.spec.iterations, self.remaining + undone)
        self.gpus, self.block, self.rate = 0, None, 0.0
        self.anchor = self.since = self.trains_from = now

    def send_away(self, when: float) -> None:
        """The job leaves untrained; what it held while it was measured is free from `when` on."""
        self._close(when)
        self._drop()

    def _drop(self) -> None:
        """Takes everything from a job that leaves."""
        self.gpus, self.block, self.rate, self.schedule = 0, None, 0.0, ()

    def _change(self, grant: Grant) -> ChangeKind | None:
        """Of which kind the change to a grant is; None for none, or to no GPUs."""
        if grant.block is None:
            return counted_change(self.gpus, grant.gpus)
        return change_kind(self.block, grant.block)

    def _put(self, now: float, block: Block | None) -> None:
        """Notes the block that is held from `now` on."""
        self.block = block
        if block is not None:
            self._places.append((now, block))

    def _close(self, now: float, lost: float = 0.0) -> None:
        """Ends the present share, whose last `lost` seconds of training are undone."""
        if self.gpus and now > self.since:
            places = tuple(self._places)
            share = HeldShare(
                *(self.since, now, self.gpus, self.trains_from),
                *(places, lost, self.gpu_type, self.change),
            )
            self.held_shares.append(share)
        self._places.clear()
        self.remaining = self.remaining_at(now)
