"""A cluster on which plans are carried out, in virtual time, exactly as they say.

Progress follows the curves, every change of block costs its overhead in full, and whatever a plan
says is checked from the outside on the way. Nothing here uses the planner's own arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import copy
from dataclasses import replace

from ef_slurm.model import (
    Arrivals,
    Block,
    Cluster,
    Decision,
    Job,
    JobKind,
    Outcome,
    Plan,
    Policy,
    PromiseState,
    Reservation,
    Running,
    Standing,
    Verdict,
    change_kind,
    is_in_time,
)
from ef_slurm.planner.placement.free_blocks import usable_gpus
from ef_slurm.planner.plan import PlannedRound, plan_round
from ef_slurm.planner.waiting import WaitingList

ROUNDING = 1e-5
"""Seconds by which a finish may differ from the predicted one."""

DONE = 1e-6
"""A job whose remaining work takes fewer seconds is finished."""


def rate_on(job: Job, gpu_type: str, gpus: int) -> float:
    """The curve's own value at exactly this size; 0 where the job cannot run."""
    for name, curve in job.curves:
        if name == gpu_type:
            return dict(curve.points).get(gpus, 0.0)
    return 0.0


def last_moment(job: Job) -> float:
    """When the job has to be finished, grace included."""
    return math.inf if job.deadline is None else job.deadline + job.grace


def usable_sizes(job: Job, gpu_type: str) -> list[int]:
    """The sizes that no smaller size of the curve beats or equals, within the job's maximum."""
    sizes = []
    best = 0.0
    for gpus, rate in dict(job.curves)[gpu_type].points:
        if rate > best and (job.max_gpus is None or gpus <= job.max_gpus):
            sizes.append(gpus)
            best = rate
    return sizes


