"""What a job's next step depends on beside the facts of the job: patience, and the surroundings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ef_slurm.slurm.pending import Holder
from ef_slurm.slurm.types import HoldKind


@dataclass(frozen=True, slots=True)
class Timeouts:
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
        hopeless: from the release until a reason that will not pass is believed: Slurm shows the
            reason of before until its next pass.
        prepare: from the order to prepare until the batch script has submitted a companion.
        gather: from a companion's start until its ranks are ready.
        resize: from the order to change its size to the launch's word that it has.
        leave: from when a companion's ranks are to have left until it is cancelled.
        ready: from the order to go on with fewer nodes to the training's agreement to stop, which
            comes when its next launch is ready on them; 0 to stop a job before that is prepared.
            A training gives up after 20 s by itself (`training/next_launch.py`).
    """

    acknowledge: float = 30.0
    save: float = 300.0
    check_in: float = 120.0
    start: float = 60.0
    launch: float = 30.0
    forgotten: float = 20.0
    hopeless: float = 10.0
    prepare: float = 90.0
    gather: float = 300.0
    resize: float = 60.0
    leave: float = 20.0
    ready: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the facts of one job do not say by themselves.

    Args:
        free: whether every GPU of the block that it is to get is free, or held by itself.
        updated: whether Slurm has read the block's shape back to us since the job was last seen
            pending.
        released: when we released it with that shape for its present run; None if we did not.
        in_place: whether it may give up nodes without a requeue.
        active: how many GPUs of its block it is to train on; None for all.
        iterations: of its whole training, where its owner has changed that; None: as submitted.
        time_limit: seconds that Slurm is to let its run take; None for what it has.
        hold: the hold that it must be in while it has no GPUs: an operator's, so that its owner
            cannot release it, or the owner's own where the daemon is not an operator.
        holder: who keeps it from starting, while it pends.
        wake_seconds: how long nodes of the block need to be woken.
        leaving_since: since when its present run is wanted off its GPUs, or off some of them, by
            the daemon's own clock, or is to have more, if it gives up none; None: only now.
        live_open: whether it may grow with a companion: that was not refused lately.
        part_free: whether every GPU is free of the nodes that a companion is to bring next.
        lacks_place: the limit of how many jobs run, in its words, that has none for one more
            companion; "" where that has one.
        companion_updated: whether Slurm has read the shape of its companion back to us.
        was_live: whether a launch of this job could change its size while it ran.
        changed_since: when its last live change was first seen to be complete.
        not_extended: companions whose time limit Slurm does not let be extended.
        spare_seconds: how much later than now it may give up nodes without harm to a promise.
        to_measure: GPUs at which a launch that can do so is to measure itself, one after the other.
    """

    free: bool = True
    updated: bool = False
    released: float | None = None
    in_place: bool = True
    active: int | None = None
    iterations: int | None = None
    time_limit: float | None = None
    hold: HoldKind = HoldKind.ADMIN
    holder: Holder = Holder.WE
    wake_seconds: float = 0.0
    leaving_since: float | None = None
    live_open: bool = True
    part_free: bool = True
    lacks_place: str = ""
    companion_updated: bool = False
    was_live: bool = False
    changed_since: float | None = None
    not_extended: frozenset[int] = frozenset()
    spare_seconds: float = math.inf
    to_measure: tuple[int, ...] = ()
