"""The plan against the facts of one job: the next step, as a pure function.

`next_step` looks at the facts as they are, not at what was done before. That makes every action
repeatable and recovery after a crash nothing special: the daemon asks again, and what has happened
already is not asked for twice. The ways in which a job changes:

- `start`: a pending job gets its block: hold → update → read back → release. If it is to begin on a
  part of its GPUs, that is ordered before.
- `vacate`: a running job leaves: order → acknowledged → requeue → held. A pause ends here; a
  reshape goes on with `start`.
- `shrink`: a running job gives up whole nodes in place. `early_shrink`: ordered to go on without
  them → acknowledged when the next launch is ready → launched → resize. Where that cannot be:
  order to stop → acknowledged → resize → relaunch.
- `settle`: a job that was ordered to stop and may stay after all is relaunched where it is.
- `relaunch`: a running job goes on with another part of its GPUs: order → acknowledged → launched
  again by its script, without Slurm.
- `live_steps.live_change`: a launch that can change its size while it runs does all that it can
  without stopping.
"""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.contract import Action, Launch, LaunchState
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.early_shrink import early_shrink
from ef_slurm.daemon.act.live_steps import (
    dismissal,
    live_change,
    part_change,
    shorter_companion,
)
from ef_slurm.daemon.act.measuring_steps import round_of, under_way
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
    Extend,
    Failed,
    Hold,
    Next,
    OrderRelaunch,
    OrderStop,
    Release,
    Requeue,
    Resize,
    Update,
    Wait,
)
from ef_slurm.daemon.observe.job_status import JobStatus, layout, layout_of, shrinks_in_place
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import Block
from ef_slurm.slurm.interface import earliest_release
from ef_slurm.slurm.pending import Holder, is_secured
from ef_slurm.slurm.refusals import is_hopeless
from ef_slurm.slurm.types import HoldKind, JobBaseState

LEAVING = frozenset({LaunchState.FINISHED, LaunchState.FAILED, LaunchState.INTERRUPTED})
"""What a batch script says before it goes."""

LEAVING_SECONDS = 5.0
"""Seconds for which that is believed of a job whose GPUs are wanted: Slurm needs one or two."""


