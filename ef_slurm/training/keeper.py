"""What a run keeps of itself: a checkpoint now and then, and one at its end."""

import logging
from dataclasses import dataclass
from typing import Any

from ef_slurm.training.checkpoint import CheckpointStore, Manifest
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.saver import Saved, Saver
from ef_slurm.training.state import Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What each checkpoint of a training says of it, and what nobody may go on from else.

    Args:
        global_batch_size: samples per iteration over all ranks.
        samples: size of the data set; None where the script orders its data itself.
        seed: of the data order.
        format: of the snapshot.
        model: its parameters, name → type and shape.
    """

    global_batch_size: int
    samples: int | None
    seed: int
    format: str
    model: dict[str, str]

    def fields(self) -> dict[str, Any]:
        """The same by field of a manifest."""
        return {
            "global_batch_size": self.global_batch_size,
            "samples": self.samples,
            "seed": self.seed,
            "format": self.format,
            "model": self.model,
        }


class Keeper:
    """Saves one run's checkpoints, and tells the daemon of each.

    Args:
        generation: of the launch.
        saved_iteration: which checkpoint the run goes on from; None for none.
    """

    def __init__(
        self,
        store: CheckpointStore,
        ranks: Ranks,
        snapshot: Snapshot,
        identity: Identity,
        reporter: Reporter,
        generation: int,
        saved_iteration: int | None,
    ):
        self._ranks = ranks
        self._identity = identity
        self._reporter = reporter
        self._generation = generation
        self._saved_iteration = saved_iteration
        self._saver = Saver(store, ranks, snapshot, self._manifest, generation, self._on_saved)

    def use(self, ranks: Ranks) -> None:
        """Go on among these ranks; no save is under way."""
        self._ranks = ranks
        self._saver.use(ranks)

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._saver.busy

    @property
    def idle_seconds(self) -> float:
        """Seconds since the state that was saved last, or since the start; 0 during a save."""
        return self._saver.idle_seconds

    def begin(self, iteration: int) -> None:
        """Save this iteration while training goes on.

        Raises:
            StateError: something in the state cannot be kept.
        """
        self._saver.begin(iteration)

    def wait(self) -> None:
        """Until no save is under way."""
        self._saver.wait()

    def save(self, iteration: int) -> str:
        """Save this iteration unless it is saved already, and wait; the error, or nothing.

        Raises:
            StateError: something in the state cannot be kept.
        """
        self._saver.wait()
        if self._saved_iteration == iteration:
            return ""
        self._saver.begin(iteration)
        saved = self._saver.wait()
        assert saved is not None
        return saved.error

    def _manifest(self, iteration: int, files: dict[str, tuple[int, int]]) -> Manifest:
        return Manifest(
            iteration=iteration,
            generation=self._generation,
            world_size=self._ranks.world_size,
            files=files,
            **self._identity.fields(),
        )

    def _on_saved(self, saved: Saved) -> None:
        if saved.error:
            if self._ranks.first:
                logger.warning(
                    "checkpoint of iteration %d was not saved: %s", saved.iteration, saved.error
                )
            return
        self._saved_iteration = saved.iteration
        if self._ranks.first:
            self._reporter.note(
                checkpoint_iteration=saved.iteration,
                save_seconds=saved.seconds,
                stall_seconds=saved.stall_seconds,
            )
