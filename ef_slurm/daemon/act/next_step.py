"""The plan against the facts of one job: the next step, as a pure function.

`next_step` looks at the facts as they are, not at what was done before. That makes every action
repeatable and recovery after a crash nothing special: the daemon asks again, and what has happened
already is not asked for twice. The ways in which a job changes:

- `start`: a pending job gets its block: hold → update → read back → release.
- `vacate`: a running job leaves: order → acknowledged → requeue → held. A pause ends here; a
  reshape goes on with `start`.
- `shrink`: a running job gives up whole nodes in place: order → acknowledged → resize → relaunch.
- `settle`: a job that was ordered to stop and may stay after all is relaunched where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.contract import LaunchState
from ef_slurm.daemon.act.steps import (
    Do,
    Done,
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
from ef_slurm.daemon.observe.job_status import Facts, gives_up_nodes
from ef_slurm.model import Block
from ef_slurm.slurm.interface import earliest_release
from ef_slurm.slurm.types import HoldKind, JobBaseState


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each party may take, in seconds.

    Args:
        acknowledge: from the order to the training's agreement to stop.
        save: from the order to the end of the step, once it has agreed.
        check_in: from the launch to the training's first report; a command that has not reported by
            then is taken for one that knows nothing of orders.
        start: from the release to RUNNING.
        launch: from RUNNING, or from a relaunch order, to the batch script's report.
        forgotten: from when a run that Slurm has forgotten was first seen to pend, until its nodes
            have told slurmctld and been told to end it. A start before that is a "Duplicate jobid",
            for which Slurm drains the node.
    """

    acknowledge: float = 30.0
    save: float = 300.0
    check_in: float = 120.0
    start: float = 60.0
    launch: float = 30.0
    forgotten: float = 20.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What the facts of one job do not say by themselves.

    Args:
        free: whether every GPU of the block that it is to get is free, or held by itself.
        updated: whether Slurm has read the block's shape back to us since the job was last seen
            pending.
        released: when we released it with that shape for its present run; None if we did not.
        in_place: whether it may give up nodes without a requeue.
        hold: the hold that it must be in while it has no GPUs: an operator's, so that its owner
            cannot release it, or the owner's own where the daemon is not an operator.
    """

    free: bool = True
    updated: bool = False
    released: float | None = None
    in_place: bool = True
    hold: HoldKind = HoldKind.ADMIN


def next_step(
    facts: Facts, target: Block | None, situation: Situation, patience: Patience, now: float
) -> Next:
    """What brings the job nearer to running on `target` (None: to holding no GPUs)."""
    job = facts.slurm
    if job.is_final:
        return Done()
    if target is None:
        return vacate(facts, situation, patience, now)
    if not job.is_running:
        return start(facts, target, situation, patience, now)
    if facts.holds(target):
        return settle(facts, patience, now)
    if situation.in_place and gives_up_nodes(job, target):
        return shrink(facts, target, patience, now)
    return vacate(facts, situation, patience, now)


def start(facts: Facts, block: Block, situation: Situation, patience: Patience, now: float) -> Next:
    """The next step of a job that does not run and is to run on `block`."""
    job = facts.slurm
    if job.state is JobBaseState.SUSPENDED:
        return Wait("somebody to resume it in Slurm")
    if not job.is_pending:
        return Wait("Slurm to end its last run")
    asked = facts.asks_for(block)
    if job.hold is HoldKind.NONE:
        if situation.released is None or not asked:
            return Do(Hold())
        reason = job.reason or "no reason given"
        until = situation.released + patience.start
        return (
            Wait(f"Slurm to start it ({reason})", until)
            if now < until
            else Failed(f"Slurm does not start it on {','.join(block.nodes)}: {reason}")
        )
    if not situation.free:
        return Wait("its GPUs to become free")
    if not (asked and situation.updated):
        return Do(Update(block))
    if facts.forgotten and facts.seen_pending is not None:
        until = facts.seen_pending + patience.forgotten
        if now < until:
            return Wait("its nodes to end the run that Slurm has forgotten", until)
    # A job that ran before must not start within the second in which its last run ended.
    if job.restarts and facts.seen_pending is not None:
        earliest = earliest_release(facts.seen_pending)
        if now < earliest:
            return Wait("the next whole second", earliest)
    return Do(Release(block))


def vacate(facts: Facts, situation: Situation, patience: Patience, now: float) -> Next:
    """The next step of a job that is to leave its GPUs, and to stay away from any."""
    job = facts.slurm
    if job.is_pending:
        held = job.hold in (HoldKind.ADMIN, situation.hold)
        return Done() if held else Do(Hold())
    if job.state is JobBaseState.SUSPENDED and "COMPLETING" not in job.flags:
        return Do(Requeue())
    if not job.is_running:
        return Wait("Slurm to end its run")
    if facts.waiting:
        return Do(Requeue())
    stop = _stop(facts, patience, now)
    return Do(Requeue()) if isinstance(stop, Failed) else stop


def shrink(facts: Facts, block: Block, patience: Patience, now: float) -> Next:
    """The next step of a running job that is to give up whole nodes and keep `block`."""
    if facts.waiting:
        return Do(Resize(block))
    stop = _stop(facts, patience, now)
    return Do(Requeue()) if isinstance(stop, Failed) else stop


def settle(facts: Facts, patience: Patience, now: float) -> Next:
    """The next step of a running job that has what it is to have."""
    launch, relaunch = facts.launch, facts.relaunching
    if relaunch is not None and now < relaunch.issued_at + patience.launch:
        return Wait("it to go on", relaunch.issued_at + patience.launch, reports=True)
    if launch is not None and launch.state is LaunchState.WAITING:
        return Do(OrderRelaunch(launch.generation))
    if facts.ordered_to_stop is not None:
        return Wait("it to stop as ordered, to be relaunched where it is", reports=True)
    return Done()


def _stop(facts: Facts, patience: Patience, now: float) -> Next:
    """Bring the training to a durable stop. `Failed` when that cannot be waited for."""
    job, launch = facts.slurm, facts.launch
    if launch is None:
        began = job.start_time if job.start_time is not None else now
        until = began + patience.launch
        if now < until:
            return Wait("its batch script", until, reports=True)
        return Failed("no report of its script")
    if launch.state in (LaunchState.FINISHED, LaunchState.FAILED, LaunchState.INTERRUPTED):
        return Wait("Slurm to end it")
    if facts.progress is None and now >= launch.started_at + patience.check_in:
        return Failed("its command never reported progress: it knows nothing of orders")
    relaunch = facts.relaunching
    if relaunch is not None and now < relaunch.issued_at + patience.launch:
        until = relaunch.issued_at + patience.launch
        return Wait("it to go on, to be stopped anew", until, reports=True)
    order = facts.ordered_to_stop
    if order is None:
        return Do(OrderStop(launch.generation))
    limit = patience.save if facts.acknowledged else patience.acknowledge
    until = order.issued_at + limit
    if now < until:
        what = "its checkpoint" if facts.acknowledged else "its acknowledgement"
        return Wait(what, until, reports=True)
    what = "did not finish its checkpoint" if facts.acknowledged else "did not acknowledge"
    return Failed(f"it {what} within {limit:g} s")
