"""Live changes: how a job gets to its block while its launch goes on, as a pure function.

Growth beyond what it holds comes with a companion that brings as many nodes as there are, so that a
growth to four times the size is two doublings, and each later shrink ends whole Slurm jobs. The
launch trains all the while; only `OrderResize` makes it stand still, for a second or two.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ef_slurm.contract import Action, LaunchState, Order, Phase, Progress, read_sizes
from ef_slurm.daemon.act.conditions import Conditions, Timeouts
from ef_slurm.daemon.act.steps import (
    CancelCompanion,
    Do,
    ExtendCompanion,
    Failed,
    GiveBack,
    GivenUp,
    Next,
    OrderPrepare,
    OrderResize,
    ReleaseCompanion,
    ShapeCompanion,
    Wait,
    WantCompanion,
)
from ef_slurm.daemon.observe.job_status import JobStatus, Member, layout_of, requests_block
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import Block, Companion, CompanionState, is_power_of_two
from ef_slurm.slurm.pending import Holder, OurPart, holder
from ef_slurm.slurm.refusals import is_hopeless
from ef_slurm.slurm.types import HoldKind, SlurmJob

EMPTY_SECONDS = 3.0
"""Seconds from the end of a change until the processes of the ranks that left are gone: Slurm must
not be told of a node's going while a step's process is there (`docs/slurm.md`)."""


MOST_WAITED_SECONDS = 1800.0
"""For which GPUs are kept at most, by the daemon's own clock, for a launch that says that it takes
them soon: what is kept for it nobody else has, and its owner's limits do not count it."""

LIMIT_SECONDS = 60.0
"""By which a companion may end before its job: Slurm's time limits are whole minutes."""


def dismissal(status: JobStatus, target: Block | None, timeouts: Timeouts, now: float) -> Do | None:
    """The companion that is to be ended now, since nothing more is to come of it."""
    for member in status.members:
        companion, slurm = member.companion, member.slurm
        if companion.is_coming and not _serves(companion, target):
            return Do(CancelCompanion(companion))
        if companion.state is CompanionState.LEAVING and slurm is not None:
            # Its ranks end by themselves; whoever only waits for nodes does not.
            patience = 0.0 if slurm.is_pending else timeouts.leave
            stays = slurm.is_pending or slurm.is_running
            if stays and not lately(companion.changed_at, patience, now):
                return Do(CancelCompanion(companion))
    return None


def shorter_companion(status: JobStatus, not_extended: Collection[int]) -> ExtendCompanion | None:
    """What lets a companion run as long as its job, whose time limit may have been extended.

    Args:
        not_extended: companions with which that was tried in vain. Such a one ends earlier, and the
            job trains on without its nodes.
    """
    ends = status.slurm.end_time
    if ends is None:
        return None
    for member in status.members:
        companion, slurm = member.companion, member.slurm
        if slurm is None or not slurm.is_running or companion.id in not_extended:
            continue
        limit, began = slurm.requested.time_limit, slurm.start_time
        if companion.state is not CompanionState.JOINED or limit is None or began is None:
            continue
        if limit < ends - began - LIMIT_SECONDS:
            return ExtendCompanion(companion, ends - began)
    return None


def _serves(companion: Companion, target: Block | None) -> bool:
    """Whether a companion that is on its way brings what the job is to get next."""
    return target is not None and set(companion.block.nodes) <= set(target.nodes)


def next_change(progress: Progress) -> int:
    """The number of a launch's next live change: what was refused has used up its own."""
    return max(progress.change, progress.refused_change) + 1


def _is_taken_in(companion: Companion, status: JobStatus) -> bool:
    runs = companion.state in (CompanionState.RUNNING, CompanionState.READY)
    return runs and set(companion.block.nodes) <= set(status.trains_on)


