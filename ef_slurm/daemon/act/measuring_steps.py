"""A round of measuring: a launch tries several sizes by itself, as a pure function.

It is one live change that ends where it begins. What came of it is in its report
(`ef_slurm.daemon.observe.rounds`); a job that it is not for, or that failed in it, is measured one
size after the other by orders of their own.
"""

from __future__ import annotations

from ef_slurm.contract import Action, LaunchState, Order
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.live_steps import next_change
from ef_slurm.daemon.act.steps import Do, Next, OrderResize, Wait
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import OBSERVE_SECONDS, Block


def under_way(status: JobStatus, timeouts: Timeouts, now: float) -> Wait | None:
    """What to wait for while a launch measures itself; None where it does not, or takes too long.

    Slow iterations take as long as they would without a round, and no longer.
    """
    launch, progress, order = status.launch, status.progress, _ordered(status)
    if launch is None or progress is None or order is None:
        return None
    if launch.state is not LaunchState.RUNNING or order.generation != launch.generation:
        return None
    if max(progress.change, progress.refused_change) >= order.change:
        return None
    sizes = order.sizes.count(",") + 1
    patience = timeouts.resize + sizes * OBSERVE_SECONDS
    if not lately(order.issued_at, patience, now):
        return None
    return Wait("it to measure itself", order.issued_at + patience, reports=True)


def round_of(
    status: JobStatus, block: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next | None:
    """The next step of a live job that is to measure itself; None for none, and after it."""
    going_on = under_way(status, timeouts, now)
    if going_on is not None:
        return going_on
    launch, progress = status.launch, status.progress
    if not (conditions.to_measure and status.is_live) or launch is None or progress is None:
        return None
    if progress.hands_over:
        return None
    if _ordered(status) is not None or status.coming is not None:
        return None  # it has been tried: by this launch, or by the last one, which ended in it
    gpus = block.gpus if conditions.active is None else conditions.active
    if progress.first_iteration_at is None or progress.world_size != gpus:
        return None
    change, sizes = next_change(progress), conditions.to_measure
    return Do(OrderResize(launch.generation, change, status.trains_on, gpus, sizes=sizes))


def _ordered(status: JobStatus) -> Order | None:
    """The order in force, if it is one to measure."""
    order = status.reports.order
    return order if order is not None and order.action is Action.RESIZE and order.sizes else None
