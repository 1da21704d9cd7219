"""Why a newcomer was refused: which limit, of its time, of its size, or of what others use with it.

>>> from ef_slurm.model import Cluster, Job, Policy, ThroughputCurve
>>> from ef_slurm.planner.plan import plan
>>> curve = ThroughputCurve.of({1: 1.0, 2: 2.0})
>>> job = Job("a", 0.0, 100.0, (("gpu", curve),), deadline=900.0, longest=40.0)
>>> answer = plan(0.0, [job], Cluster.uniform(nodes=1, gpus_per_node=2), Policy())
>>> answer.verdicts[0].outcome.value, answer.verdicts[0].reason.code.value
('rejected', 'time-limit')
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ef_slurm.model import Reason, ReasonCode, Standing
from ef_slurm.planner.admission import feasible_alone
from ef_slurm.planner.share import least_share
from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.task import Task, make_task


def why_never(
    task: Task, limits: LimitBook, spaces: Mapping[str, GpuIndexSpace], now: float
) -> Reason:
    """Why not even an empty cluster finishes a job in time: what it could do without, if any."""
    job = task.job
    most, name = limits.least_limit(job)
    unlimited = replace(job, longest=math.inf)
    if feasible_alone(make_task(unlimited, spaces, most), now, task.deadline):
        return Reason(ReasonCode.TIME_LIMIT, limit=job.longest_by)
    free = replace(job, max_gpus=None, longest=math.inf)
    if not feasible_alone(make_task(free, spaces), now, task.deadline):
        at_once = replace(free, begin=-math.inf)
        if feasible_alone(make_task(at_once, spaces), now, task.deadline):
            return Reason(ReasonCode.BEGIN, until=job.begin, limit=job.begin_by)
        anywhere = replace(free, bars=())
        if job.bars and feasible_alone(make_task(anywhere, spaces), now, task.deadline):
            return Reason(ReasonCode.RESTRICTED)
        # One that has run already may have a deadline that is its limit's.
        started = bool(job.longest_by) and math.isinf(job.longest)
        code = ReasonCode.TIME_LIMIT if started else ReasonCode.TOO_LARGE
        return Reason(code, limit=job.longest_by if started else "")
    if job.max_gpus is not None and (most is None or job.max_gpus <= most):
        return Reason(ReasonCode.LIMITED, gpus=job.max_gpus, limit=job.max_gpus_by)
    return Reason(ReasonCode.LIMITED, gpus=most, limit=name)


def best_effort_reason(
    task: Task, limits: LimitBook, spaces: Mapping[str, GpuIndexSpace], now: float
) -> Reason:
    """Why a job runs as best effort: told where its time limit ends it before it is done."""
    if task.promised and not feasible_alone(task, now, task.deadline):
        reason = why_never(task, limits, spaces, now)
        if reason.code is ReasonCode.TIME_LIMIT:
            return reason
    return Reason(ReasonCode.STARTED)


def limits_in_the_way(
    refused: Iterable[Task], table: ReservationTable, now: float
) -> dict[str, str]:
    """Newcomers for which there is room, but for a limit that others use with them.

    Returns:
        By job id, the limit's name; "" for one of ef-slurm's own.
    """
    wanted = [task for task in refused if task.promised and task.job.standing is Standing.NEW]
    if not wanted or not table.limits:
        return {}
    unlimited = table.without_limits()
    plans = {task.id: least_share(task, unlimited, now, task.deadline) for task in wanted}
    names = {task.id: table.limits.in_the_way(task, plans[task.id] or ()) for task in wanted}
    return {job_id: name for job_id, name in names.items() if name is not None}
