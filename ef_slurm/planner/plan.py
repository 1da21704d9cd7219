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
from collections.abc import Sequence

from ef_slurm.model import (
    FOREVER,
    Cluster,
    IfInfeasible,
    Job,
    ModelError,
    Outcome,
    Plan,
    Policy,
    Reason,
    ReasonCode,
    Standing,
    Verdict,
)
from ef_slurm.planner.admission import admit, could_alone, earliest_deadline
from ef_slurm.planner.allocation import allocate
from ef_slurm.planner.best_effort import carry_on_best_effort
from ef_slurm.planner.explain import decisions
from ef_slurm.planner.risk import carry_on, recover
from ef_slurm.planner.timeline.gpu_index import Line, lines_of
from ef_slurm.planner.timeline.limits import LimitBook
from ef_slurm.planner.timeline.reservation_table import Ledger
from ef_slurm.planner.timeline.task import Stretch, Stretches, Task, make_task, wants_best_effort


def plan(now: float, jobs: Sequence[Job], cluster: Cluster, policy: Policy) -> Plan:
    """What every job gets at `now`, and what it is to get later.

    Args:
        now: the present, in the seconds that the jobs use.
        jobs: every unfinished job: new, waitlisted and admitted. Their order does not matter.
        cluster: the nodes, with all absences known now.
        policy: the site's choices.

    Raises:
        ModelError: two jobs with one id, a GPU type that the cluster lacks, or a `now` that is no
            time.
    """
    if not math.isfinite(now):
        raise ModelError("now", now, "seconds since the epoch")
    limits = LimitBook(policy.limits)
    lines = lines_of(cluster)
    tasks: dict[str, Task] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        if job.id in tasks:
            raise ModelError("job id", job.id, "one job per id")
        tasks[job.id] = make_task(job, lines, limits.most(job))

    admitted = [task for task in tasks.values() if task.job.standing is Standing.ADMITTED]
    promised = [task for task in admitted if task.promised]
    best_effort = [task for task in admitted if not task.promised]
    in_hand = {task.id: _stretches(task) for task in admitted}
    ledger = Ledger.of(lines, limits, now, in_hand.items())
    fallen = carry_on(promised, ledger, now, in_hand)
    if fallen:
        ledger = recover(fallen, promised, in_hand, ledger, now, policy)

    asking = [task for task in tasks.values() if task.job.standing is not Standing.ADMITTED]
    asking.sort(key=lambda task: (task.job.submitted, task.id))
    best_effort += [task for task in asking if not task.promised]
    refused = [task for task in asking if task.promised]
    shares: dict[str, tuple[int, float]] = {}
    while True:
        ledger, refused = _admissions(refused, promised, shares, ledger, now)
        settled = dict(ledger.plans)
        extras = [*best_effort, *(t for t in refused if wants_best_effort(t))]
        _share_out(promised, extras, ledger, now, policy)
        if not refused or all(ledger.plans[key] == plan for key, plan in settled.items()):
            break
        # What growth has changed may let somebody in: ask once more before saying no.
        for task in extras:
            ledger.remove(task)
        before = len(promised)
        ledger, refused = _admissions(refused, promised, shares, ledger, now)
        if len(promised) == before:
            _share_out(promised, extras, ledger, now, policy)
            break
    offers = _offers(refused, promised, extras, ledger, now, policy)
    verdicts = tuple(_verdict(task, shares, offers, limits, lines, now) for task in asking)
    for task in extras:
        task.give_up_deadline()
    everybody = [*promised, *extras]
    return Plan(
        now,
        decisions(everybody, ledger, now),
        verdicts,
        _next_change(ledger, cluster, now),
    )


