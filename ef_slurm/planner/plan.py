"""The planner's one entry point.

`plan` is pure: it looks at the jobs and the cluster as they are at `now` and says what everybody
gets. Its steps are the sections of the paper, each in its own module:

1. `risk`: do the plans in hand still hold? If not, who can be saved.
2. `admission`: newcomers and the waitlist, one by one.
3. `allocation`: left-over GPUs to the highest marginal return, best-effort jobs included.
4. `explain`: what changed, and why.

The caller asks at every arrival, completion and change of capacity and at `Plan.next_change`. It
hands every job's last `Decision.schedule` back as `Job.plan` and what the job holds as
`Job.running`.

>>> from ef_slurm.model import Cluster, Job, Policy, ThroughputCurve
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.8, 4: 3.0})
>>> job = Job("a", 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> answer = plan(0.0, [job], Cluster.uniform(nodes=1, gpus_per_node=4), Policy())
>>> answer.verdicts[0].outcome, answer.verdicts[0].share  # 2 GPUs are enough
(<Outcome.PROMISED: 'promised'>, 2)
>>> answer.decision("a").gpus, answer.decision("a").finish  # but nobody else needs the rest
(4, 30.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ef_slurm.model import (
    FOREVER,
    Arrivals,
    Cluster,
    IfInfeasible,
    Job,
    ModelError,
    Outcome,
    Plan,
    Policy,
    Reason,
    ReasonCode,
    Reservation,
    Schedule,
    Standing,
    Verdict,
)
from ef_slurm.planner.admission import Promises, Trial, earliest_deadline, feasible_alone
from ef_slurm.planner.allocation import allocate
from ef_slurm.planner.best_effort import revalidate_best_effort
from ef_slurm.planner.explain import decisions
from ef_slurm.planner.prices import Market, noted
from ef_slurm.planner.refusal import best_effort_reason, limits_in_the_way, why_never
from ef_slurm.planner.risk import recover, rescue, revalidate
from ef_slurm.planner.share import least_share
from ef_slurm.planner.timeline.gpu_index import GpuIndexSpace, index_spaces
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.planner.timeline.promise_book import Exceeded, PromiseBook
from ef_slurm.planner.timeline.reservation_table import ReservationTable
from ef_slurm.planner.timeline.task import Task, make_task, wants_best_effort
from ef_slurm.planner.timeline.worth import type_worth
from ef_slurm.planner.waiting import Questions, WaitingList, questions


def plan(now: float, jobs: Sequence[Job], cluster: Cluster, policy: Policy) -> Plan:
    """What every job gets at `now`, and what it is to get later; see `plan_round`."""
    return plan_round(now, jobs, cluster, policy).plan


CHEAP_SHRINK = 0.5
"""The part of a restart's cost up to which a shrink in place is worth to be made possible."""


class PlannedRound(NamedTuple):
    """A plan, and what to hand to the next round: who waits, and who has arrived so far."""

    plan: Plan
    waiting: WaitingList
    arrivals: Arrivals


