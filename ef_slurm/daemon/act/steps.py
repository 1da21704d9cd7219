"""The single acts of which every change of a job consists. Each may be repeated without harm."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.model import Block


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
    """End the run and put the job back, held."""


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


Step = (
    Hold | OrderStop | OrderRelaunch | Requeue | Update | Release | Resize | Extend | CancelOrphan
)


@dataclass(frozen=True, slots=True)
class Do:
    """The next step."""

    step: Step


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


Next = Do | Wait | Done | Failed
