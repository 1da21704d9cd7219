"""One launch of a training, whatever framework runs the loop: restore, boundaries, the end.

`session` builds the plain PyTorch interface on it, `lightning` and `huggingface` theirs.
"""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import torch

from ef_slurm.contract import (
    ContractError,
    Exit,
    JobEnvironment,
    Phase,
    StateDir,
)
from ef_slurm.training.batches import BatchError, Order, Share
from ef_slurm.training.checkpoint import CheckpointStore
from ef_slurm.training.environment import targets
from ef_slurm.training.handover import Handover, handover_of
from ef_slurm.training.keeper import Identity, Keeper
from ef_slurm.training.leaving import Unusable, leave
from ef_slurm.training.live import Ended, Live, say_left
from ef_slurm.training.preconditions import (
    opening_problem,
    read_otherwise,
    too_few_ranks,
    unkeepable,
)
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks, of_process_group
from ef_slurm.training.restore import NotOursError, Restored, restore
from ef_slurm.training.state import Snapshot, seed_rng
from ef_slurm.training.values import StateError
from ef_slurm.training.watch import Kind, Meeting, Request, Signals, Watcher

T = TypeVar("T")


class Run:
    """What this launch does, agreed with the other ranks and reported to the daemon.

    Without a state directory (a laptop, no `EF_STATE_DIR`) it neither restores, saves nor
    reports, and leaves signals alone.

    Args:
        environment: the job's variables, completed by the script.
        samples: size of the data set; None where the script orders its data itself.
        seed: of the data order, and of random numbers at a new world size.
        shuffle: a new order each epoch.

    Raises:
        Unusable: the batch cannot be divided among the ranks, or a number is missing.
    """

    def __init__(
        self,
        environment: JobEnvironment,
        *,
        samples: int | None,
        seed: int,
        shuffle: bool = True,
    ):
        self.environment = environment
        self._newcomer = environment.change > 0
        self.ranks = of_process_group()
        state = environment.state_dir
        self._state = None if state is None else StateDir(state, environment.order_file)
        self.reporter = Reporter(
            self._state if self.ranks.first and not self._newcomer else None,
            environment.generation,
            self.ranks.world_size,
            script_iterations=environment.script_iterations,
            script_global_batch_size=environment.script_global_batch_size,
            software=f"torch {torch.__version__}",
        )
        self._signals: Signals | None = None
        self._watcher: Watcher | None = None
        self._live: Live | None = None
        self._handover: Handover | None = None
        self._finishing: str | None = None
        self.changes = 0
        try:
            self.iterations, self.global_batch_size = targets(environment)
            self.share = Share(
                self.global_batch_size,
                self.ranks.rank,
                self.ranks.world_size,
                environment.max_batch_per_gpu,
            )
            self.order = (
                None if samples is None else Order(samples, self.global_batch_size, seed, shuffle)
            )
        except (BatchError, ContractError) as error:
            self.give_up(str(error))
        if not self._newcomer:
            self._refuse(too_few_ranks(environment, self.ranks.world_size))
        self.iteration = 0
        self._last: int | None = None
        self._why_early = ""
        self._left = False
        self._samples = samples
        self._seed = seed
        self._first_iteration_at: float | None = None
        self._last_iteration_at: float | None = None
        self._meeting = Meeting(0)
        self._signature: dict[str, str] = {}
        self._keeper: Keeper | None = None

    def start(self, snapshot: Snapshot, live: Live | None = None, obstacle: str = "") -> None:
        """Restore the newest good checkpoint into the snapshot's objects; start watching.

        Args:
            live: makes changes of size while training goes on; None: there are none.
            obstacle: why not.

        Raises:
            Unusable: the state directory, or the checkpoint in it, is not for this training.
            SystemExit: this process was to be taken in, and is not needed any more.
        """
        self._live = live
        if self._state is None:
            self.reporter.enter(Phase.RUNNING)
            return
        store = CheckpointStore(self._state.checkpoints, self.environment.keep_checkpoints)
        if self._newcomer:
            self._come(self._state, store, snapshot, obstacle)
            return
        secret_file = None if live is None else live.secret_file
        self._refuse(opening_problem(self.ranks, self._state, store, secret_file))
        self._signals = Signals(self.environment.stop_signal)
        self._signature = snapshot.model()
        self._refuse(unkeepable(self.ranks, snapshot))
        restored = self._restore(store, snapshot)
        saved = None if restored.manifest is None else restored.manifest.iteration
        self._keeper = keeper = self._new_keeper(store, snapshot, saved)
        nodes, handed_over = "", 0
        if live is None:
            self._handover = handover = handover_of(
                self.environment,
                self.ranks.world_size,
                self._state,
                self.global_batch_size,
                self.reporter,
                self._print,
                lambda: keeper.busy,
            )
            if handover is not None:
                nodes, handed_over = ",".join(handover.nodes), handover.made
        else:
            nodes = live.begin(
                self.ranks,
                self._training(),
                self.global_batch_size,
                self.reporter,
                self._print,
                lambda: keeper.busy,
            )
        self.reporter.enter(
            Phase.RUNNING,
            iteration=self.iteration,
            checkpoint_iteration=saved,
            corrupt_checkpoints=restored.corrupt,
            restore_seconds=restored.seconds,
            live=live is not None or self._handover is not None,
            hands_over=self._handover is not None,
            nodes=nodes,
            refusal=obstacle,
            change=handed_over,
            change_seconds=self._stood_still() if handed_over else None,
        )
        self._watch()

    def _stood_still(self) -> float | None:
        """Seconds from the last iteration of the launch before to now."""
        until = self.reporter.progress.trained_until
        return None if until is None else max(0.0, time.time() - until)

    def _watch(self) -> None:
        """Agree with the ranks that there are now, from this iteration on."""
        assert self._state is not None
        assert self._signals is not None
        keeper = self._keeper
        assert keeper is not None
        self._meeting = Meeting(self.iteration)
        self._watcher = Watcher(
            self.ranks,
            self._meeting,
            self._signals,
            self.reporter,
            self._state,
            self.environment.generation,
            lambda: keeper.idle_seconds >= self.environment.checkpoint_seconds,
            lambda: self._first_iteration_at,
            self._handover if self._live is None else self._live.roster,
            self.environment.next_file,
        )
        self._watcher.start()

    def _training(self) -> dict[str, Any]:
        """What must be the same for all ranks."""
        return {
            "model": sorted(self._signature.items()),
            "iterations": self.iterations,
            "batch": self.global_batch_size,
            "limit": self.environment.max_batch_per_gpu,
            "samples": self._samples,
            "seed": self._seed,
        }

    def _come(
        self, state: StateDir, store: CheckpointStore, snapshot: Snapshot, obstacle: str
    ) -> None:
        """A process that was started to be taken in waits for it."""
        self._signals = signals = Signals(self.environment.stop_signal)
        self._signature = snapshot.model()
        try:
            if self._live is None:
                raise Ended(f"it cannot be taken in: {obstacle}")
            ranks, self.iteration = self._live.come(
                store.directory, state.generation, self._training(), lambda: signals.terminated
            )
        except Ended as ended:
            self._leave(str(ended))
        self._settle(ranks)
        self._keeper = self._new_keeper(store, snapshot, None)
        self._watch()

    def _resize(self, request: Request) -> None:
        """Go on in another process group, or end here.

        Raises:
            SystemExit: this rank trains no more.
        """
        live, keeper, signals = self._live, self._keeper, self._signals
        assert live is not None
        assert keeper is not None
        assert signals is not None
        keeper.wait()
        if self._watcher is not None:
            self._watcher.close()
        try:
            ranks, self.iteration, moved = live.resize(
                self.ranks, request, self.iteration, lambda: signals.terminated
            )
        except Ended as ended:
            self._leave(str(ended))
        if moved:
            self._settle(ranks)
        self.ranks = ranks
        keeper.use(ranks)
        self._watch()
        if self._finishing is not None:
            ranks.post("finish", self._finishing)

    def _settle(self, ranks: Ranks) -> None:
        """Go on among these ranks."""
        self.ranks = ranks
        self.share = Share(
            self.global_batch_size, ranks.rank, ranks.world_size, self.environment.max_batch_per_gpu
        )
        # As a launch does at another world size: there is no right state per rank.
        seed_rng(self._seed, self.iteration, ranks.rank)
        self.changes += 1

    def going_on(self) -> None:
        """The data is there again after a live change: training stood still until now."""
        if self._live is not None and self._last_iteration_at is not None:
            seconds = time.time() - self._last_iteration_at
            self._live.going_on(self.iteration, seconds)
            self._print(
                f"going on at iteration {self.iteration} on {self.ranks.world_size} ranks, "
                f"after {seconds:.2f} s"
            )

    def _leave(self, reason: str) -> NoReturn:
        """This process is not needed any more; training goes on without it, or has ended."""
        self.close()
        say_left(reason)
        leave(int(Exit.FINISHED))

    def begin_evaluation(self) -> None:
        """No iteration ends until `end_evaluation`."""
        if self.reporter.progress.phase is Phase.RUNNING:
            self.reporter.enter(Phase.EVALUATING)

    def end_evaluation(self) -> None:
        """Training goes on, unless something else has begun since."""
        if self.reporter.progress.phase is Phase.EVALUATING:
            self.reporter.enter(Phase.RUNNING)

    def advance(self) -> None:
        """An iteration is done. Saves, or stops, where the ranks agreed to.

        Raises:
            SystemExit: all ranks stop here; the checkpoint is saved, or the code says that not.
            TimeoutError: the other ranks do not agree.
        """
        self.iteration += 1
        self._last_iteration_at = time.time()
        if self._first_iteration_at is None:
            self._first_iteration_at = self._last_iteration_at
        if self.over:
            return
        request = self._meeting.arrive(self.iteration)
        if request is None:
            return
        keeper = self._keeper
        assert keeper is not None
        match request.kind:
            case Kind.SAVE:
                self._kept(lambda: keeper.begin(self.iteration))
                return
            case Kind.FINISH:
                self._ends_early(request.reason)
                return
            case Kind.RESIZE:
                self._resize(request)
                return
        self._print(f"stopping at iteration {self.iteration}: {request.reason}")
        self._stop()

    @property
    def over(self) -> bool:
        """Whether no iteration is left."""
        return self.iteration >= (self.iterations if self._last is None else self._last)

    def stop(self, reason: str) -> None:
        """The script wants no iteration beyond the one in progress.

        Ranks are not in step: where there are several the last one is agreed on, as for a stop.

        Raises:
            TimeoutError: the other ranks do not agree.
        """
        if self._watcher is None or self.ranks.world_size == 1:
            self._ends_early(reason, self.iteration + 1)
        else:
            self._finishing = reason
            self._watcher.finish(reason)

    def _ends_early(self, reason: str, last: int | None = None) -> None:
        self._last = min(self.iterations, self.iteration if last is None else last)
        self._why_early = reason

    def left_early(self) -> None:
        """The script has left its loop before the last iteration, and has not said `stop`."""
        self._left = self._left or not self.over
        self.reporter.note(iteration=self.iteration)

    def agree_on_first_batch(self, checksum: int) -> None:
        """All ranks call this once per launch, with a checksum of the first batch of a stream.

        Raises:
            Unusable: they read different samples.
        """
        if self.ranks.world_size == 1 or self._state is None:
            return
        self._refuse(read_otherwise(self.ranks, checksum))

    def finish(self) -> None:
        """Training is complete: the last checkpoint, the last report.

        Raises:
            SystemExit: the checkpoint could not be saved.
        """
        error = self._save_now()
        self.close()
        if error:
            self._print(f"the last checkpoint was not saved: {error}")
            self._failed(Exit.NOT_SAVED, f"the last checkpoint was not saved: {error}")
            raise SystemExit(int(Exit.NOT_SAVED))
        early = ""
        if self.iteration < self.iterations:
            why = f": {self._why_early}" if self._why_early else ""
            early = f"finished early at iteration {self.iteration}{why}"
        self._end(Phase.FINISHED, Exit.FINISHED, early)
        self._print(early or f"finished at iteration {self.iteration}")

    def give_up(self, message: str) -> NoReturn:
        """Every rank comes here, with the same message.

        Raises:
            Unusable: always.
        """
        self.close()
        self._print(message)
        self._failed(Exit.UNUSABLE, message)
        raise Unusable(message)

    def _refuse(self, problem: str) -> None:
        """Give up where there is one."""
        if problem:
            self.give_up(problem)

    def close(self) -> None:
        """End the background threads, give signals back. Safe to call again."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._signals is not None:
            self._signals.restore()
            self._signals = None
        if self._live is not None:
            self._live.close()
        self.ranks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        clean = error is None or (isinstance(error, SystemExit) and not error.code)
        if self._left and clean:
            self._print(
                f"the loop was left at iteration {self.iteration} of {self.iterations}: "
                "session.stop() ends a training early, with a checkpoint"
            )
        if error is not None and not isinstance(error, SystemExit):
            self._failed(1, f"{type(error).__name__}: {error}".splitlines()[0])

    def _identity(self, snapshot: Snapshot) -> Identity:
        return Identity(
            self.global_batch_size, self._samples, self._seed, snapshot.format, self._signature
        )

    def _new_keeper(
        self, store: CheckpointStore, snapshot: Snapshot, saved_iteration: int | None
    ) -> Keeper:
        return Keeper(
            store,
            self.ranks,
            snapshot,
            self._identity(snapshot),
            self.reporter,
            self.environment.generation,
            saved_iteration,
        )

    def _restore(self, store: CheckpointStore, snapshot: Snapshot) -> Restored:
        try:
            restored = restore(
                self.ranks, store, snapshot, self._identity(snapshot).fields(), self._seed
            )
        except NotOursError as error:
            self.give_up(str(error))
        manifest = restored.manifest
        if manifest is None:
            self._print("starting at iteration 0")
            return restored
        self.iteration = manifest.iteration
        self._print(
            f"resumed at iteration {manifest.iteration} on {self.ranks.world_size} ranks "
            f"(saved on {manifest.world_size})"
        )
        return restored

    def _save_now(self) -> str:
        """Save this iteration unless it is saved already; the error, or nothing."""
        keeper = self._keeper
        return "" if keeper is None else self._kept(lambda: keeper.save(self.iteration))

    def _kept(self, save: Callable[[], T]) -> T:
        """Have something saved, or give up where this rank's state cannot be."""
        try:
            return save()
        except StateError as error:
            # Of this rank alone; the others end with it. Going on would lose all that follows.
            self.give_up(f"no checkpoint can be made: {error}")

    def _stop(self) -> NoReturn:
        self.reporter.enter(Phase.STOPPING, iteration=self.iteration, stop_iteration=self.iteration)
        error = self._save_now()
        self.close()
        if error:
            message = f"stopped, but the checkpoint was not saved: {error}"
            self._print(message)
            self._failed(Exit.NOT_SAVED, message)
            raise SystemExit(int(Exit.NOT_SAVED))
        self._end(Phase.STOPPED, Exit.STOPPED)
        self._print(f"stopped at iteration {self.iteration}")
        # torchrun would take any other code of a worker for a failure; progress.json tells.
        under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        leave(int(Exit.FINISHED if under_torchrun else Exit.STOPPED))

    def _end(self, phase: Phase, code: Exit, message: str = "") -> None:
        self.reporter.enter(
            phase,
            iteration=self.iteration,
            first_iteration_at=self._first_iteration_at,
            last_iteration_at=self._last_iteration_at,
            exit_code=int(code),
            message=message,
        )

    def _failed(self, code: int, message: str) -> None:
        self.reporter.enter(Phase.FAILED, exit_code=int(code), message=message)

    def _print(self, text: str) -> None:
        """A line for the job's log, whatever the script does with logging."""
        if self.ranks.first:
            print(f"ef-slurm: {text}", file=sys.stderr, flush=True)
