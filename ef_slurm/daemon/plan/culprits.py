"""A plan for everybody but those with whom the planner fails.

A planner that raises is a fault of ours. It must not be one that the owner of a single job can make
everybody's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ef_slurm.daemon.fence import concerns_everybody
from ef_slurm.model import Cluster, Job, Standing

Answer = TypeVar("Answer")

MAX_TRIES = 50
"""Plans that are tried at most to find out whose fault it is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned(Generic[Answer]):
    """A plan and what it was made from. `culprits`: planner ids and errors of jobs left out."""

    answer: Answer
    cluster: Cluster
    jobs: tuple[Job, ...]
    culprits: tuple[tuple[str, Exception], ...] = ()


def plan_without_culprits(
    jobs: tuple[Job, ...],
    cluster_without: Callable[[Collection[str]], Cluster],
    make: Callable[[tuple[Job, ...], Cluster], Answer],
) -> Planned[Answer] | None:
    """A plan for all of the jobs; else for as many as there is one for; None if that is unknown.

    Args:
        cluster_without: the cluster as it is for the others, when these jobs (planner ids) are left
            out: what they hold is as good as somebody else's.
        make: the planner, for jobs on a cluster.
    """

    def attempt(some: Sequence[Job]) -> Planned[Answer]:
        kept = {job.id for job in some}
        cluster = cluster_without([job.id for job in jobs if job.id not in kept])
        return Planned(make(tuple(some), cluster), cluster, tuple(some))

    try:
        return attempt(jobs)
    except Exception as error:
        if concerns_everybody(error):
            raise
        _log.exception("no plan can be made for all %d jobs", len(jobs))
        failure = error
    known = [job for job in jobs if job.standing is not Standing.NEW]
    found = _without_one(known, attempt, failure)
    if found is None:
        return None
    culprits = list(found.culprits)
    for newcomer in [job for job in jobs if job.standing is Standing.NEW][:MAX_TRIES]:
        try:
            found = attempt((*found.jobs, newcomer))
        except Exception as error:
            if concerns_everybody(error):
                raise
            culprits.append((newcomer.id, error))
    return Planned(found.answer, found.cluster, found.jobs, tuple(culprits))


def _without_one(
    known: list[Job], attempt: Callable[[Sequence[Job]], Planned[Answer]], failure: Exception
) -> Planned[Answer] | None:
    """A plan for those for whom there was one before, or for all of them but one."""
    for left_out in [None, *known[:MAX_TRIES]]:
        try:
            found = attempt([job for job in known if job is not left_out])
        except Exception as error:
            if concerns_everybody(error):
                raise
            continue
        culprits = () if left_out is None else ((left_out.id, failure),)
        return Planned(found.answer, found.cluster, found.jobs, culprits)
    return None