def next_step(
    status: JobStatus, target: Block | None, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next:
    """What brings the job nearer to running on `target` (None: to holding no GPUs)."""
    job = status.slurm
    if job.is_final:
        return Done()
    dismissed = dismissal(status, target, timeouts, now)
    if dismissed is not None:
        return dismissed
    if job.is_pending and conditions.holder in (Holder.OWNER, Holder.OPERATOR):
        return Wait(
            f"{conditions.holder.value} to release it"
        )  # the next tick takes it out of plans
    if target is None:
        return vacate(status, conditions, timeouts, now)
    if not job.is_running:
        return start(status, target, conditions, timeouts, now)
    if status.holds(target):
        return settle(status, target, conditions, timeouts, now)
    measures = under_way(status, timeouts, now)
    if measures is not None:
        return measures
    live = live_change(status, target, conditions, timeouts, now)
    if live is not None:
        return live
    if status.members and layout(job) == layout_of(target):
        return shed(status, conditions, timeouts, now)
    if conditions.in_place and shrinks_in_place(job, target):
        return shrink(status, target, conditions, timeouts, now)
    return vacate(status, conditions, timeouts, now)


def start(
    status: JobStatus, block: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next:
    """The next step of a job that does not run and is to run on `block`."""
    job = status.slurm
    if job.state is JobBaseState.SUSPENDED:
        return Wait("somebody to resume it in Slurm")
    if not job.is_pending:
        return Wait("Slurm to end its last run")
    requested = status.requests(block)
    if job.hold is HoldKind.NONE:
        if conditions.released is None or not requested:
            return Do(Hold())
        patience = timeouts.hopeless if is_hopeless(job.reason) else timeouts.start
        until = conditions.released + min(patience, timeouts.start) + conditions.wake_seconds
        if now < until:
            return Wait(f"Slurm to start it ({job.reason or 'no reason given'})", until)
        return _not_started(block, job.reason)
    if conditions.holder is Holder.SLURM and requested:
        return _not_started(block, job.reason)
    if not conditions.free:
        return Wait("its GPUs to become free")
    if not (requested and conditions.updated):
        return Do(Update(block))
    found = [at for at in (status.seen_pending, status.forgotten_at) if at is not None]
    if status.forgotten and found:
        until = max(found) + timeouts.forgotten
        if now < until:
            return Wait("its nodes to end the run that Slurm has forgotten", until)
    # A job that ran before must not start within the second in which its last run was killed.
    if job.restarts and status.killed_by is not None:
        earliest = earliest_release(status.killed_by)
        if now < earliest:
            return Wait("the second of its last run's end to be over", earliest)
    if _first_part(status) != conditions.active or not _told(status, conditions.iterations):
        return Do(_relaunch(_last_generation(status), conditions))
    return Do(Release(block))


def _relaunch(generation: int, conditions: Conditions) -> OrderRelaunch:
    return OrderRelaunch(generation, conditions.active, conditions.iterations)


def _told(status: JobStatus, iterations: int | None) -> bool:
    """Whether its next launch finds how many iterations its owner wants now."""
    order = status.reports.order
    return iterations is None or (order is not None and order.iterations == iterations)


def _last_generation(status: JobStatus) -> int:
    launch = status.reports.launch
    return 0 if launch is None else launch.generation


def _first_part(status: JobStatus) -> int | None:
    """On how many of its GPUs a job that pends is ordered to begin; None for all."""
    order = status.reports.order
    if order is None or order.generation != _last_generation(status):
        return None
    return order.gpus if order.action is Action.RELAUNCH else None


def _not_started(block: Block, reason: str) -> Failed:
    nodes = ",".join(block.nodes)
    return Failed(f"Slurm does not start it on {nodes}: {reason or 'no reason given'}")


def vacate(status: JobStatus, conditions: Conditions, timeouts: Timeouts, now: float) -> Next:
    """The next step of a job that is to leave its GPUs, and to stay away from any."""
    job = status.slurm
    if job.is_pending:
        return Done() if is_secured(job.hold, conditions.hold) else Do(Hold())
    if job.state is JobBaseState.SUSPENDED and "COMPLETING" not in job.flags:
        return Do(Requeue())
    if not job.is_running:
        return Wait("Slurm to end its run")
    if status.waiting:
        return Do(Requeue())
    stop = _stop(status, conditions, timeouts, now)
    return Do(Requeue()) if isinstance(stop, Failed) else stop


def shrink(
    status: JobStatus, block: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next:
    """The next step of a running job that is to give up whole nodes and keep `block`."""
    if status.waiting:
        return Do(Resize(block))
    early = early_shrink(status, block, conditions, timeouts, now)
    if not isinstance(early, str):
        return early
    stop = _stop(status, conditions, timeouts, now)
    if isinstance(stop, Failed):
        return Do(Requeue(), stop.why)
    return replace(stop, why=f"stopped first: {early}") if isinstance(stop, Do) else stop


def shed(status: JobStatus, conditions: Conditions, timeouts: Timeouts, now: float) -> Next:
    """The next step of a running job that is to go on without its companions.

    Once its launch has ended it has its own nodes alone, and is settled there.
    """
    stop = _stop(status, conditions, timeouts, now)
    return Do(Requeue(), stop.why) if isinstance(stop, Failed) else stop


def settle(
    status: JobStatus, block: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next:
    """The next step of a running job that has what it is to have."""
    launch, relaunch = status.launch, status.relaunching
    if relaunch is not None and lately(relaunch.issued_at, timeouts.launch, now):
        return Wait("it to go on", relaunch.issued_at + timeouts.launch, reports=True)
    if launch is not None and launch.state is LaunchState.WAITING:
        return Do(_relaunch(launch.generation, conditions))
    stop = status.ordered_to_stop
    if stop is not None:
        # A job that does not obey is not looked after more closely for ever.
        lately_told = lately(stop.issued_at, max(timeouts.acknowledge, timeouts.save), now)
        return Wait("it to stop as ordered, to be relaunched where it is", reports=lately_told)
    if launch is None or launch.state is not LaunchState.RUNNING:
        return Done()
    limit = status.slurm.requested.time_limit
    if conditions.time_limit is not None and limit is not None and limit < conditions.time_limit:
        return Do(Extend(conditions.time_limit))
    shorter = shorter_companion(status, conditions.not_extended)
    if shorter is not None:
        return Do(shorter)
    return keep_part(status, launch, block, conditions, timeouts, now)


def keep_part(
    status: JobStatus,
    launch: Launch,
    block: Block,
    conditions: Conditions,
    timeouts: Timeouts,
    now: float,
) -> Next:
    """The next step of a job that trains where it is to be: on as many GPUs as it is to use?

    And to as many iterations as its owner wants now?

    It is not forced: a job that does not go on with that part of its GPUs goes on with what it has.
    """
    order, active = status.ordered_to_relaunch, conditions.active
    told = _told(status, conditions.iterations)
    measures = round_of(status, block, conditions, timeouts, now) if told else None
    if measures is not None:
        return measures
    if order is None:
        wanted = block.gpus if active is None else active
        declined = status.declined(active)
        live = None
        if told and not declined:
            live = part_change(status, block, wanted, timeouts, now)
        if live is not None:
            return live
        same = declined or status.launched_gpus in (None, wanted)
        if (same and told) or not launch.finds_orders:
            return Done()
    if order is None or order.gpus != active or not told:
        return Do(_relaunch(launch.generation, conditions))
    limit = timeouts.save if status.acknowledged else timeouts.acknowledge
    if not lately(order.issued_at, limit, now):
        # Ranks whose peers are gone without a word may wait for them for half an hour.
        gone = status.nodes_gone
        return Do(Requeue(), f"its launch does not end without {gone}") if gone else Done()
    return Wait("it to be launched again in place", order.issued_at + limit, reports=True)


def _stop(status: JobStatus, conditions: Conditions, timeouts: Timeouts, now: float) -> Next:
    """Bring the training to a durable stop. `Failed` when that cannot be waited for.

    What the job reports may make this shorter, and longer only within what the daemon's own clock
    says: a job that launches anew all the time, or is always about to go, has to go all the same.
    """
    since = now if conditions.leaving_since is None else conditions.leaving_since
    limit = timeouts.save if status.acknowledged else timeouts.acknowledge
    end = since + timeouts.launch + limit
    if now >= end:
        return Failed(f"it did not leave within {end - since:g} s")
    following = _ask_to_stop(status, since, timeouts, now)
    if isinstance(following, Wait):
        until = end if following.until is None else min(end, following.until)
        return replace(following, until=until)
    return following


def _ask_to_stop(status: JobStatus, since: float, timeouts: Timeouts, now: float) -> Next:
    job, launch = status.slurm, status.launch
    if launch is None:
        began = since if job.start_time is None else job.start_time
        until = began + timeouts.launch
        if now < until:
            return Wait("its batch script", until, reports=True)
        return Failed("no report of its script")
    if launch.state in LEAVING and now < since + LEAVING_SECONDS:
        return Wait("Slurm to end it", since + LEAVING_SECONDS)
    if status.progress is None and now >= launch.started_at + timeouts.check_in:
        return Failed("its command never reported progress: it knows nothing of orders")
    relaunch = status.relaunching
    if relaunch is not None and now < relaunch.issued_at + timeouts.launch:
        until = relaunch.issued_at + timeouts.launch
        return Wait("it to go on, to be stopped anew", until, reports=True)
    if not launch.finds_orders:
        return Failed(
            "its batch script finds no orders: it is of an older version, or was "
            "submitted with another order_root"
        )
    order = status.ordered_to_stop
    if order is None:
        return Do(OrderStop(launch.generation))
    limit = timeouts.save if status.acknowledged else timeouts.acknowledge
    until = order.issued_at + limit
    if now < until:
        what = "its checkpoint" if status.acknowledged else "its acknowledgement"
        return Wait(what, until, reports=True)
    what = "did not finish its checkpoint" if status.acknowledged else "did not acknowledge"
    return Failed(f"it {what} within {limit:g} s")
