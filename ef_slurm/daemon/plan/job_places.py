"""Places in Slurm's limits of how many jobs run at a time: a companion takes one, as any job does.

A job that grows by companions takes as many more, and whoever shares the limit with it has fewer:
its owner's other jobs, or everybody of an account. So plans count them, and no companion is brought
where jobs would have to wait for its place. Half of each limit stays free of companions: growth is
for what is left over, and must not be what the next job is refused for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ef_slurm.daemon.observe.capacity import end_of
from ef_slurm.daemon.observe.observer import Observer
from ef_slurm.daemon.observe.site_limits import SiteLimits
from ef_slurm.daemon.plan.slurm_limits import asker_of, is_member
from ef_slurm.model import QueueJob
from ef_slurm.slurm.limits import JOBS, Shared
from ef_slurm.slurm.types import Observation

COMPANIONS_SHARE = 0.5
"""The part of such a limit that jobs and companions may take together for one more companion."""


def places_of_companions(
    jobs: Iterable[QueueJob], observer: Observer, site: SiteLimits
) -> Mapping[str, Sequence[float]]:
    """Until when companions take places, epoch seconds, by the words of each limit that they do in.

    A companion ends with its job, which may be at that one's time limit.
    """
    places: dict[str, list[float]] = defaultdict(list)
    seen = observer.observation
    for job in jobs:
        companions = observer.companions_of(job.id)
        if not companions:
            continue
        slurm = seen.jobs.get(job.request.slurm_job_id)
        end = 0.0 if slurm is None else end_of(slurm, seen.at)
        for limit in _limits_of_jobs(job, site):
            places[limit.words] += [end] * len(companions)
    return places


def lacks_place(job: QueueJob, jobs: Iterable[QueueJob], observer: Observer) -> str:
    """The limit, in its words, that has no place for one more companion of a job; "" for none.

    Args:
        jobs: all that are active, this one among them.
    """
    jobs = tuple(jobs)
    site = observer.limits({one.request.owner for one in jobs})
    limits = tuple(_limits_of_jobs(job, site))
    if not limits:
        return ""
    taken = dict.fromkeys((limit.words for limit in limits), 1)
    for one in jobs:
        places = 1 + len(observer.companions_of(one.id))
        for limit in _limits_of_jobs(one, site):
            if limit.words in taken:
                taken[limit.words] += places
    ours = {one.request.slurm_job_id for one in jobs} | observer.companion_ids
    for limit in limits:
        others = _others(limit, observer.observation, ours)
        if taken[limit.words] + others > COMPANIONS_SHARE * limit.amount:
            return limit.words
    return ""


def _limits_of_jobs(job: QueueJob, site: SiteLimits) -> Iterator[Shared]:
    limits = site.of(asker_of(job.request, job.slurm_settings))
    return (limit for limit in limits.shared if limit.tres == JOBS)


def _others(limit: Shared, seen: Observation, ours: Iterable[int]) -> int:
    return sum(
        is_member(limit, job, dict(job.settings).get("QOS", ""))
        for job in seen.jobs.values()
        if job.holds_nodes and job.job_id not in ours
    )
