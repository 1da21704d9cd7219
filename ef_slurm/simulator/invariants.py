"""What must hold after every round, checked from the outside.

The checks are slow and meant for tests and `ef-sim --check`. They trust nothing that the engine
computed on the way: iterations are counted again from the recorded stretches.
"""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.model import Block, Standing
from ef_slurm.simulator.errors import InvariantError
from ef_slurm.simulator.metrics import PUNCTUAL
from ef_slurm.simulator.policies.base import ClusterSetup, SchedulingPolicy
from ef_slurm.simulator.simulated_job import SimulatedJob

_ROUNDING = 1e-6


class Invariants:
    """The rules of one simulated cluster under one policy."""

    def __init__(self, setting: ClusterSetup, policy: SchedulingPolicy) -> None:
        self._setting = setting
        self._policy = policy
        self._index = {f"n{number + 1}": number for number in range(setting.nodes)}
        self._last = float("-inf")

    def check_round(self, now: float, runs: Sequence[SimulatedJob]) -> None:
        """Raises InvariantError when the unfinished `runs` break a rule at `now`."""
        if now < self._last:
            self._fail(now, f"time ran backwards from {self._last!r}")
        self._last = now
        held = sum(run.gpus for run in runs)
        if held > self._setting.gpus:
            self._fail(now, f"{held} GPUs given out, the cluster has {self._setting.gpus}")
        self._check_blocks(now, runs)
        for run in runs:
            if run.gpus and run.rate <= 0:
                self._fail(now, f"job {run.job.id} cannot run on {run.gpus} GPUs")
            if run.gpus and run.standing is not Standing.ADMITTED:
                self._fail(now, f"job {run.job.id} holds GPUs and is {run.standing.value}")
        self._check_plans_in_hand(now, runs)
        if self._policy.work_conserving:
            self._check_work_conserved(now, runs, self._setting.gpus - held)

    def check_finished(self, run: SimulatedJob) -> None:
        """Raises InvariantError when the job's stretches do not add up to its iterations."""
        trained = sum(
            run.rate_at(stretch.gpus) * max(0.0, stretch.end - stretch.trains_from)
            for stretch in run.stretches
        )
        if abs(trained - run.job.iterations) > _ROUNDING * max(1.0, run.job.iterations):
            when = run.finished if run.finished is not None else self._last
            self._fail(
                when, f"job {run.job.id} trained {trained!r} of {run.job.iterations!r} iterations"
            )
        for earlier, later in zip(run.stretches, run.stretches[1:], strict=False):
            if later.start < earlier.end:
                self._fail(later.start, f"job {run.job.id} held two shares at once")

    def _check_blocks(self, now: float, runs: Sequence[SimulatedJob]) -> None:
        taken: dict[tuple[int, int], str] = {}
        for run in runs:
            if run.block is None:
                continue
            if run.block.gpus != run.gpus:
                self._fail(now, f"job {run.job.id}: {run.gpus} GPUs in {run.block}")
            self._check_aligned(now, run.block, run.job.id)
            for node in run.block.nodes:
                for gpu in range(
                    run.block.first_gpu, run.block.first_gpu + run.block.gpus_per_node
                ):
                    other = taken.setdefault((self._index[node], gpu), run.job.id)
                    if other != run.job.id:
                        self._fail(now, f"jobs {other} and {run.job.id} share GPU {gpu} of {node}")

    def _check_aligned(self, now: float, block: Block, job_id: str) -> None:
        unknown = [node for node in block.nodes if node not in self._index]
        if unknown:
            self._fail(now, f"job {job_id} is on nodes that the cluster has not: {unknown}")
        indices = [self._index[node] for node in block.nodes]
        size, width = len(indices), self._setting.gpus_per_node
        if indices != list(range(indices[0], indices[0] + size)) or indices[0] % size:
            self._fail(now, f"job {job_id} is not on an aligned run of nodes: {block.nodes}")
        if size > 1 and block.gpus_per_node != width:
            self._fail(now, f"job {job_id} spans {size} nodes without filling them")
        if block.first_gpu + block.gpus_per_node > width:
            self._fail(now, f"job {job_id} reaches beyond its node: {block}")

    def _check_plans_in_hand(self, now: float, runs: Sequence[SimulatedJob]) -> None:
        """A promised job's schedule ends in time, and all schedules together fit the cluster."""
        steps: list[tuple[float, int]] = []
        for run in runs:
            for segment in run.schedule:
                steps.append((segment.start + _ROUNDING, segment.gpus))
                steps.append((segment.end - _ROUNDING, -segment.gpus))
            deadline = run.job.deadline
            if run.schedule and run.promised_at is not None and deadline is not None:
                end = run.schedule[-1].end
                if end > deadline + PUNCTUAL:
                    self._fail(now, f"job {run.job.id} is planned to end {end - deadline} s late")
        held = 0
        for when, gpus in sorted(steps):
            held += gpus
            if held > self._setting.gpus:
                self._fail(now, f"the plans in hand need {held} GPUs at {when!r}")

    def _check_work_conserved(self, now: float, runs: Sequence[SimulatedJob], idle: int) -> None:
        for run in runs:
            if run.gpus or run.standing is not Standing.ADMITTED:
                continue
            if self._policy.fixed_size:
                wanted = run.job.requested_gpus or 1
            else:
                wanted = run.job.curve.points[0][0]
            if wanted <= idle:
                self._fail(now, f"job {run.job.id} waits for {wanted} GPUs while {idle} are idle")

    def _fail(self, now: float, message: str) -> None:
        raise InvariantError(f"policy {self._policy.name} at {now!r}: {message}")
