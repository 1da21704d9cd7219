"""What must hold after every round, checked from the outside.

The checks are slow and meant for tests and `ef-sim --check`. They trust nothing that the engine
computed on the way: iterations are counted again from the recorded shares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ef_slurm.model import Block, Standing, is_in_time
from ef_slurm.simulator.errors import InvariantError
from ef_slurm.simulator.policies.base import ClusterSetup, SchedulingPolicy
from ef_slurm.simulator.simulated_job import CHECKPOINT_SECONDS, SimulatedJob

_ROUNDING = 1e-6
"""Relative, of iterations; of times, seconds by which neighbours in a schedule may overlap."""


class Invariants:
    """The rules of one simulated cluster under one policy."""

    def __init__(self, setup: ClusterSetup, policy: SchedulingPolicy) -> None:
        self._setup = setup
        self._policy = policy
        self._place = {
            name: (group, index) for group in setup.groups for index, name in enumerate(group.names)
        }
        self._last = float("-inf")

    def check_round(
        self, now: float, jobs: Sequence[SimulatedJob], down: Collection[str] = ()
    ) -> None:
        """Checks what must hold after a round.

        Args:
            now: seconds on the trace's clock.
            jobs: the unfinished ones.
            down: nodes that have failed and are not back.

        Raises:
            InvariantError: a rule is broken; says which, when and by which policy.
        """
        if now < self._last:
            self._fail(now, f"time ran backwards from {self._last!r}")
        self._last = now
        held = sum(job.gpus for job in jobs)
        gpus_up = {
            group.gpu_type: group.gpus
            - group.gpus_per_node * len(set(down).intersection(group.names))
            for group in self._setup.groups
        }
        for gpu_type, gpus in gpus_up.items():
            given = sum(job.gpus for job in jobs if job.gpu_type == gpu_type)
            if given > gpus:
                self._fail(now, f"{given} GPUs given out, the cluster has {gpus} of {gpu_type}")
        self._check_blocks(now, jobs)
        self._check_nobody_is_on(now, jobs, down)
        for job in jobs:
            if job.gpus and job.rate <= 0:
                self._fail(now, f"job {job.spec.id} cannot run on {job.gpus} GPUs")
            allowed = job.standing is Standing.ADMITTED or job.measurement is not None
            if job.gpus and not allowed:
                self._fail(now, f"job {job.spec.id} holds GPUs and is {job.standing.value}")
        self._check_plans_in_hand(now, jobs, gpus_up)
        if self._policy.work_conserving:
            self._check_work_conserved(now, jobs, sum(gpus_up.values()) - held)

    def check_finished(self, job: SimulatedJob) -> None:
        """Checks that the shares of a finished job, less what failures undid, add up.

        Raises:
            InvariantError: they do not give its iterations, a failure undid more than what is
                trained between two checkpoints, or two shares overlap.
        """
        trained = sum(
            job.rate_at(share.gpus, share.gpu_type)
            * (max(0.0, share.end - share.trains_from) - share.lost)
            for share in job.held_shares
        )
        if abs(trained - job.spec.iterations) > _ROUNDING * max(1.0, job.spec.iterations):
            when = job.finished if job.finished is not None else self._last
            self._fail(
                when, f"job {job.spec.id} trained {trained!r} of {job.spec.iterations!r} iterations"
            )
        for share in job.held_shares:
            if not 0 <= share.lost < CHECKPOINT_SECONDS:
                self._fail(share.end, f"job {job.spec.id} lost {share.lost!r} s to a failure")
        for earlier, later in zip(job.held_shares, job.held_shares[1:], strict=False):
            if later.start < earlier.end:
                self._fail(later.start, f"job {job.spec.id} held two shares at once")

    def _check_blocks(self, now: float, jobs: Sequence[SimulatedJob]) -> None:
        taken: dict[tuple[str, int], str] = {}
        for job in jobs:
            if job.block is None:
                continue
            if job.block.gpus != job.gpus:
                self._fail(now, f"job {job.spec.id}: {job.gpus} GPUs in {job.block}")
            self._check_aligned(now, job.block, job.spec.id)
            for node in job.block.nodes:
                for gpu in range(
                    job.block.first_gpu, job.block.first_gpu + job.block.gpus_per_node
                ):
                    other = taken.setdefault((node, gpu), job.spec.id)
                    if other != job.spec.id:
                        self._fail(now, f"jobs {other} and {job.spec.id} share GPU {gpu} of {node}")

    def _check_aligned(self, now: float, block: Block, job_id: str) -> None:
        places = [self._place.get(node) for node in block.nodes]
        unknown = [
            node
            for node, place in zip(block.nodes, places, strict=True)
            if place is None or place[0].gpu_type != block.gpu_type
        ]
        if unknown:
            self._fail(now, f"job {job_id} is on nodes that the cluster has not: {unknown}")
        indices = [place[1] for place in places if place is not None]
        width = next(place[0].gpus_per_node for place in places if place is not None)
        size = len(indices)
        if indices != list(range(indices[0], indices[0] + size)) or indices[0] % size:
            self._fail(now, f"job {job_id} is not on an aligned run of nodes: {block.nodes}")
        if size > 1 and block.gpus_per_node != width:
            self._fail(now, f"job {job_id} spans {size} nodes without filling them")
        if block.first_gpu + block.gpus_per_node > width:
            self._fail(now, f"job {job_id} reaches beyond its node: {block}")

    def _check_nobody_is_on(
        self, now: float, jobs: Sequence[SimulatedJob], down: Collection[str]
    ) -> None:
        for job in jobs:
            failed = [node for node in down if job.block is not None and node in job.block.nodes]
            if failed:
                self._fail(now, f"job {job.spec.id} is on nodes that have failed: {failed}")

    def _check_plans_in_hand(
        self, now: float, jobs: Sequence[SimulatedJob], gpus_up: Mapping[str, int]
    ) -> None:
        """A promised job's schedule ends in time, and all schedules together fit what is up."""
        steps: list[tuple[float, str, int]] = []
        for job in jobs:
            for one in job.schedule:
                steps.append((one.start + _ROUNDING, one.gpu_type, one.gpus))
                steps.append((one.end - _ROUNDING, one.gpu_type, -one.gpus))
            deadline = job.spec.deadline
            named = job.at_risk or job.promised_at is None
            if job.schedule and not named and deadline is not None:
                end = job.schedule[-1].end
                if not is_in_time(end, deadline, job.spec.grace):
                    self._fail(now, f"job {job.spec.id} is planned to end {end - deadline} s late")
        held = dict.fromkeys(gpus_up, 0)
        for when, gpu_type, gpus in sorted(steps, key=lambda step: (step[0], step[2])):
            held[gpu_type] += gpus
            if held[gpu_type] > gpus_up[gpu_type]:
                self._fail(now, f"the plans in hand need {held[gpu_type]} GPUs at {when!r}")

    def _check_work_conserved(self, now: float, jobs: Sequence[SimulatedJob], idle: int) -> None:
        for job in jobs:
            if job.gpus or job.standing is not Standing.ADMITTED:
                continue
            if self._policy.fixed_size:
                wanted = job.spec.requested_gpus or 1
            else:
                wanted = job.curve.points[0][0]
            if wanted <= idle:
                self._fail(now, f"job {job.spec.id} waits for {wanted} GPUs while {idle} are idle")

    def _fail(self, now: float, message: str) -> None:
        raise InvariantError(f"policy {self._policy.name} at {now!r}: {message}")
