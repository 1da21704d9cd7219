"""A policy that knows one GPU type, on a cluster of several: one of it for every type.

What a user of such a cluster does: each job is submitted for one type, and stays there. Here users
are well informed: a job goes to the type on which it would end first, if all that was submitted
there before it ran at the sizes that were requested, without a gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ef_slurm.model import ThroughputCurve
from ef_slurm.simulator.cluster import GpuGroup
from ef_slurm.simulator.policies.base import ClusterSetup, Round, SchedulingPolicy
from ef_slurm.simulator.simulated_job import SimulatedJob


class PerGroup:
    """See the module.

    Args:
        setup: of a cluster with several groups.
        make: the policy of a cluster with one.
    """

    work_conserving = False  # a job may wait for its type while another is idle

    def __init__(
        self, setup: ClusterSetup, make: Callable[[ClusterSetup], SchedulingPolicy]
    ) -> None:
        self._groups = setup.groups
        self._policies = {
            group.gpu_type: make(replace(setup, groups=(group,))) for group in setup.groups
        }
        first = next(iter(self._policies.values()))
        self.name, self.judges, self.fixed_size = first.name, first.judges, first.fixed_size
        self._type_of: dict[str, str] = {}

    def see_down(self, down: Mapping[str, float]) -> None:
        """See `SchedulingPolicy`."""
        for group in self._groups:
            names = set(group.names)
            mine = {name: since for name, since in down.items() if name in names}
            self._policies[group.gpu_type].see_down(mine)

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        present = {job.spec.id for job in jobs}
        self._type_of = {name: kind for name, kind in self._type_of.items() if name in present}
        for job in jobs:
            if job.spec.id not in self._type_of:
                self._type_of[job.spec.id] = self._best_type(now, job, jobs)
        rounds = {
            kind: policy.decide(
                now, [_on_type(job, kind) for job in jobs if self._type_of[job.spec.id] == kind]
            )
            for kind, policy in self._policies.items()
        }
        return Round(
            grants={
                job_id: replace(grant, gpu_type=kind)
                for kind, one in rounds.items()
                for job_id, grant in one.grants.items()
            },
            verdicts={k: v for one in rounds.values() for k, v in one.verdicts.items()},
            next_change=min(one.next_change for one in rounds.values()),
            at_risk=frozenset().union(*(one.at_risk for one in rounds.values())),
        )

    def _best_type(self, now: float, job: SimulatedJob, jobs: Sequence[SimulatedJob]) -> str:
        def end(group: GpuGroup) -> float:
            before = [other for other in jobs if self._type_of.get(other.spec.id) == group.gpu_type]
            busy = sum(_gpu_seconds(other, now, group) for other in before) / group.gpus
            size = _size(job, group)
            rate = 0.0 if size is None else job.rate_at(size, group.gpu_type)
            return busy + job.remaining_at(now) / rate if rate > 0 else math.inf

        able = [one for one in self._groups if job.spec.curve_on(one.gpu_type) is not None]
        return min(able, key=end).gpu_type


def _size(job: SimulatedJob, group: GpuGroup) -> int | None:
    """The requested number of GPUs, else the least that it can run on; None if it cannot here."""
    curve, wanted = job.spec.curve_on(group.gpu_type), job.spec.requested_gpus
    size = wanted if wanted is not None or curve is None else curve.points[0][0]
    return None if size is None or size > group.gpus else size


def _gpu_seconds(job: SimulatedJob, now: float, group: GpuGroup) -> float:
    size = _size(job, group)
    rate = 0.0 if size is None else job.rate_at(size, group.gpu_type)
    return 0.0 if size is None or rate <= 0 else size * job.remaining_at(now) / rate


class _JobOnType:
    """A job as a policy of one GPU type is to see it."""

    def __init__(self, job: SimulatedJob, gpu_type: str) -> None:
        self._job = job
        self.gpu_type = gpu_type

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)

    @property
    def curve(self) -> ThroughputCurve:
        curve = self._job.spec.curve_on(self.gpu_type)
        assert curve is not None  # or it would not be here
        return curve

    def rate_at(self, gpus: int) -> float:
        return self._job.rate_at(gpus, self.gpu_type)

    def expected_rate(self, gpus: int) -> float:
        return self.rate_at(gpus)


def _on_type(job: SimulatedJob, gpu_type: str) -> SimulatedJob:
    return cast(SimulatedJob, _JobOnType(job, gpu_type))
