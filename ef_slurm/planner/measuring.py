"""Jobs whose curve is measured while they train, as the planner sees them.

A job without a throughput curve cannot be judged. It is first *measured*: it trains for a short
time on a few sizes. For the planner, such a job asks for one size for as long as one measurement
takes, as a newcomer with a near deadline. So nobody's promise gives way to it, but what others hold
beyond their promises does. Where that cannot be had it goes on with what it has, as best effort,
and asks again at the next plan.

`MeasuringSlots` remembers who was granted what. Nothing of it has to survive a restart: whoever was
granted a slot asks again.

>>> from ef_slurm.model import Cluster, Policy
>>> from ef_slurm.planner.plan import plan
>>> job = Job("a", 0.0, 1e6, (("gpu", ThroughputCurve.of({4: 1.0})),), deadline=3600.0)
>>> slots = MeasuringSlots(seconds=30.0)
>>> newcomer = slots.ask(job, Measurement("gpu", gpus=4, known=None), now=0.0)
>>> answer = plan(0.0, [newcomer], Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
>>> slots.record(answer)
>>> answer.decision("a").gpus, slots.measured
(4, frozenset({'a'}))
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ef_slurm.model import (
    ChangeKind,
    IfInfeasible,
    Job,
    JobKind,
    Outcome,
    Plan,
    Standing,
    ThroughputCurve,
)

FASTER = 2.0
"""How many times faster than any known size the size to be measured is taken to be."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is to be measured of a job next.

    Args:
        gpu_type: of the GPUs.
        gpus: the size to train on.
        known: what was measured so far on that type; None for nothing.
    """

    gpu_type: str
    gpus: int
    known: ThroughputCurve | None


@dataclass(frozen=True, slots=True)
class _Slot:
    """A job may train on `measurement.gpus` until `until`."""

    measurement: Measurement
    until: float


class MeasuringSlots:
    """Who asks to be measured, and who was granted a slot.

    Args:
        seconds: of training that one measurement takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._requested: dict[str, _Slot] = {}
        self._granted: dict[str, _Slot] = {}
        self._measured: frozenset[str] = frozenset()

    @property
    def measured(self) -> frozenset[str]:
        """Ids of the jobs that asked for the last plan."""
        return self._measured

    def copy(self) -> MeasuringSlots:
        """The same slots, for a plan that is not carried out."""
        twin = MeasuringSlots(self._seconds)
        twin._granted = self._granted.copy()
        return twin

    def revoke(self) -> bool:
        """Take back what was granted; whether there was anything. All ask as newcomers then."""
        if not self._granted:
            return False
        self._granted, self._requested = {}, {}
        return True

    def ask(self, job: Job, measurement: Measurement, now: float) -> Job:
        """The job as the next plan is to see it.

        Args:
            job: as it is otherwise; its curves, kind and deadline are not looked at.
            measurement: what is to be measured next.
            now: the time of the plan.
        """
        slot = self._granted.get(job.id)
        if slot is None or slot.measurement.gpus != measurement.gpus or slot.until <= now:
            self._granted.pop(job.id, None)
            # Where it will be measured, and so what that change is, is not known yet.
            changes = (ChangeKind.GROW, ChangeKind.MOVE, ChangeKind.RESTART)
            most = max(job.overhead.of(kind, measurement.gpus) for kind in changes)
            until = now + most + job.overhead.start + 2 * self._seconds
            slot = _Slot(measurement, until)
        granted = job.id in self._granted
        self._requested[job.id] = slot
        known = dict(measurement.known.points) if measurement.known is not None else {}
        # At this rate the planner takes the job to be over when the measurement is: nobody is shut
        # out for longer.
        rate = max(job.iterations / self._seconds, FASTER * max(known.values(), default=0.0))
        curve = ThroughputCurve.of({**known, measurement.gpus: rate})
        return replace(
            job,
            curves=((measurement.gpu_type, curve),),
            growth_curves=(),
            kind=JobKind.DEADLINE,
            deadline=slot.until,
            grace=0.0,
            if_infeasible=IfInfeasible.BEST_EFFORT,
            submitted=min(job.submitted, now),  # a clock may be set back
            weight=math.inf,  # nobody has asked for this deadline: it has no price
            standing=Standing.ADMITTED if granted else Standing.NEW,
            plan=job.plan if granted else (),
        )

    def record(self, plan: Plan) -> None:
        """Take note of what a plan granted; to be called after each, before the next `ask`."""
        for verdict in plan.verdicts:
            if verdict.outcome is Outcome.PROMISED and verdict.job_id in self._requested:
                self._granted[verdict.job_id] = self._requested[verdict.job_id]
        self._granted = {
            job_id: slot for job_id, slot in self._granted.items() if job_id in self._requested
        }
        self._measured = frozenset(self._requested)
        self._requested = {}
