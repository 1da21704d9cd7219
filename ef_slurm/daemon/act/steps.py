"""The single acts of which every change of a job consists. Each may be repeated without harm."""

from __future__ import annotations

from dataclasses import dataclass, field

from ef_slurm.model import Block, Companion


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the pending job from starting."""


@dataclass(frozen=True, slots=True)
class OrderStop:
    """Ask launch `generation` to checkpoint and stop."""

    generation: int


@dataclass(frozen=True, slots=True)
class OrderRelaunch:
    """Ask the script of launch `generation` to launch again with the nodes that it has.

    If the launch still trains, it checkpoints first.

    Args:
        gpus: how many GPUs of the allocation the next launch is to run on; None for all.
        iterations: of the whole training, where its owner has changed that; None: as submitted.
    """

    generation: int
    gpus: int | None = None
    iterations: int | None = None


@dataclass(frozen=True, slots=True)
class Requeue:
    """Put the job back, held, and end its run.

    Args:
        ended: whether it has ended in Slurm already, before its training did.
    """

    ended: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Give the held job the block's shape, read it back."""

    block: Block


@dataclass(frozen=True, slots=True)
class Release:
    """Let the job start on the block that it was given."""

    block: Block


@dataclass(frozen=True, slots=True)
class Extend:
    """Let the present run take so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Resize:
    """Shrink the running job to the block's nodes."""

    block: Block


@dataclass(frozen=True, slots=True)
class CancelOrphan:
    """Cancel the Slurm job whose row has ended."""


@dataclass(frozen=True, slots=True)
class WantCompanion:
    """Write down that a companion is wanted for a change of a launch; nobody is told yet.

    Args:
        block: the nodes that it is to bring.
    """

    generation: int
    change: int
    block: Block


@dataclass(frozen=True, slots=True)
class OrderPrepare:
    """Ask the job's script to submit the companion, held."""

    companion: Companion


@dataclass(frozen=True, slots=True)
class ShapeCompanion:
    """Give the held companion its nodes, read it back."""

    companion: Companion


@dataclass(frozen=True, slots=True)
class ReleaseCompanion:
    """Let the companion start on the nodes that it was given."""

    companion: Companion


@dataclass(frozen=True, slots=True)
class CancelCompanion:
    """End the companion: nothing more is to come of it."""

    companion: Companion


@dataclass(frozen=True, slots=True)
class ExtendCompanion:
    """Let the running companion take so many seconds."""

    companion: Companion
    seconds: float


@dataclass(frozen=True, slots=True)
class OrderResize:
    """Ask launch `generation` to go on at another size.

    Args:
        change: the number of the change.
        nodes: to go on with, in rank order.
        gpus: to train on, in all.
        leave: whether the ranks of the other nodes are to end.
        sizes: GPUs at which it is to measure itself first, one after the other.
    """

    generation: int
    change: int
    nodes: tuple[str, ...]
    gpus: int
    leave: bool = False
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Shrink the first Slurm job to the block's nodes while its launch goes on on them.

    Args:
        live: whether it is the launch that was on all of them: its ranks have left, and Slurm shows
            its step on all until it ends.
    """

    block: Block
    live: bool = False


Step = (
    Hold
    | OrderStop
    | OrderRelaunch
    | Requeue
    | Update
    | Release
    | Resize
    | Extend
    | CancelOrphan
    | WantCompanion
    | OrderPrepare
    | ShapeCompanion
    | ReleaseCompanion
    | CancelCompanion
    | ExtendCompanion
    | OrderResize
    | GiveBack
)


@dataclass(frozen=True, slots=True)
class Do:
    """The next step.

    `why` says in a few words why it is not a better one, for the log.
    """

    step: Step
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something is seen to change, or until `until`.

    `reports` says that it will be seen in the job's own files, which may be read more often than
    Slurm may be asked.
    """

    why: str
    until: float | None = None
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The action has reached its end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The action cannot reach its end; `why` is a sentence for the job's story."""

    why: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A growth that is not to be, while the job trains on as it is.

    Args:
        why: a sentence for the job's story.
        words: Slurm's own, where it was Slurm that refused.
        held: whether somebody wants the companion not to run, so that the job is not to have these
            nodes by any other way either.
    """

    why: str
    words: str = ""
    held: bool = False


Next = Do | Wait | Done | Failed | GivenUp
