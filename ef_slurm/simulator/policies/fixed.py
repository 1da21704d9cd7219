"""What the policies with fixed sizes have in common: the requested size, taken or not."""

from __future__ import annotations

from collections.abc import Iterable

from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


def requested(run: SimulatedJob) -> int:
    """The GPUs that the job's user asked for."""
    assert run.job.requested_gpus is not None  # `require_requests` has seen to it
    return run.job.requested_gpus


def take_in_order(runs: Iterable[SimulatedJob], free: int) -> dict[str, Grant]:
    """Gives every job its requested size as long as it fits; smaller ones may overtake."""
    grants: dict[str, Grant] = {}
    for run in runs:
        size = requested(run)
        if size <= free:
            grants[run.job.id] = Grant(size)
            free -= size
            if not free:
                break
    return grants


def arrival_order(run: SimulatedJob) -> tuple[float, str]:
    """Sort key: first come, first served."""
    return run.job.submitted, run.job.id
