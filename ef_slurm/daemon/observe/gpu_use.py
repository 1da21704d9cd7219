"""What the GPUs of the partition are used for, and for how long."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ef_slurm.daemon.metrics import GpuUse, Metrics
from ef_slurm.daemon.observe.capacity import ResourceScope, nodes_of
from ef_slurm.model import Companion, CompanionState, JobKind, JobState, QueueJob
from ef_slurm.slurm.types import Observation

SHORTEST_SECONDS = 5.0
"""Between two counts, each of which goes over all jobs: looks that come sooner are left out."""
LONGEST_SECONDS = 300.0
"""Of the time between two looks; what was used in a longer one, nobody knows."""

_CHANGING = frozenset({JobState.NEW, JobState.STARTING, JobState.STOPPING})


def gpus_by_use(
    observation: Observation,
    scope: ResourceScope,
    jobs: Iterable[QueueJob],
    companions: Iterable[Companion] = (),
) -> Mapping[GpuUse, int]:
    """How many GPUs are used for what now.

    Args:
        jobs: the active ones of the queue.
        companions: of theirs.
    """
    nodes = {node.name: node for node in nodes_of(observation, scope)}
    rows = {job.id: job for job in jobs}
    uses = {job.request.slurm_job_id: _use_of(job) for job in rows.values()}
    for one in companions:
        if one.slurm_job_id is not None and one.job_id in rows:
            joined = one.state is CompanionState.JOINED
            uses[one.slurm_job_id] = _use_of(rows[one.job_id]) if joined else GpuUse.CHANGES
    used: Counter[GpuUse] = Counter()
    held: Counter[str] = Counter()
    for slurm in observation.jobs.values():
        if not slurm.holds_nodes:
            continue
        use = uses.get(slurm.job_id, GpuUse.STRANGERS)
        for name, gpus in slurm.gpus:
            if name in nodes:
                used[use] += gpus
                held[name] += gpus
    for name, node in nodes.items():
        free = max(0, node.gpu_total - held[name])
        used[GpuUse.IDLE if node.usable else GpuUse.UNAVAILABLE] += free
    return MappingProxyType({use: used[use] for use in GpuUse})


def _use_of(job: QueueJob) -> GpuUse:
    if job.state in _CHANGING:
        return GpuUse.CHANGES
    if job.measuring is not None:
        return GpuUse.MEASURING
    return GpuUse.BEST_EFFORT if job.kind is JobKind.BEST_EFFORT else GpuUse.PROMISED


class GpuAccount:
    """Adds up GPU-seconds from look to look: what was seen counts until the next one."""

    def __init__(self, scope: ResourceScope, metrics: Metrics) -> None:
        self._scope = scope
        self._metrics = metrics
        self._at: float | None = None
        self._used: Mapping[GpuUse, int] = dict.fromkeys(GpuUse, 0)

    def look(
        self,
        observation: Observation,
        jobs: Iterable[QueueJob],
        companions: Iterable[Companion] = (),
    ) -> None:
        """Take in a look at Slurm, unless it is the last one or comes soon after it."""
        passed = math.inf if self._at is None else observation.at - self._at
        if 0.0 <= passed < SHORTEST_SECONDS:
            return
        seconds = passed if 0.0 <= passed <= LONGEST_SECONDS else 0.0
        before = self._used
        self._used = gpus_by_use(observation, self._scope, jobs, companions)
        self._at = observation.at
        for use in GpuUse:
            self._metrics.gpus_used(use, self._used[use], before[use] * seconds)