def block_of(reservation: Reservation, cluster: Cluster) -> Block:
    """The block of a reservation."""
    group = cluster.group(reservation.gpu_type)
    index, offset = divmod(reservation.first_gpu, group.gpus_per_node)
    count = max(1, reservation.gpus // group.gpus_per_node)
    names = tuple(node.name for node in group.nodes[index : index + count])
    return Block(reservation.gpu_type, names, reservation.gpus // count, offset)


def may_use(job: Job, block: Block) -> bool:
    """Whether nothing bars the job from a block."""
    return all(block.gpus < bar.from_gpus or bar.nodes.isdisjoint(block.nodes) for bar in job.bars)


def finish_of(job: Job, schedule: Iterable[Reservation], now: float, cluster: Cluster) -> float:
    """When a schedule carried out from `now` finishes the job, every change paid for."""
    left = job.iterations
    held = None if job.running is None else job.running.block
    trains_from = -math.inf if job.running is None else job.running.trains_from
    free_from = now
    for reservation in schedule:
        block = block_of(reservation, cluster)
        start = max(reservation.start, now)
        if start > free_from + DONE:
            held = None
        if change_kind(held, block) is not None:
            trains_from = start + job.overhead.seconds(held, block, doubles=job.doubles)
        rate = rate_on(job, reservation.gpu_type, reservation.gpus)
        trained = max(0.0, reservation.end - max(start, trains_from)) * rate
        if rate and trained >= left - DONE * rate:
            return max(start, trains_from) + left / rate
        left -= trained
        held, free_from = block, reservation.end
    return math.inf


class World:
    """Jobs on a cluster at one moment; `now` only grows."""

    def __init__(self, cluster: Cluster, policy: Policy | None = None, now: float = 0.0) -> None:
        self.cluster = cluster
        self.policy = policy or Policy()
        self.now = now
        self.jobs: dict[str, Job] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.promised: set[str] = set()
        self.finished: dict[str, float] = {}
        self.reshapes = 0
        self._waiting: WaitingList | None = None
        self.arrivals: Arrivals = ()
        self.next_change = math.inf
        self.foreseen = True  # capacity has not fallen below what was foreseen

    def __repr__(self) -> str:
        jobs = "".join(f"\n  {job}," for job in self.jobs.values())
        return f"at {self.now}\n {self.cluster}\n {self.policy}{jobs}\n"

    def copy(self) -> World:
        """Another world, the same until now."""
        twin = copy(self)
        twin.jobs, twin.verdicts = dict(self.jobs), dict(self.verdicts)
        twin.promised, twin.finished = set(self.promised), dict(self.finished)
        return twin

    def submit(self, *jobs: Job) -> Plan:
        """Jobs arrive now and are judged."""
        self.jobs.update((job.id, job) for job in jobs)
        return self.replan()

    def cancel(self, job_id: str) -> Plan:
        """A job is taken back by its owner."""
        del self.jobs[job_id]
        self.promised.discard(job_id)
        return self.replan()

    def look(self) -> Plan:
        """What the planner says now, without carrying it out."""
        return self._round().plan

    def _round(self) -> PlannedRound:
        jobs = tuple(self.jobs.values())
        return plan_round(self.now, jobs, self.cluster, self.policy, self._waiting, self.arrivals)

    def replan(self) -> Plan:
        """Ask the planner, check its answer, carry it out."""
        answer, self._waiting, self.arrivals = self._round()
        check_plan(answer, self.jobs, self.cluster, self.policy)
        for verdict in answer.verdicts:
            self._judge(verdict)
        decisions = {decision.job_id: decision for decision in answer.decisions}
        for job_id in list(self.jobs):
            self._carry_out(self.jobs[job_id], decisions.get(job_id))
        if self.foreseen:
            for job_id in self.promised:
                check_promise(decisions[job_id], self.jobs[job_id])
        self.next_change = answer.next_change
        return answer

    def _judge(self, verdict: Verdict) -> None:
        job = self.jobs[verdict.job_id]
        assert job.standing is not Standing.ADMITTED, f"{job.id} was judged before"
        self.verdicts[job.id] = verdict
        if verdict.outcome is Outcome.REJECTED:
            del self.jobs[job.id]
        elif verdict.outcome is Outcome.WAITLISTED:
            self.jobs[job.id] = replace(job, standing=Standing.WAITLISTED)
        elif verdict.outcome is Outcome.BEST_EFFORT:
            self.jobs[job.id] = replace(
                job, standing=Standing.ADMITTED, kind=JobKind.BEST_EFFORT, deadline=None, grace=0.0
            )
        else:
            self.jobs[job.id] = replace(job, standing=Standing.ADMITTED)
            self.promised.add(job.id)

    def _carry_out(self, job: Job, decision: Decision | None) -> None:
        block = None if decision is None else decision.block
        held = None if job.running is None else job.running.block
        running = job.running
        last, count = job.last_reshape, job.reshapes
        if block is None:
            running = None
        elif job.running is not None and change_kind(held, block) is None:
            running = replace(job.running, block=block)
        else:
            cost = job.overhead.seconds(held, block, doubles=job.doubles)
            running = Running(block, self.now, self.now + cost)
            if held is not None:
                last, count = self.now, count + 1
                self.reshapes += 1
        self.jobs[job.id] = replace(
            job,
            running=running,
            plan=() if decision is None else decision.schedule,
            last_reshape=last,
            reshapes=count,
        )

    def finish_time(self, job: Job) -> float:
        """When a job is finished if nothing changes."""
        if job.running is None:
            return math.inf
        rate = rate_on(job, job.running.block.gpu_type, job.running.gpus)
        return max(self.now, job.running.trains_from) + job.iterations / rate

    def advance(self, until: float) -> None:
        """Time passes; jobs end and the planner is asked again when it wanted to be."""
        while self.now < until or self.next_change <= until:
            ends = min((self.finish_time(job) for job in self.jobs.values()), default=math.inf)
            moment = max(self.now, min(until, ends, self.next_change))
            due = self.next_change <= moment
            self._train_until(moment)
            if self._finish() or due:
                self.replan()
                assert self.next_change > self.now, "the plan wants to be asked at once"

    def _train_until(self, moment: float) -> None:
        for job in list(self.jobs.values()):
            if job.running is None:
                continue
            seconds = moment - max(self.now, job.running.trains_from)
            if seconds > 0:
                rate = rate_on(job, job.running.block.gpu_type, job.running.gpus)
                left = max(DONE * rate / 2, job.iterations - seconds * rate)
                self.jobs[job.id] = replace(job, iterations=left)
        self.now = moment

    def _finish(self) -> bool:
        done = [job for job in self.jobs.values() if self._is_done(job)]
        for job in done:
            del self.jobs[job.id]
            self.finished[job.id] = self.now
            if job.id in self.promised:
                self.promised.remove(job.id)
                kept = is_in_time(self.now, last_moment(job))
                assert kept or not self.foreseen, f"{job.id} ends at {self.now}: late"
        return bool(done)

    def _is_done(self, job: Job) -> bool:
        if job.running is None:
            return False
        rate = rate_on(job, job.running.block.gpu_type, job.running.gpus)
        return job.iterations < DONE * rate and self.now >= job.running.trains_from


def check_promise(decision: Decision, job: Job) -> None:
    """A promise is kept by the plan in hand (property 2)."""
    text = f"{job.id}: {decision}"
    assert decision.promise in (PromiseState.SAFE, PromiseState.IN_GRACE), text
    assert decision.finish is not None, text
    assert is_in_time(decision.finish, last_moment(job)), text
    if decision.promise is PromiseState.SAFE and job.deadline is not None:
        assert is_in_time(decision.finish, job.deadline), text


def check_plan(answer: Plan, jobs: dict[str, Job], cluster: Cluster, policy: Policy) -> None:
    """A plan can be carried out as it stands, and says what it does (property 1)."""
    ids = [decision.job_id for decision in answer.decisions]
    assert ids == sorted(set(ids)), ids
    gone = {v.job_id for v in answer.verdicts if v.outcome is Outcome.REJECTED}
    waiting = {v.job_id for v in answer.verdicts if v.outcome is Outcome.WAITLISTED}
    waiting |= {
        job.id
        for job in jobs.values()
        if job.standing is Standing.WAITLISTED
        and job.id not in {verdict.job_id for verdict in answer.verdicts}
    }
    assert set(ids) == set(jobs) - gone - waiting, (ids, gone, waiting)
    assert answer.next_change > answer.now
    for decision in answer.decisions:
        _check_decision(decision, jobs[decision.job_id], cluster, answer.now)
    _check_capacity(answer, jobs, cluster, policy)


def _check_decision(decision: Decision, job: Job, cluster: Cluster, now: float) -> None:
    text = f"{job.id}: {decision}"
    for earlier, later in zip(decision.schedule, decision.schedule[1:], strict=False):
        assert earlier.end <= later.start + DONE, text
    for reservation in decision.schedule:
        assert reservation.gpus in usable_sizes(job, reservation.gpu_type), text
        assert reservation.end > now, text
        width = len(cluster.group(reservation.gpu_type).nodes)
        width *= cluster.group(reservation.gpu_type).gpus_per_node
        assert reservation.first_gpu + reservation.gpus <= width, text
        assert may_use(job, block_of(reservation, cluster)), text
    if job.running is None:
        assert all(one.start >= max(now, job.begin) for one in decision.schedule), text
    present = [s for s in decision.schedule if s.start <= now]
    if decision.block is None:
        assert not present, text
    else:
        assert block_of(present[0], cluster) == decision.block, text
    if decision.schedule and decision.finish is not None:
        finish = finish_of(job, decision.schedule, now, cluster)
        assert abs(finish - decision.finish) <= ROUNDING * max(1.0, abs(finish) * 1e-6), (
            f"the schedule ends at {finish}. {text}"
        )
    elif decision.finish is not None:
        raise AssertionError(f"a finish without a schedule. {text}")


def _check_capacity(answer: Plan, jobs: dict[str, Job], cluster: Cluster, policy: Policy) -> None:
    """At every moment of the plan: blocks disjoint, nodes not overfull, limits kept."""
    reservations = [(d.job_id, reservation) for d in answer.decisions for reservation in d.schedule]
    moments = {answer.now}
    moments.update(max(answer.now, reservation.start) for _, reservation in reservations)
    for group in cluster.groups:
        for node in group.nodes:
            for outage in node.outages:
                moments.update(t for t in (outage.start, outage.end) if answer.now < t < math.inf)
    for moment in sorted(moments):
        # Half-open, and a hair later: ends and starts that differ by rounding do not meet.
        at = moment + 2 * DONE
        active = [(i, s) for i, s in reservations if s.start <= at < s.end - 2 * DONE]
        _check_moment(active, cluster, at)
        for limit in policy.limits:
            held = sum(
                reservation.gpus
                for job_id, reservation in active
                if limit.owner in (None, jobs[job_id].owner)
                and limit.account in (None, jobs[job_id].account)
            )
            assert held <= limit.max_gpus, f"{limit} is passed at {moment}: {held}"
        for budget in cluster.budgets:
            taken = sum(amount for until, amount in budget.taken if at < until)
            used = sum(
                charge.of(one.gpus, -(-one.gpus // cluster.group(one.gpu_type).gpus_per_node))
                for job_id, one in active
                for charge in jobs[job_id].charges
                if charge.budget == budget.name and charge.gpu_type in (None, one.gpu_type)
            )
            kept = not used or used + taken <= budget.most + DONE
            assert kept, f"{budget} is passed at {moment}: {used}"


def _check_moment(active: list[tuple[str, Reservation]], cluster: Cluster, at: float) -> None:
    for group in cluster.groups:
        holders: dict[int, str] = {}
        for job_id, reservation in active:
            if reservation.gpu_type != group.gpu_type:
                continue
            for gpu in range(reservation.first_gpu, reservation.first_gpu + reservation.gpus):
                other = holders.setdefault(gpu, job_id)
                assert other == job_id, f"{other} and {job_id} share GPU {gpu} at {at}"
        for index, node in enumerate(group.nodes):
            first = index * group.gpus_per_node
            held = sum(first <= gpu < first + group.gpus_per_node for gpu in holders)
            usable = usable_gpus(node, group.gpus_per_node, at)
            assert held <= usable, f"{held} of {usable} usable GPUs of {node.name} held at {at}"