def plan_round(
    now: float,
    jobs: Sequence[Job],
    cluster: Cluster,
    policy: Policy,
    waiting: WaitingList | None = None,
    arrivals: Arrivals = (),
) -> PlannedRound:
    """One round of many: the plan, and what to hand to the next round.

    Args:
        now: the present, in the seconds that the jobs use.
        jobs: every unfinished job: new, waitlisted and admitted. Their order does not matter.
        cluster: the nodes, with all outages known now.
        policy: the site's choices.
        waiting, arrivals: what the last round has given back, if there was one.

    Raises:
        ModelError: two jobs with one id, a GPU type that the cluster lacks, or a `now` that is no
            time.
    """
    if not math.isfinite(now):
        raise ModelError("now", now, "seconds since the epoch")
    limits = LimitBook(policy.limits, cluster.budgets)
    spaces = index_spaces(cluster)
    worth = type_worth(jobs) if len(spaces) > 1 else {}
    tasks: dict[str, Task] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        if job.id in tasks:
            raise ModelError("job id", job.id, "one job per id")
        tasks[job.id] = make_task(job, spaces, limits.most(job), worth)

    admitted = [task for task in tasks.values() if task.job.standing is Standing.ADMITTED]
    promised = [task for task in admitted if task.promised]
    committed = {task.id: _committed_schedule(task) for task in admitted}
    table = ReservationTable.of(spaces, limits, now, committed.values(), _heads(admitted))
    infeasible = revalidate(promised, table, now, committed)
    if infeasible:
        table = recover(infeasible, promised, committed, table, now, policy)
    table = rescue(promised, table, now, policy)

    candidates = [task for task in tasks.values() if task.job.standing is not Standing.ADMITTED]
    candidates.sort(key=lambda task: (task.job.submitted, task.id))
    no_deadline = [task for task in (*admitted, *candidates) if not task.promised]
    arrivals = noted(arrivals, candidates, policy)
    market = Market(arrivals, cluster, now, policy)
    wanting = [task for task in candidates if task.promised]
    asks = {task.id: market.too_dear(task) for task in wanting}
    dear = {job_id: value for job_id, value in asks.items() if value is not None}
    refused = [task for task in wanting if task.id not in dear]
    shares: dict[str, tuple[int, float]] = {}
    book = PromiseBook(policy.promise_limits, promised, now)
    limited: dict[str, Exceeded] = {}
    asked = questions(waiting, [task.job for task in refused], table.plans, cluster, now)
    while True:
        table, refused = _admissions(refused, promised, shares, table, book, limited, asked)
        settled = dict(table.plans)
        unpromised = [task for task in wanting if task.id not in shares]
        best_effort = [*no_deadline, *filter(wants_best_effort, unpromised)]
        _share_out(promised, best_effort, table, now, policy)
        if not refused or all(table.plans[key] == plan for key, plan in settled.items()):
            break
        # What growth has changed may let somebody in: ask once more before saying no.
        for task in best_effort:
            table.remove(task)
        before = len(promised)
        table, refused = _admissions(
            refused, promised, shares, table, book, limited, asked, plans_changed=True
        )
        if len(promised) == before:
            _share_out(promised, best_effort, table, now, policy)
            break
    # Offers need the deadlines that those who run as best effort give up for their decisions.
    unpromised = [task for task in wanting if task.id not in shares]
    offerable = [task for task in unpromised if task.id not in limited]
    offers = _offers(offerable, promised, best_effort, table, now, policy, market)
    carried = _carried(offerable, dear, promised, best_effort, table, now)
    absent = _without_the_absent(unpromised, table, now)
    beside = limits_in_the_way(unpromised, table, now)
    verdicts = tuple(
        _verdict(task, shares, offers, limits, limited, carried, absent, beside, spaces, now)
        for task in candidates
    )
    for task in best_effort:
        task.give_up_deadline()
    answer = Plan(
        now,
        decisions([*promised, *best_effort], table, now),
        verdicts,
        _next_change(table, cluster, tasks.values(), now),
    )
    plans = {task.id: table.plans[task.id] for task in promised}
    # A limit may let somebody in who was refused for it as time goes by: that is always looked at.
    unlimited = (task.job for task in refused if task.id not in limited)
    return PlannedRound(answer, asked.remembered(cluster, plans, unlimited), arrivals)


def _admissions(
    candidates: list[Task],
    promised: list[Task],
    shares: dict[str, tuple[int, float]],
    table: ReservationTable,
    book: PromiseBook,
    limited: dict[str, Exceeded],
    asked: Questions,
    *,
    plans_changed: bool = False,
) -> tuple[ReservationTable, list[Task]]:
    """Judge one by one; whoever is admitted joins `promised`, with its share and its finish.

    Whoever was refused is asked once more after the plans of others were changed for a later one.

    Args:
        limited: whoever is refused for what was promised to its owner or account is noted here.
        asked: who is asked, and how.
        plans_changed: whether plans have changed since.
    """
    promises = Promises(promised, table, asked.now)
    while True:
        refused: list[Task] = []
        for task in candidates:
            in_full = task.id in asked.in_full
            if not plans_changed and task.id not in asked.looked_at:
                refused.append(task)
                continue
            exceeded = book.exceeded(task)
            if exceeded is not None:
                limited[task.id] = exceeded
            if exceeded is not None or not promises.admit(task, jointly=in_full):
                refused.append(task)
                continue
            table = promises.table
            book.add(task)
            share = max(reservation.gpus for reservation in table.plans[task.id])
            shares[task.id] = (share, table.finishes[task.id])
        if not refused or not promises.rearranged:
            return promises.table, refused
        candidates, plans_changed, promises.rearranged = refused, True, False


def _share_out(
    promised: list[Task],
    best_effort: list[Task],
    table: ReservationTable,
    now: float,
    policy: Policy,
) -> None:
    """Give away what the promises leave."""
    for task in best_effort:
        task.give_up_deadline()
    revalidate_best_effort(best_effort, table, now)
    if policy.best_effort_grows:
        allocate([*promised, *best_effort], table, now, policy)
    else:
        allocate(promised, table, now, policy)
        allocate(best_effort, table, now, policy)
    for task in best_effort:
        task.restore_deadline()


def _offers(
    refused: list[Task],
    promised: list[Task],
    best_effort: list[Task],
    table: ReservationTable,
    now: float,
    policy: Policy,
    market: Market,
) -> dict[str, float | None]:
    """Counter-offers to newcomers, as they would be judged once this plan is carried out."""
    wanted = [task for task in refused if task.job.standing is Standing.NEW]
    if not policy.offers or not wanted:
        return {}
    after, then = _carried_out(promised, best_effort, table, now)
    step = policy.offer_resolution
    return {
        task.id: earliest_deadline(task, after, then, now, step, market.worthy_from(task, step))
        for task in wanted
    }