def next_part(status: JobStatus, target: Block) -> Block | None:
    """The nodes that a job is to get next on its way to a block that contains its own.

    Returns:
        As many as it holds, those with which it is an aligned block of twice its size; None where
        it does not hold a part of the block.
    """
    held = frozenset(node for node, _ in status.gpus)
    if not status.layout < layout_of(target) or not is_power_of_two(len(held)):
        return None
    first = min(target.nodes.index(node) for node in held)
    begin = first // (2 * len(held)) * 2 * len(held)
    half = target.nodes[begin : begin + 2 * len(held)]
    more = tuple(node for node in half if node not in held)
    return replace(target, nodes=more) if len(more) == len(held) else None


def live_change(
    status: JobStatus, target: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next | None:
    """The next step of a running job on its way to another block; None where it has to stop."""
    part = next_part(status, target)
    if status.ordered_to_stop is not None or status.ordered_to_relaunch is not None:
        return None
    taking_over = None if part is None else _taking_over(status, target, timeouts, now)
    if taking_over is not None:
        return _not_for_ever(taking_over, conditions, now)
    if not status.is_live:
        waits = _wait_for_it(status, part, conditions, timeouts, now)
        return None if waits is None else _not_for_ever(waits, conditions, now)
    if part is not None:
        if not conditions.live_open:
            return None
        return _not_for_ever(_grow(status, part, conditions, timeouts, now), conditions, now)
    if layout_of(target) < status.layout and not status.hands_over:
        since = now if conditions.leaving_since is None else conditions.leaving_since
        if now < since + timeouts.resize + timeouts.leave + EMPTY_SECONDS:
            return _shrink(status, target, conditions, timeouts, now)
    return None


def _not_for_ever(step: Next, conditions: Conditions, now: float) -> Next:
    """What is in reports is its owner's to write anew at every look."""
    since = conditions.leaving_since
    if since is None or now < since + MOST_WAITED_SECONDS:
        return step
    awaited = step.why if isinstance(step, Wait) else "it to grow"
    return GivenUp(f"its GPUs have waited {now - since:.0f} s for {awaited}")


def _taking_over(status: JobStatus, target: Block, timeouts: Timeouts, now: float) -> Wait | None:
    """What to wait for while one launch of a job has stopped and the larger one begins.

    Who is to give something up meanwhile is stopped as ever.
    """
    order, launch = status.handing_over, status.launch
    if order is None or launch is None or launch.state is not LaunchState.RUNNING:
        return None
    since, limit = order.issued_at, timeouts.gather + timeouts.save
    if launch.change >= order.change:
        since, limit = launch.started_at, timeouts.check_in
    if not set(order.nodes.split(",")) <= set(target.nodes) or not lately(since, limit, now):
        return None
    return Wait("the larger launch to take over", since + limit, reports=True)


def _wait_for_it(
    status: JobStatus, part: Block | None, conditions: Conditions, timeouts: Timeouts, now: float
) -> Wait | None:
    """A launch that can grow once it trains is not stopped for want of a moment."""
    launch, progress = status.launch, status.progress
    if part is None or launch is None or not (conditions.was_live and conditions.live_open):
        return None
    if progress is None or progress.first_iteration_at is None:
        until = launch.started_at + timeouts.check_in
        return Wait("it to train, to grow then", until) if now < until else None
    if progress.phase is Phase.EVALUATING:
        return Wait("its evaluation to end, to grow then", reports=True)
    if progress.phase is Phase.FAILED:
        until = progress.updated_at + timeouts.launch  # its script launches it again
        return Wait("its script", until, reports=True) if now < until else None
    return None


def _grow(
    status: JobStatus, part: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next:
    launch, progress, coming = status.launch, status.progress, status.coming
    assert launch is not None
    assert progress is not None
    if coming is None:
        if not conditions.part_free:
            return Wait("its GPUs to become free")
        if conditions.lacks_place:
            return GivenUp(f"its companion would be one job too many ({conditions.lacks_place})")
        return Do(WantCompanion(launch.generation, next_change(progress), part))
    companion = coming.companion
    if _is_taken_in(companion, status):
        return Wait("the next look at it", reports=True)
    if companion.change not in (next_change(progress), progress.refused_change):
        # Another companion with the number that it says now would be the next one that it refuses.
        return GivenUp(f"it has made change {next_change(progress) - 1} meanwhile by its own word")
    match companion.state:
        case CompanionState.WANTED:
            if not is_prepared(status.reports.order, companion):
                return Do(OrderPrepare(companion))
            if lately(companion.ordered_at, timeouts.prepare, now):
                until = companion.ordered_at + timeouts.prepare
                return Wait("its batch script to submit a companion", until, reports=True)
            return GivenUp(f"its batch script submitted no companion within {timeouts.prepare:g} s")
        case CompanionState.SUBMITTED | CompanionState.RELEASED:
            return _start(coming, conditions, timeouts, now)
        case CompanionState.RUNNING:
            if lately(companion.changed_at, timeouts.gather, now):
                until = companion.changed_at + timeouts.gather
                return Wait("the ranks of its companion", until)
            return GivenUp(f"the ranks of its companion were not there in {timeouts.gather:g} s")
    nodes = (*status.trains_on, *part.nodes)
    resize = OrderResize(
        companion.generation, companion.change, nodes, len(nodes) * part.gpus_per_node
    )
    following = resized(status, resize, timeouts, now)
    return GivenUp(following.why) if isinstance(following, Failed) else following


def is_prepared(order: Order | None, companion: Companion) -> bool:
    """Whether an order asks for this companion."""
    return order is not None and (
        order.action,
        order.generation,
        order.change,
        order.issued_at,
    ) == (Action.PREPARE, companion.generation, companion.change, companion.ordered_at)


def _start(coming: Member, conditions: Conditions, timeouts: Timeouts, now: float) -> Next:
    """A companion that is not seen to run yet: shape, read back, release, wait."""
    companion, slurm = coming.companion, coming.slurm
    if slurm is None or not slurm.is_pending:
        return Wait("the next look at its companion")
    who = companion_holder(companion, slurm)
    nodes = ",".join(companion.block.nodes)
    if who in (Holder.OWNER, Holder.OPERATOR):
        return GivenUp(f"its companion {slurm.job_id} is held by {who.value}", held=True)
    if who is Holder.SLURM:
        return GivenUp(f"Slurm holds its companion on {nodes}", slurm.reason)
    if companion.state is CompanionState.SUBMITTED:
        if slurm.hold is HoldKind.NONE:
            return GivenUp(f"its companion {slurm.job_id} was released before it had its nodes")
        if not (requests_block(slurm, companion.block) and conditions.companion_updated):
            return Do(ShapeCompanion(companion))
        return Do(ReleaseCompanion(companion))
    if slurm.hold is not HoldKind.NONE:
        return Do(ReleaseCompanion(companion))
    patience = timeouts.hopeless if is_hopeless(slurm.reason) else timeouts.start
    patience = min(patience, timeouts.start) + conditions.wake_seconds
    if lately(companion.changed_at, patience, now):
        until = companion.changed_at + patience
        return Wait(f"Slurm to start its companion ({slurm.reason or 'no reason given'})", until)
    return GivenUp(f"Slurm does not start its companion on {nodes}", slurm.reason)


def companion_holder(companion: Companion, slurm: SlurmJob) -> Holder:
    """Who keeps a companion from starting. It comes in its owner's hold, and we add none."""
    if slurm.is_held_by_owner:
        return Holder.OWNER
    released = companion.state is not CompanionState.SUBMITTED
    part = OurPart.RELEASED if released else OurPart.WAITING
    return holder(slurm.hold, part, HoldKind.USER, forgotten=False)


def _shrink(
    status: JobStatus, target: Block, conditions: Conditions, timeouts: Timeouts, now: float
) -> Next | None:
    """Nodes are given back: of whole companions, or of the first Slurm job's own."""
    launch, progress = status.launch, status.progress
    assert launch is not None
    assert progress is not None
    kept = frozenset(target.nodes)
    own = tuple(node for node in status.slurm.nodes if node in kept)
    leaves_own = len(own) < len(status.slurm.nodes)
    if status.slurm.batch_host not in kept or not is_power_of_two(len(own)):
        return None
    if leaves_own and not conditions.in_place:
        return None
    for member in status.members:
        parts = frozenset(member.companion.block.nodes)
        if member.companion.state is CompanionState.JOINED and parts & kept and not parts <= kept:
            return None  # half of a companion
    if frozenset(status.trains_on) != kept:
        nodes = tuple(node for node in status.trains_on if node in kept)
        if len(nodes) < len(kept):
            return None  # it trains on a part of its nodes: that is settled first
        resize = OrderResize(
            launch.generation, next_change(progress), nodes, target.gpus, leave=True
        )
        following = resized(status, resize, timeouts, now)
        return None if isinstance(following, Failed) else following
    if not leaves_own:
        return Wait("the next look at its companions", reports=True)
    since = now if conditions.changed_since is None else conditions.changed_since
    if lately(since, EMPTY_SECONDS, now):
        return Wait("its nodes to be empty", since + EMPTY_SECONDS)
    return Do(GiveBack(replace(target, nodes=own), live=True))


def part_change(
    status: JobStatus, block: Block, gpus: int, timeouts: Timeouts, now: float
) -> Next | None:
    """The next step of a live job that is to train on `gpus` of the GPUs that it keeps.

    Returns:
        None where that needs a relaunch.
    """
    launch, progress = status.launch, status.progress
    if not status.is_live or launch is None or progress is None or progress.hands_over:
        return None
    if progress.world_size == gpus or _ended_at(status.reports.order, launch.generation, gpus):
        return None
    trains = status.trains_on
    order = (*trains, *(node for node in block.nodes if node not in trains))
    nodes = order[: max(1, gpus // block.gpus_per_node)]
    resize = OrderResize(launch.generation, next_change(progress), nodes, gpus)
    following = resized(status, resize, timeouts, now)
    return None if isinstance(following, Failed) else following


def _ended_at(order: Order | None, generation: int, gpus: int) -> bool:
    """Whether a launch before this one has ended since it was told to train on so many GPUs.

    It may have been too many or too few for it. A launch that begins on them does no harm: the
    batch script goes on with all where it fails.
    """
    if order is None or order.action is not Action.RESIZE or order.generation >= generation:
        return False
    return gpus in (order.gpus, *read_sizes(order.sizes))


def resized(status: JobStatus, wanted: OrderResize, timeouts: Timeouts, now: float) -> Next:
    """From the order to the launch's word that it is done. `Failed`: it stays as it is."""
    progress, order = status.progress, status.reports.order
    assert progress is not None
    # What was refused is not ordered again with the next number.
    asked = wanted if order is None else replace(wanted, change=order.change)
    was_ordered = order is not None and is_ordered(order, asked)
    if progress.refused_change and progress.refused_change in (
        wanted.change,
        asked.change if was_ordered else 0,
    ):
        return Failed(f"the launch refuses: {progress.refusal or 'no reason given'}")
    if order is None or not is_ordered(order, wanted):
        return Do(wanted)
    # The servers of a launch that takes over begin with the order, and training goes on meanwhile.
    limit = timeouts.gather if progress.hands_over else timeouts.resize
    if lately(order.issued_at, limit, now):
        return Wait("it to change its size", order.issued_at + limit, reports=True)
    return Failed(f"it did not change its size within {limit:g} s")


def is_ordered(order: Order, wanted: OrderResize) -> bool:
    """Whether an order says this."""
    said = (order.action, order.generation, order.change, order.nodes, order.gpus, order.leave)
    return (*said, order.sizes) == (
        Action.RESIZE,
        wanted.generation,
        wanted.change,
        ",".join(wanted.nodes),
        wanted.gpus,
        wanted.leave,
        ",".join(map(str, wanted.sizes)),
    )
