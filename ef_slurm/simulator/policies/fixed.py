"""What the policies with fixed sizes have in common: the requested size, taken or not."""

from __future__ import annotations

from collections.abc import Iterable

from ef_slurm.simulator.simulated_job import Grant, SimulatedJob


def requested(job: SimulatedJob) -> int:
    """The GPUs that the job's user asked for."""
    assert job.spec.requested_gpus is not None  # `require_requests` has seen to it
    return job.spec.requested_gpus


def take_in_order(jobs: Iterable[SimulatedJob], free: int) -> dict[str, Grant]:
    """Gives every job its requested size as long as it fits; smaller ones may overtake."""
    grants: dict[str, Grant] = {}
    for job in jobs:
        size = requested(job)
        if size <= free:
            grants[job.spec.id] = Grant(size)
            free -= size
            if not free:
                break
    return grants


def arrival_order(job: SimulatedJob) -> tuple[float, str]:
    """Sort key: first come, first served."""
    return job.spec.submitted, job.spec.id