def _carried(
    refused: list[Task],
    dear: dict[str, float],
    promised: list[Task],
    best_effort: list[Task],
    table: ReservationTable,
    now: float,
) -> dict[str, float]:
    """What is asked of the cluster by newcomers that nothing but their price keeps out."""
    wanted = [task for task in refused if task.id in dear and task.job.standing is Standing.NEW]
    if not wanted:
        return {}
    after, then = _carried_out(promised, best_effort, table, now)
    return {
        task.id: dear[task.id]
        for task in wanted
        if Trial(task, after, then, now).admits(task.deadline)
    }


def _carried_out(
    promised: list[Task], best_effort: list[Task], table: ReservationTable, now: float
) -> tuple[list[Task], ReservationTable]:
    """The jobs with a promise and their plans, once this plan is carried out."""
    then = table.copy()
    for task in best_effort:
        then.remove(task)
    return [task.after(table.plans[task.id], now) for task in promised], then


def _heads(tasks: Iterable[Task]) -> Iterator[Reservation]:
    """The blocks of jobs that are made smaller in place for a small part of what a restart costs.

    They are the jobs that change their size while they train.
    """
    for task in tasks:
        overhead = task.job.overhead
        cheap = overhead.restart > 0.0 and overhead.shrink <= CHEAP_SHRINK * overhead.restart
        if task.current is not None and cheap:
            yield task.current


def _committed_schedule(task: Task) -> Schedule:
    """The plan in hand; for a job without one, what it holds, without an end.

    A plan on GPUs of a type that the cluster no longer has is none.
    """
    plan = task.job.plan
    for reservation in plan:
        if reservation.gpu_type not in task.spaces:
            plan = ()
            break
    if not plan and task.current is not None:
        return (task.current,)
    return plan


def _without_the_absent(refused: list[Task], table: ReservationTable, now: float) -> dict[str, int]:
    """Newcomers that even a cluster without other jobs of ours would not finish in time.

    Returns:
        By job id, the GPUs that it could use now.
    """
    wanted = [task for task in refused if task.promised and task.job.standing is Standing.NEW]
    if not wanted or not any(
        node.outages or node.wake_seconds
        for space in table.spaces.values()
        for node in space.group.nodes
    ):
        return {}
    bare = table.blank()
    return {
        task.id: sum(table.spaces[kind].usable_at(now) for kind in task.envelopes)
        for task in wanted
        if least_share(task, bare, now, task.deadline) is None
    }


def _verdict(
    task: Task,
    shares: dict[str, tuple[int, float]],
    offers: dict[str, float | None],
    limits: LimitBook,
    limited: dict[str, Exceeded],
    carried: dict[str, float],
    absent: dict[str, int],
    beside: dict[str, str],
    spaces: dict[str, GpuIndexSpace],
    now: float,
) -> Verdict:
    if task.id in shares:
        share, finish = shares[task.id]
        reason = Reason(ReasonCode.STARTED, gpus=share)
        return Verdict(task.id, Outcome.PROMISED, reason, share, finish)
    exceeded = limited.get(task.id)
    beyond = None
    if exceeded is not None:
        beyond = Reason(
            ReasonCode.LIMITED, gpu_hours=exceeded.gpu_hours, gpu_hours_limit=exceeded.limit
        )
    offer = offers.get(task.id)
    if task.id in carried:
        beyond = Reason(ReasonCode.PRICED, until=offer, worth=carried[task.id])
    if not task.promised or wants_best_effort(task):
        reason = beyond or best_effort_reason(task, limits, spaces, now)
        return Verdict(task.id, Outcome.BEST_EFFORT, reason, earliest_deadline=offer)
    if not feasible_alone(task, now, task.deadline):
        reason = why_never(task, limits, spaces, now)
        return Verdict(task.id, Outcome.REJECTED, reason, earliest_deadline=offer)
    if beyond is None and task.id in beside:
        # No other user's promise is in its way.
        beyond = Reason(ReasonCode.LIMITED, until=offer, limit=beside[task.id])
    if beyond is None and task.id in absent:
        # Nobody else's promise is in its way.
        beyond = Reason(ReasonCode.UNAVAILABLE, gpus=absent[task.id], until=offer)
    if task.job.if_infeasible is IfInfeasible.WAIT:
        reason = beyond or Reason(ReasonCode.WAITS)
        return Verdict(task.id, Outcome.WAITLISTED, reason, earliest_deadline=offer)
    full = Reason(ReasonCode.REJECTED, until=offer)
    if task.job.bars:
        full = Reason(ReasonCode.RESTRICTED, until=FOREVER if offer is None else offer)
    reason = beyond or full
    return Verdict(task.id, Outcome.REJECTED, reason, earliest_deadline=offer)


def _next_change(
    table: ReservationTable, cluster: Cluster, tasks: Iterable[Task], now: float
) -> float:
    """The next moment of a change: of a share, of known capacity, or of who may begin."""
    moments = [
        reservation.start
        for schedule in table.plans.values()
        for reservation in schedule
        if reservation.start > now
    ]
    moments += [begin for begin in (task.earliest(now) for task in tasks) if begin > now]
    for group in cluster.groups:
        for node in group.nodes:
            for outage in node.outages:
                moments += [at for at in (outage.start, outage.end) if at > now]
    return min(moments, default=FOREVER)
