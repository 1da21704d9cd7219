"""A shrink during whose preparation the job trains on, as pure functions.

The launch that follows is ordered on the nodes that stay, the first ones of the allocation. The
batch script starts its servers there beside the launch that runs, which stops when they are ready
(`templates/next.sh.j2`), and the next one goes on at once. Then no process is left on the other
nodes, and they are given back under it. Whatever is not as it should be: the job stops first, as
ever.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from ef_slurm.contract import Launch, LaunchState, Phase
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.steps import Do, GiveBack, OrderRelaunch, Wait
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.model import Block, JobKind, PromiseState, QueueJob

TRAINS = frozenset({Phase.RUNNING, Phase.EVALUATING})


def early_shrink(
    status: JobStatus, block: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Do | Wait | str:
    """The next step of a running job that is to keep `block`, whole nodes of those that it holds.

    Returns:
        A text: why it has to stop first.
    """
    launch, progress = status.launch, status.progress
    if timeouts.ready <= 0.0:
        return "nothing is to be prepared"
    if launch is None or launch.state is not LaunchState.RUNNING:
        return "no launch of it runs"
    if status.members:
        return "it has companions"
    if status.ordered_to_stop is not None:
        return "it was ordered to stop"
    gpus = block.gpus if conditions.active is None else conditions.active
    order = status.ordered_to_relaunch
    if order is not None and order.gpus != gpus:
        return "it was ordered to go on otherwise"
    since = now if conditions.leaving_since is None else conditions.leaving_since
    if order is not None:
        patience = timeouts.save if status.acknowledged else 0.0
        until = min(order.issued_at, since) + timeouts.ready + patience
        if now < until:
            what = "its checkpoint" if status.acknowledged else "its next launch to be ready"
            return Wait(what, until, reports=True)
        return f"its next launch did not take over within {timeouts.ready + patience:g} s"
    if _runs_within(launch, block):
        return Do(GiveBack(block))
    if progress is None or progress.phase not in TRAINS:
        return "it does not train yet"
    if progress.live and not progress.hands_over:
        return "its launch can change, and does not"
    if not launch.finds_orders:
        return "its batch script finds no orders"
    if frozenset(status.slurm.nodes[: len(block.nodes)]) != frozenset(block.nodes):
        return "a launch on a part of its nodes is one on the first of them"
    if status.declined(gpus):
        return f"it did not go on with {gpus} GPUs"
    if now >= since + timeouts.ready:
        return f"its GPUs are wanted for {now - since:.0f} s"
    if conditions.spare_seconds < timeouts.ready:
        return "a promise needs its GPUs at once"
    return Do(OrderRelaunch(launch.generation, gpus, conditions.iterations))


def _runs_within(launch: Launch, block: Block) -> bool:
    """Whether the launch is one on nodes of the block alone, by its script's word."""
    return bool(launch.nodes) and set(launch.nodes.split(",")) <= set(block.nodes)


def spare_seconds(
    job: QueueJob, held: Collection[str], target: Block | None, jobs: Iterable[QueueJob]
) -> float:
    """How much later than now a job may give up nodes without harm to another's promise.

    Args:
        job: that is to give them up.
        held: the nodes that it has.
        target: what it is to keep.
        jobs: all rows. Who gets some of the nodes has a block with them.

    Returns:
        Seconds; infinite where no promise depends on them, less than 0 for one at risk.
    """
    left = frozenset(held) if target is None else frozenset(held).difference(target.nodes)
    spare = math.inf
    if not left:  # as of most jobs
        return spare
    for other in jobs:
        deadline = other.request.deadline
        promised = other.promise is not PromiseState.NONE and other.kind is not JobKind.BEST_EFFORT
        if other.running is None or other.id == job.id or deadline is None or not promised:
            continue
        if not left.isdisjoint(other.running.block.nodes):
            finish = math.inf if other.finish is None else other.finish
            spare = min(spare, deadline + other.request.grace - finish)
    return spare
