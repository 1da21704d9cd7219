"""What is agreed on: exit codes, orders and reports."""

import enum
from dataclasses import dataclass

VERSION = 1
"""Version of this agreement; written into every file."""

DEFAULT_STOP_SIGNAL = "USR2"

MAX_FAILURES = 3
"""Failed launches in a row without progress after which a job is failed."""


class ContractError(ValueError):
    """A file or variable of the contract does not hold what it must; the text names it."""


class Exit(enum.IntEnum):
    """Exit codes of the training command and of the batch script."""

    FINISHED = 0  # training is complete
    NOT_SAVED = 74  # stopped as ordered; the checkpoint could not be written
    STOPPED = 75  # stopped as ordered or on TERM, checkpoint durable
    UNUSABLE = 78  # cannot work as asked, however often it is tried


class Action(enum.Enum):
    """What the daemon wants of the job."""

    NONE = "none"
    STOP = "stop"  # checkpoint and leave
    RELAUNCH = "relaunch"  # go on in the same allocation; a launch that runs checkpoints first
    PREPARE = "prepare"  # submit a companion, held, for a live change to come
    RESIZE = "resize"  # a live change: the launch goes on at another size


class Phase(enum.Enum):
    """Where the training command is."""

    STARTING = "starting"
    RUNNING = "running"
    EVALUATING = "evaluating"  # no iteration ends until that is over
    STOPPING = "stopping"  # the ranks have agreed on the iteration to stop at
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


class LaunchState(enum.Enum):
    """Where the batch script is."""

    RUNNING = "running"  # the step is being started or runs
    WAITING = "waiting"  # stopped by order: for a requeue, or for the order to relaunch
    RETRYING = "retrying"  # the launch failed: the next one follows after a pause
    INTERRUPTED = "interrupted"  # TERM from Slurm: the script is about to go
    FINISHED = "finished"  # training is complete
    FAILED = "failed"  # not tried again