def _admissions(
    asking: list[Task],
    promised: list[Task],
    shares: dict[str, tuple[int, float]],
    ledger: Ledger,
    now: float,
) -> tuple[Ledger, list[Task]]:
    """Judge one by one; whoever is admitted joins `promised`, with its share and its finish.

    Whoever was refused is asked once more after a later one was admitted: plans have changed.
    """
    while True:
        refused: list[Task] = []
        for task in asking:
            grown = admit(task, promised, ledger, now)
            if grown is None:
                refused.append(task)
                continue
            ledger = grown
            promised.append(task)
            share = max(stretch.gpus for stretch in ledger.plans[task.id])
            shares[task.id] = (share, ledger.finishes[task.id])
        if not refused or refused == asking[len(asking) - len(refused) :]:
            return ledger, refused
        asking = refused


def _share_out(
    promised: list[Task], best_effort: list[Task], ledger: Ledger, now: float, policy: Policy
) -> None:
    """Give away what the promises leave."""
    for task in best_effort:
        task.give_up_deadline()
    carry_on_best_effort(best_effort, ledger, now)
    if policy.best_effort_grows:
        allocate([*promised, *best_effort], ledger, now, policy)
    else:
        allocate(promised, ledger, now, policy)
        allocate(best_effort, ledger, now, policy)
    for task in best_effort:
        task.restore_deadline()


def _offers(
    refused: list[Task],
    promised: list[Task],
    extras: list[Task],
    ledger: Ledger,
    now: float,
    policy: Policy,
) -> dict[str, float | None]:
    """Counter-offers to newcomers, as they would be judged once this plan is carried out."""
    wanted = [task for task in refused if task.job.standing is Standing.NEW]
    if not policy.offers or not wanted:
        return {}
    after = [task.after(ledger.plans[task.id], now) for task in promised]
    then = ledger.copy()
    for task in extras:
        then.remove(task)
    return {
        task.id: earliest_deadline(task, after, then, now, policy.offer_resolution)
        for task in wanted
    }


def _stretches(task: Task) -> Stretches:
    plan = tuple(
        Stretch(segment.start, segment.end, segment.first_gpu, segment.gpus, segment.gpu_type)
        for segment in task.job.plan
    )
    if not plan and task.held is not None:
        return (task.held,)
    return plan


def _verdict(
    task: Task,
    shares: dict[str, tuple[int, float]],
    offers: dict[str, float | None],
    limits: LimitBook,
    lines: dict[str, Line],
    now: float,
) -> Verdict:
    if task.id in shares:
        share, finish = shares[task.id]
        reason = Reason(ReasonCode.STARTED, gpus=share)
        return Verdict(task.id, Outcome.PROMISED, reason, share, finish)
    if not task.promised or wants_best_effort(task):
        offer = offers.get(task.id)
        reason = Reason(ReasonCode.STARTED)
        return Verdict(task.id, Outcome.BEST_EFFORT, reason, earliest_deadline=offer)
    offer = offers.get(task.id)
    if not could_alone(task, now, task.deadline):
        reason = Reason(ReasonCode.TOO_LARGE)
        most = limits.most(task.job)
        if most is not None and could_alone(make_task(task.job, lines), now, task.deadline):
            reason = Reason(ReasonCode.LIMITED, gpus=most)
        return Verdict(task.id, Outcome.REJECTED, reason, earliest_deadline=offer)
    if task.job.if_infeasible is IfInfeasible.WAIT:
        return Verdict(
            task.id, Outcome.WAITLISTED, Reason(ReasonCode.WAITS), earliest_deadline=offer
        )
    reason = Reason(ReasonCode.REJECTED, until=offer)
    return Verdict(task.id, Outcome.REJECTED, reason, earliest_deadline=offer)


def _next_change(ledger: Ledger, cluster: Cluster, now: float) -> float:
    """The next moment at which some plan changes a share, or known capacity comes or goes."""
    moments = [
        stretch.start
        for stretches in ledger.plans.values()
        for stretch in stretches
        if stretch.start > now
    ]
    for group in cluster.groups:
        for node in group.nodes:
            for outage in node.outages:
                moments += [at for at in (outage.start, outage.end) if at > now]
    return min(moments, default=FOREVER)
