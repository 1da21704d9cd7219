"""One launch of a training, whatever framework runs the loop: what happens between iterations.

`beginning` is how it gets there, `ending` how it leaves. `session` builds the plain PyTorch
interface on it, `lightning` and `huggingface` theirs.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import torch

from ef_slurm.contract import ContractError, Exit, JobEnvironment, Phase, StateDir
from ef_slurm.training.batches import BatchError, Order, Share
from ef_slurm.training.beginning import Beginning, CannotBeginError, Training
from ef_slurm.training.ending import Ending, Trained
from ef_slurm.training.environment import targets
from ef_slurm.training.keeper import Keeper
from ef_slurm.training.leaving import leave
from ef_slurm.training.live import Ended, Live, say_left
from ef_slurm.training.preconditions import read_otherwise, too_few_ranks
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks, RanksError, of_process_group
from ef_slurm.training.state import Snapshot, seed_rng
from ef_slurm.training.values import StateError
from ef_slurm.training.watch import Changes, Kind, Meeting, Request, Signals, Watcher

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
        self._ending = Ending(self.reporter, self._print)
        self._signals: Signals | None = None
        self._watcher: Watcher | None = None
        self._live: Live | None = None
        self._size_changes: Changes | None = None
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
        self._left = self._closed = False
        self._training = Training(
            self.iterations, self.global_batch_size, environment.max_batch_per_gpu, samples, seed
        )
        self._first_iteration_at: float | None = None
        self._last_iteration_at: float | None = None
        self._meeting = Meeting(0)
        self._keeper: Keeper | None = None

    def start(self, snapshot: Snapshot, live: Live | None = None, obstacle: str = "") -> None:
        """Restore the newest good checkpoint into the snapshot's objects; start watching.

        Args:
            live: makes changes of size while training goes on; None: there are none.
            obstacle: why not.

        Raises:
            Unusable: the state directory, or the checkpoint in it, is not for this training.
            SystemExit: this process was to be taken in, and is not needed any more.
            OSError, RanksError: the disk is full or away: this launch fails, the next may not.
        """
        self._live = live
        if self._state is None:
            self.reporter.enter(Phase.RUNNING)
            return
        beginning = Beginning(
            self.environment,
            self._state,
            self._training,
            snapshot,
            live,
            obstacle,
            self.reporter,
            self._print,
        )
        if not self._newcomer:
            self._refuse(self._unless_away(lambda: beginning.open(self.ranks)))
        self._signals = signals = Signals(self.environment.stop_signal)
        try:
            if self._newcomer:
                begun = beginning.join(lambda: signals.terminated)
            else:
                begun = self._unless_away(lambda: beginning.resume(self.ranks))
        except Ended as ended:
            self._leave(str(ended))
        except CannotBeginError as error:
            self.give_up(str(error))
        self.iteration, self._keeper = begun.iteration, begun.keeper
        self._size_changes = begun.changes
        if self._newcomer:
            self._settle(begun.ranks)
        self._watch()

    def _unless_away(self, begin: Callable[[], T]) -> T:
        try:
            return begin()
        except (OSError, RanksError) as error:
            self.close()
            self._ending.broken_off(error)
            raise

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
            self._size_changes,
            self.environment.next_file,
        )
        self._watcher.start()

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
        seed_rng(self._training.seed, self.iteration, ranks.rank)
        self.changes += 1

    def going_on(self) -> None:
        """The data is there again after a live change: training stood still until now."""
        if self._live is not None and self._last_iteration_at is not None:
            seconds = max(0.0, time.time() - self._last_iteration_at)
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
        """The script has left its loop before the last iteration, and has not said `stop`.

        What is called after the end of the run, or of Python, is only the loop being cleared away:
        the frame of an error, or of a stop, may hold it that long.
        """
        if self._closed or sys.is_finalizing():
            return
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
        unsaved = self._save_now()
        self.close()
        self._ending.finished(self._trained(), self.iterations, self._why_early, unsaved)

    def give_up(self, message: str) -> NoReturn:
        """Every rank comes here, with the same message.

        Raises:
            Unusable: always.
        """
        self.close()
        self._ending.given_up(message)

    def _refuse(self, problem: str) -> None:
        """Give up where there is one."""
        if problem:
            self.give_up(problem)

    def close(self) -> None:
        """End the background threads, give signals back. Safe to call again."""
        self._closed = True
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
            self._ending.broken_off(error)

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
        unsaved = self._save_now()
        self.close()
        self._ending.stopped(self._trained(), unsaved)

    def _trained(self) -> Trained:
        return Trained(self.iteration, self._first_iteration_at, self._last_iteration_at)

    def _print(self, text: str) -> None:
        """A line for the job's log, whatever the script does with logging."""
        if self.ranks.first:
            print(f"ef-slurm: {text}", file=sys.stderr, flush=True)
