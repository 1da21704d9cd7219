"""What the answers to all requests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.serve.scheduler_calls import JudgingScheduler, SchedulerCalls
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.model import QueueLimits
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.interface import Slurm


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What all requests share.

    Args:
        cluster: Slurm's name of the cluster; "" when it could not be asked.
        version: of ef-slurm.
        started: when the daemon started, UTC epoch seconds.
        hanging: how many of the threads that read jobs' files hang.
        clock: the present, UTC epoch seconds.
    """

    scheduler: JudgingScheduler
    calls: SchedulerCalls
    slurm: Slurm
    open_queue: Callable[[], Queue]
    cluster: str
    partition: str
    limits: QueueLimits
    user: str
    version: str
    started: float
    advisory: bool
    visibility: Visibility
    metrics: Metrics = field(default_factory=Metrics)
    hanging: Callable[[], int] = lambda: 0
    clock: Callable[[], float] = time.time
