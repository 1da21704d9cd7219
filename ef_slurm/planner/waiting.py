"""Who was refused, and beside which plans: not asked again before something could let them in.

On a full cluster most rounds change nothing for those who wait: somebody has arrived. What is left
for them only gets less with time, so whoever was refused beside the same plans would be refused
again. Reasons to ask are a plan that ends earlier than it was to, or that stands on other GPUs, and
nodes that were not there. Where plans have ended as they were to, all plans made anew would be no
others than before; but what is free at this moment is searched more closely than the future (gaps
between two plans, scattered GPUs): only that is looked at.

>>> from ef_slurm.model import Reservation
>>> held = {"a": (Reservation(0.0, 100.0, 1, "gpu"),)}
>>> change_of(held, held, now=50.0), change_of(held, {}, now=100.0)
(<Change.NONE: 0>, <Change.ENDS: 1>)
>>> change_of(held, {}, now=50.0)  # it has ended 50 s early
<Change.FREED: 2>
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ef_slurm.model import Cluster, Job, Schedule, Standing
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS

SLACK_SECONDS = 1.0
SLACK = 0.01
"""A plan that ends earlier by less than a second, or than this part of what is left of it, frees
nothing worth asking for. Drift adds up: it is compared with the plan beside which was asked."""


MOST_AGAIN = 8
"""Of those who wait, so many are asked in one round whether all plans made anew would let them in:
it is the dearest of the questions, and a verdict must not wait for it."""

MOST_PLANS = 480
"""Fewer than `MOST_AGAIN`, down to one, where all plans together would be more than this."""


class Change(enum.IntEnum):
    """What has become of plans, the least first."""

    NONE = 0  # they stand
    ENDS = 1  # some have ended, when they were to
    FREED = 2  # GPU time has become free that was not to


@dataclass(frozen=True, slots=True)
class Refused:
    """A job that was refused.

    Args:
        job: as it asked.
        asked: when it was last asked in full.
        owed: what has changed since.
    """

    job: Job
    asked: float
    owed: Change = Change.NONE


@dataclass(frozen=True, slots=True)
class WaitingList:
    """Jobs that were refused, and beside what.

    Args:
        cluster: the nodes.
        plans: the plans of the jobs with a promise, by id.
        refused: those who were refused, by id.
    """

    cluster: Cluster
    plans: Mapping[str, Schedule] = field(default_factory=dict)
    refused: Mapping[str, Refused] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Questions:
    """Who is to be asked in a round, and how.

    Args:
        now: the round's time.
        known: those who were refused before, with what is owed to them now.
        looked_at: ids of those for whom what is free now is looked at.
        in_full: ids of those for whom, besides, all plans are made anew.
    """

    now: float
    known: Mapping[str, Refused]
    looked_at: frozenset[str]
    in_full: frozenset[str]

    def remembered(
        self, cluster: Cluster, plans: Mapping[str, Schedule], refused: Iterable[Job]
    ) -> WaitingList:
        """What to hand to the next round.

        Args:
            plans: of the jobs with a promise, by id.
            refused: who was refused beside them.
        """
        return WaitingList(
            cluster,
            plans,
            {
                job.id: Refused(job, self.now) if job.id in self.in_full else self.known[job.id]
                for job in refused
            },
        )


def questions(
    waiting: WaitingList | None,
    jobs: Sequence[Job],
    plans: Mapping[str, Schedule],
    cluster: Cluster,
    now: float,
) -> Questions:
    """Whom to ask of those who have no promise.

    Args:
        waiting: what the last round remembered, if it did.
        jobs: those who want a promise and have none.
        plans: of those who have one.
        cluster: the nodes.
        now: the present, seconds.
    """
    change = Change.FREED
    known: dict[str, Refused] = {}
    asked_before = waiting is not None and any(job.id in waiting.refused for job in jobs)
    if waiting is not None and asked_before and cluster == waiting.cluster:
        change = change_of(waiting.plans, plans, now)
    for job in jobs:
        before = None if waiting is None else waiting.refused.get(job.id)
        if before is not None and _asks_the_same(job, before.job):
            begun = before.asked < job.begin <= now  # what is free now is searched more closely
            since = Change.FREED if begun else change
            known[job.id] = replace(before, owed=max(since, before.owed))
        elif job.standing is Standing.WAITLISTED:
            known[job.id] = Refused(job, -math.inf, Change.FREED)
    new = [job.id for job in jobs if job.id not in known]
    owed = [one for one in known.values() if one.owed is not Change.NONE]
    owed.sort(key=lambda one: (one.asked, one.job.submitted, one.job.id))
    most = max(1, min(MOST_AGAIN, MOST_PLANS // max(1, len(plans))))
    in_full = frozenset([*new, *(one.job.id for one in owed[:most])])
    looked_at = in_full if change is Change.NONE else in_full | known.keys()
    return Questions(now, known, looked_at, in_full)


def change_of(before: Mapping[str, Schedule], after: Mapping[str, Schedule], now: float) -> Change:
    """What has become of plans at `now`; what has come to them does not count."""
    change = Change.NONE
    for key, plan in before.items():
        found = _change(plan, after.get(key, ()), now)
        if found is Change.FREED:
            return found
        if found is Change.ENDS:
            change = found
    return change


def _change(before: Schedule, after: Schedule, now: float) -> Change:
    left = [reservation for reservation in before if reservation.end > now + SLACK_SECONDS]
    if len(left) != len(after):
        # What rounding has left without any length may be gone.
        return Change.FREED if left else Change.ENDS
    for old, new in zip(left, after, strict=True):
        slack = max(SLACK_SECONDS, SLACK * (old.end - now))
        if not old.same_block(new) or new.end < old.end - slack:
            return Change.FREED
        if new.start > max(old.start, now) + EDGE_SECONDS:
            return Change.FREED
    return Change.NONE if len(left) == len(before) else Change.ENDS


def _asks_the_same(job: Job, before: Job) -> bool:
    """Whether a job that waits is in all that a verdict hangs on what it was."""
    return (
        job.deadline == before.deadline
        and job.grace == before.grace
        and job.iterations == before.iterations
        and job.curves == before.curves
        and job.max_gpus == before.max_gpus
        and job.bars == before.bars
        and job.overhead == before.overhead
        and job.begin == before.begin
    )
