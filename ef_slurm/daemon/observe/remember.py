"""A measured rate → the profile library, for the next job of the same key."""

from __future__ import annotations

from contextlib import suppress

from ef_slurm.model import Block, JobRequest, MeasuredRate, ModelError, ProfileKey
from ef_slurm.queue.store import Queue


def remember(
    queue: Queue,
    request: JobRequest,
    part: Block,
    rate: float,
    seconds: float,
    software: str,
    now: float,
) -> None:
    """Put a rate into the library.

    Args:
        request: of the job that was measured; without a key nothing is remembered.
        part: the GPUs that it trained on.
        rate: iterations/s.
        seconds: of training that it was taken over.
        software: what it trained with, in the job's words.
        now: UTC epoch seconds.

    Raises:
        QueueError: it cannot be written.
    """
    batch = request.global_batch_size
    if batch is None or not request.model_name:
        return
    # A rate that no training has is not remembered; it cannot be told from a lie.
    with suppress(ModelError):
        key = ProfileKey(request.model_name, batch, request.precision, part.gpu_type)
        measured = MeasuredRate(
            key=key,
            gpus=part.gpus,
            gpus_per_node=part.gpus_per_node,
            rate=rate,
            seconds=seconds,
            owner=request.owner,
            account=request.account,
            at=now,
            cluster=request.cluster,
            job_id=request.slurm_job_id,
            software=software,
        )
        queue.profiles.add(measured, durable=False)
