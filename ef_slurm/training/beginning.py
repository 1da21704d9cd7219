"""How a launch begins: from the newest checkpoint, or taken in by ranks that train."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ef_slurm.contract import JobEnvironment, Phase, StateDir
from ef_slurm.training.checkpoint import CheckpointStore
from ef_slurm.training.handover import Handover, handover_of
from ef_slurm.training.keeper import Identity, Keeper
from ef_slurm.training.live import Ended, Live
from ef_slurm.training.preconditions import opening_problem, unkeepable
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.restore import NotOursError, Restored, restore
from ef_slurm.training.state import Snapshot
from ef_slurm.training.watch import Changes


class CannotBeginError(Exception):
    """The training cannot begin here, however often it is tried: all ranks say so, and why."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a training is, in numbers.

    Args:
        iterations: of the whole training.
        global_batch_size: samples per iteration over all ranks.
        max_batch_per_gpu: most samples in one forward pass; None: there is no limit.
        samples: size of the data set; None where the script orders its data itself.
        seed: of the data order, and of random numbers at a new world size.
    """

    iterations: int
    global_batch_size: int
    max_batch_per_gpu: int | None
    samples: int | None
    seed: int

    def identity(self, snapshot: Snapshot) -> Identity:
        """What its checkpoints say of it."""
        return Identity(
            self.global_batch_size, self.samples, self.seed, snapshot.format, snapshot.model()
        )

    def shared(self, identity: Identity) -> dict[str, Any]:
        """What must be the same for all ranks, whenever they came."""
        return {
            "model": sorted(identity.model.items()),
            "iterations": self.iterations,
            "batch": self.global_batch_size,
            "limit": self.max_batch_per_gpu,
            "samples": self.samples,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a launch stands when it begins to train.

    Args:
        ranks: those that train.
        iteration: iterations done.
        keeper: of its checkpoints.
        changes: on rank 0: what changes of size there are to be; None: none.
    """

    ranks: Ranks
    iteration: int
    keeper: Keeper
    changes: Changes | None


class Beginning:
    """What one rank does before it trains: `open` and `resume`, or `join`.

    Args:
        environment: the job's variables.
        live: makes changes of size while training goes on; None: there are none.
        obstacle: why not.
        say: prints a line into the job's log.
    """

    def __init__(
        self,
        environment: JobEnvironment,
        state: StateDir,
        training: Training,
        snapshot: Snapshot,
        live: Live | None,
        obstacle: str,
        reporter: Reporter,
        say: Callable[[str], None],
    ):
        self._environment = environment
        self._state = state
        self._store = CheckpointStore(state.checkpoints, environment.keep_checkpoints)
        self._training = training
        self._snapshot = snapshot
        self._live = live
        self._obstacle = obstacle
        self._reporter = reporter
        self._say = say

    def open(self, ranks: Ranks) -> str:
        """Make the state directory fit for use, and let the ranks talk; what is wrong, or ""."""
        secret_file = None if self._live is None else self._live.secret_file
        return opening_problem(ranks, self._state, self._store, secret_file)

    def resume(self, ranks: Ranks) -> Begun:
        """Restore the newest good checkpoint into the snapshot's objects, and report it.

        All ranks that a launch begins with call this.

        Raises:
            CannotBeginError: no checkpoint could be made, or the one there is of another training.
        """
        identity = self._training.identity(self._snapshot)
        problem = unkeepable(ranks, self._snapshot)
        if problem:
            raise CannotBeginError(problem)
        restored = self._restore(ranks, identity)
        saved = None if restored.manifest is None else restored.manifest.iteration
        keeper = self._keeper(ranks, identity, saved)
        batch = self._training.global_batch_size
        changes: Changes | None
        handover: Handover | None = None
        if self._live is None:
            changes = handover = handover_of(
                self._environment,
                ranks.world_size,
                self._state,
                batch,
                self._reporter,
                self._say,
                lambda: keeper.busy,
            )
            nodes = "" if handover is None else ",".join(handover.nodes)
        else:
            nodes = self._live.begin(
                ranks,
                self._training.shared(identity),
                batch,
                self._reporter,
                self._say,
                lambda: keeper.busy,
            )
            changes = self._live.roster
        self._report(restored, saved, handover, nodes)
        return Begun(ranks, saved or 0, keeper, changes)

    def join(self, terminated: Callable[[], bool]) -> Begun:
        """A process that was started to be taken in waits for it.

        Args:
            terminated: whether Slurm ends this process.

        Raises:
            Ended: it is not needed.
        """
        if self._live is None:
            raise Ended(f"it cannot be taken in: {self._obstacle}")
        identity = self._training.identity(self._snapshot)
        ranks, iteration = self._live.come(
            self._store.directory,
            self._state.generation,
            self._training.shared(identity),
            terminated,
        )
        return Begun(ranks, iteration, self._keeper(ranks, identity, None), None)

    def _restore(self, ranks: Ranks, identity: Identity) -> Restored:
        try:
            restored = restore(
                ranks, self._store, self._snapshot, identity.fields(), self._training.seed
            )
        except NotOursError as error:
            raise CannotBeginError(str(error)) from error
        manifest = restored.manifest
        if manifest is None:
            self._say("starting at iteration 0")
        else:
            self._say(
                f"resumed at iteration {manifest.iteration} on {ranks.world_size} ranks "
                f"(saved on {manifest.world_size})"
            )
        return restored

    def _keeper(self, ranks: Ranks, identity: Identity, saved_iteration: int | None) -> Keeper:
        return Keeper(
            self._store,
            ranks,
            self._snapshot,
            identity,
            self._reporter,
            self._environment.generation,
            saved_iteration,
        )

    def _report(
        self, restored: Restored, saved: int | None, handover: Handover | None, nodes: str
    ) -> None:
        made = 0 if handover is None else handover.made
        self._reporter.enter(
            Phase.RUNNING,
            iteration=saved or 0,
            checkpoint_iteration=saved,
            corrupt_checkpoints=restored.corrupt,
            restore_seconds=restored.seconds,
            live=self._live is not None or handover is not None,
            hands_over=handover is not None,
            nodes=nodes,
            refusal=self._obstacle,
            change=made,
            change_seconds=self._stood_still() if made else None,
        )

    def _stood_still(self) -> float | None:
        """Seconds from the last iteration of the launch before to now."""
        until = self._reporter.progress.trained_until
        return None if until is None else max(0.0, time.time() - until)