@dataclass(frozen=True, slots=True)
class Order:
    """The file that `EF_ORDER_FILE` names: from the daemon to the job.

    Args:
        generation: the launch that it is meant for.
        issued_at: UTC epoch seconds.
        reason: one line for the job's log.
        gpus: with `RELAUNCH`, on how many GPUs of the allocation the next launch is to run; None
            for all of them. With `RESIZE`, on how many in all to go on.
        iterations: of the whole training for every launch from now on, where the job's owner has
            changed that since it was submitted; None: as it was submitted.
        change: with `PREPARE` and `RESIZE`, which live change of this launch, from 1.
        nodes: with `RESIZE`, those to go on with, separated by commas, in rank order.
        leave: with `RESIZE`, whether ranks that train no more are to end, since their nodes are
            given back; otherwise they wait to be taken in again.
        sizes: with `RESIZE`, GPUs at which to train for a second or two each before that, separated
            by commas, to measure how fast that is; "" for none. All ranks stay meanwhile.
    """

    generation: int
    action: Action
    issued_at: float
    reason: str = ""
    gpus: int | None = None
    iterations: int | None = None
    change: int = 0
    nodes: str = ""
    leave: bool = False
    sizes: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """`progress.json`: from rank 0 to the daemon. Times are UTC epoch seconds.

    Args:
        generation: the launch that tells it.
        world_size: ranks.
        iteration: iterations done, over all launches.
        started_at: when the session of this launch was made.
        first_iteration_at: when the first iteration of this launch ended.
        process_started_at: when rank 0 was started, or forked: what its launcher does is before it,
            the script's imports and the process group between it and `started_at`.
        last_iteration_at: at the end: when the last iteration of this launch ended. Training stood
            still from there to the `first_iteration_at` of the next launch.
        trained_until: the `last_iteration_at` of the launch before, so that who reads this report
            alone knows how long training stood still; None where that launch did not tell.
        iterations_per_second: over about the last ten seconds of training, checkpoints included;
            None before the second iteration.
        checkpoint_iteration: of the newest durable checkpoint; None when there is none.
        stop_iteration: the iteration that all ranks agreed to stop at: the acknowledgement of an
            order.
        restore_seconds: what reading the checkpoint took, for the slowest rank known to rank 0.
        save_seconds: what the newest checkpoint took, from the decision to its rename.
        stall_seconds: how long training stood still for it.
        corrupt_checkpoints: set aside at the start of this launch because they did not match.
        exit_code: with phase stopped, finished or failed: the `Exit` code that counts.
        message: with phase failed, or finished before the last iteration: one line for a person.
        software: what it trains with, in a few words ("torch 2.5.1"); "" for not told.
        script_iterations: of the whole training, as the script says; None where it does not.
        script_global_batch_size: samples per iteration over all ranks, likewise.
        live: whether this launch can change its size while it runs.
        hands_over: whether it does so by handing over to a larger one that is prepared beside it,
            whose ranks begin with a checkpoint: it can grow, and nothing else.
        change: number of its last live change that is complete; 0 for none yet.
        change_iteration: the iteration that the ranks agreed to change at: the acknowledgement of
            the order. Of the change under way, or of the last one.
        change_seconds: how long training stood still for the last one: from the end of the last
            iteration before it to where the first one after it can begin.
        nodes: those that train now, separated by commas, in rank order; "" where that is not told.
        ready: nodes all of whose ranks wait to be taken in, separated by commas.
        refused_change: number of the last change that could not be made; the launch trains on as
            it was.
        refusal: why, in one line.
        points: what this launch has measured of itself by the last order with `sizes`, as text
            (`points.Point`); during that change, too.
    """

    generation: int
    phase: Phase
    world_size: int
    iteration: int
    updated_at: float
    started_at: float
    first_iteration_at: float | None = None
    iterations_per_second: float | None = None
    checkpoint_iteration: int | None = None
    stop_iteration: int | None = None
    restore_seconds: float | None = None
    save_seconds: float | None = None
    stall_seconds: float | None = None
    corrupt_checkpoints: int = 0
    exit_code: int | None = None
    message: str = ""
    software: str = ""
    script_iterations: int | None = None
    script_global_batch_size: int | None = None
    process_started_at: float | None = None
    last_iteration_at: float | None = None
    trained_until: float | None = None
    live: bool = False
    hands_over: bool = False
    change: int = 0
    change_iteration: int | None = None
    change_seconds: float | None = None
    nodes: str = ""
    ready: str = ""
    refused_change: int = 0
    refusal: str = ""
    points: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """`launch.json`: from the batch script to the daemon. Times are UTC epoch seconds.

    Args:
        restart_count: Slurm's count of requeues (`SLURM_RESTART_COUNT`).
        nodes: names separated by commas, in rank order.
        port: of the rendezvous.
        started_at: when this launch began.
        updated_at: when `state` was entered.
        failures: failed launches in a row without progress.
        failed_at: newest checkpoint at the first of them; the batch script counts with it.
        exit_code: of the training command; None while it runs.
        stop_signal: what this launch's processes know to mean "look at your orders".
        finds_orders: whether the batch script could read the file with its orders.
        change: number of the change by which it took over from a smaller one; 0 if it began anew.
    """

    generation: int
    state: LaunchState
    slurm_job_id: int
    restart_count: int
    nodes: str
    gpus_per_node: int
    port: int
    started_at: float
    updated_at: float
    failures: int = 0
    failed_at: int = -1
    exit_code: int | None = None
    stop_signal: str = DEFAULT_STOP_SIGNAL
    finds_orders: bool = False
    change: int = 0

    def gpus(self, progress: Progress | None) -> int | None:
        """GPUs that this launch trains on now; None if that is unknown.

        Args:
            progress: the training's newest report; one of another launch says nothing about this.
        """
        if self.gpus_per_node < 1 or not self.nodes:
            return None
        if progress is not None and progress.generation == self.generation and progress.live:
            # Also in the midst of a change: it may go by several sizes.
            changes = progress.change > 0 or progress.change_iteration is not None
            if changes:
                return progress.world_size
        return len(self.nodes.split(",")) * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class Companion:
    """`companion.json`: from the batch script to the daemon, the answer to `Action.PREPARE`.

    Args:
        generation: the launch that it is for.
        change: the live change that it is for.
        slurm_job_id: of the Slurm job that was submitted, held; None where it could not be.
        issued_at: that of the order that it answers. The daemon orders once more with a later one
            where the companion of the first try did not start.
        message: why not, in one line: Slurm's own words.
    """

    generation: int
    change: int
    issued_at: float
    slurm_job_id: int | None = None
    message: str = ""
