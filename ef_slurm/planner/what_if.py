"""What would the verdict be on a job that nobody has submitted?

The same plan as for a submission, with the newcomer behind everybody else who arrived at that
moment; nothing is written, and the jobs given are not touched.

>>> from ef_slurm.model import ThroughputCurve
>>> curve = ThroughputCurve.of({1: 1.0, 2: 2.0})
>>> job = Job(NEWCOMER, 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> answer = what_if(0.0, [], job, Cluster.uniform(nodes=1, gpus_per_node=2), Policy())
>>> answer.verdict.outcome.value, answer.schedule[-1].end
('promised', 45.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ef_slurm.model import NEWCOMER, Arrivals, Cluster, Job, ModelError, Policy, Schedule, Verdict
from ef_slurm.planner.plan import plan_round
from ef_slurm.planner.waiting import WaitingList


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The verdict that a submission would get now, and its plan (empty where it gets none)."""

    verdict: Verdict
    schedule: Schedule


def what_if(
    now: float,
    jobs: Sequence[Job],
    newcomer: Job,
    cluster: Cluster,
    policy: Policy,
    waiting: WaitingList | None = None,
    arrivals: Arrivals = (),
) -> WhatIf:
    """The answer to `newcomer`, whose id is `NEWCOMER`, beside `jobs` (as `plan_round` has them).

    Raises:
        ModelError: as `plan` does, or `newcomer` goes by another id.
    """
    if newcomer.id != NEWCOMER:
        raise ModelError("id of a job that was not submitted", newcomer.id, repr(NEWCOMER))
    answer = plan_round(now, [*jobs, newcomer], cluster, policy, waiting, arrivals).plan
    verdict = next(one for one in answer.verdicts if one.job_id == NEWCOMER)
    schedules = (one.schedule for one in answer.decisions if one.job_id == NEWCOMER)
    return WhatIf(verdict, next(schedules, ()))
