"""The interface for a plain PyTorch loop."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from ef_slurm.contract import ContractError, JobEnvironment
from ef_slurm.training.batches import PartSampler
from ef_slurm.training.environment import environment
from ef_slurm.training.epochs import Counted, Epoch, ExtraState, epochs
from ef_slurm.training.leaving import Unusable
from ef_slurm.training.live import Live, obstacle
from ef_slurm.training.loader import part_loader
from ef_slurm.training.parallel import Parallel
from ef_slurm.training.run import Run
from ef_slurm.training.shards import ShardedSnapshot
from ef_slurm.training.state import Snapshot, Stateful, WholeSnapshot, is_sharded
from ef_slurm.training.stream import DataError, Stream, samples_of

_OWN_NAMES = {"model", "optimizer", "scheduler", "scaler", "extra", "stream", "sharded"}


class Step:
    """One iteration: this rank's part(s) of one global batch.

    Attributes:
        iteration: iterations done before this one.
        weight: what the mean loss over the current part counts; `backward` applies it.
    """

    def __init__(self, run: Run, parts: Callable[[], Any], session: "Session"):
        self.iteration = run.iteration
        self._run = run
        self._next = parts
        self._session = session
        self._slices = run.share.slices()
        self.weight = 0.0

    def __len__(self) -> int:
        return len(self._slices)

    def __iter__(self) -> Iterator[Any]:
        last = len(self._slices) - 1
        for number, (first, end) in enumerate(self._slices):
            self.weight = self._run.share.weight(end - first)
            with self._session.synchronize(number == last):
                yield self._next()

    def backward(self, loss: torch.Tensor) -> None:
        """Backward pass for the mean loss over the current part.

        Weighted so that the gradients are those of the mean over the whole global batch, at any
        world size.
        """
        loss = loss * self.weight
        scaler = self._session.scaler
        if scaler is not None:
            loss = scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]


class Session:
    """A training that can be stopped at any iteration and goes on elsewhere; see `session`.

    Attributes:
        extra: state of the script's own, kept in checkpoints: whatever `values` knows.
        scaler: the gradient scaler, or None.
        counted: epochs, where it counts in them.
    """

    def __init__(
        self,
        run: Run,
        snapshot: Snapshot,
        extra: dict[str, Any],
        counted: Counted,
        model: torch.nn.Module,
        scaler: Any,
        data: Dataset[Any] | Stream | int,
        loader: Mapping[str, Any],
        live: Live | None = None,
        obstacle: str = "",
    ):
        self._run = run
        self.extra = extra
        self.counted = counted
        self.scaler = scaler
        self._model = model
        self._data = data
        self._loader = loader
        self._live = live
        self._reading: Iterator[Any] | None = None
        run.start(snapshot, live, obstacle)

    @property
    def iteration(self) -> int:
        """Iterations done, over all launches."""
        return self._run.iteration

    @property
    def iterations(self) -> int:
        """Iterations of the whole training."""
        return self._run.iterations

    @property
    def first(self) -> bool:
        """Whether this is the rank that prints and writes for all."""
        return self._run.ranks.first

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration begins in, from 0."""
        if isinstance(self._data, Stream):
            return self._data.epoch
        assert self._run.order is not None
        return self._run.order.epoch(self._run.iteration)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run.__exit__(kind, error, trace)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Tell that an evaluation goes on: it takes its time and is no training that hangs.

        ::

            with session.evaluating():
                accuracy = evaluate(model)
        """
        self._run.begin_evaluation()
        try:
            yield
        finally:
            self._run.end_evaluation()

    @property
    def over(self) -> bool:
        """Whether no iteration is left: all are done, or `stop` has ended it."""
        return self._run.over

    def stop(self, reason: str = "") -> None:
        """End the training here: converged, good enough, no better for long.

        The loop ends after this iteration (with several ranks a few later, at the same one on all),
        the checkpoint is saved, and the job is complete: "finished early at iteration n". One rank
        may call it, or all.

        Args:
            reason: a few words for the job's story.
        """
        self._run.stop(reason)

    def __iter__(self) -> Iterator[Step]:
        """The iterations that are left.

        Raises:
            SystemExit: the ranks stop here, as ordered or on TERM.
        """
        self._read_on()
        yield from self._steps(lambda: False)
        self._run.finish()

    def epochs(self) -> Iterator[Epoch]:
        """The epochs that are left, each with its iterations, and room for what follows on them.

        ::

            for epoch in session.epochs():
                for step in epoch:
                    ...
                with session.evaluating():
                    accuracy = evaluate(model)
                scheduler.step()

        What stands behind the inner loop is done once for each epoch, wherever the job is stopped.

        Raises:
            SystemExit: the ranks stop here, as ordered or on TERM.
            RuntimeError: the script has left an epoch before its end.
        """
        # A rank that waits while others train could not go on in the midst of another epoch.
        if self._live is not None:
            self._live.may_wait = False
        self._read_on()
        try:
            yield from epochs(self, self._steps)
        except GeneratorExit:
            self._run.left_early()
            raise
        self._run.finish()

    def _steps(self, until: Callable[[], bool]) -> Iterator[Step]:
        run = self._run
        while not run.over and not until():
            try:
                yield Step(run, self._next, self)
            except GeneratorExit:  # break, an exit of the script's own, or an error
                run.left_early()
                raise
            changes = run.changes
            run.advance()
            if run.changes != changes:
                self._read_on()
                run.going_on()

    def _next(self) -> Any:
        assert self._reading is not None
        try:
            return next(self._reading)
        except DataError as error:
            self._run.give_up(str(error))

    def synchronize(self, last: bool) -> AbstractContextManager[Any]:
        """Data-parallel wrappers average gradients once per iteration, after the last part."""
        if last or not isinstance(self._model, (DistributedDataParallel, Parallel)):
            return nullcontext()
        return self._model.no_sync()

    def _read_on(self) -> None:
        """Read this rank's share, from the iteration that comes next."""
        self._reading = None  # a loader's workers end here
        self._reading = self._parts()

    def _parts(self) -> Iterator[Any]:
        run = self._run
        if isinstance(self._data, Stream):
            self._data.shared(run.share)
            return self._data.parts()
        assert run.order is not None
        sampler = PartSampler(run.order, run.share, run.iteration, run.iterations)
        if isinstance(self._data, int):
            return iter(sampler)
        return iter(part_loader(self._data, sampler, self._loader))


def session(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    data: Dataset[Any] | Iterable[Any] | int,
    scheduler: Stateful | None = None,
    scaler: Any = None,
    state: Mapping[str, Stateful] | None = None,
    loader: Mapping[str, Any] | None = None,
    iterations: int | None = None,
    epochs: float | None = None,
    global_batch_size: int | None = None,
    max_batch_per_gpu: int | None = None,
    state_dir: Path | str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    sharded: bool | None = None,
) -> Session:
    """Make a training loop elastic.

    ::

        with training.session(model, optimizer, data=dataset) as session:
            for step in session:
                for x, y in step:
                    step.backward(loss(model(x), y))
                optimizer.step()
                optimizer.zero_grad()

    Call it after the process group exists and the model is wrapped (DDP, FSDP): it restores the
    newest good checkpoint into the given objects. The loop then runs from that iteration to the
    last; when it is to stop, all ranks save the same iteration and leave by SystemExit. What
    `finally`, `with` and `atexit` are to do is done as ever; only Python's last search for
    reference cycles is left out, because it would be the longest part of a stop.

    Args:
        model: the module, wrapped or not. The checkpoint does not depend on the wrapper, except
            that distributed parameters (FSDP) are saved `sharded`.
        optimizer: its optimizer.
        data: a map-style data set, or the number of samples; each part is then a list of indices.
            Or an iterable that yields the same samples in the same order on every rank and in every
            launch (an `IterableDataset`, a `StatefulDataLoader` with `batch_size=None`): each rank
            reads all of it and takes its own. See `stream` for how it is continued.
        scheduler: learning-rate scheduler; the script steps it.
        scaler: gradient scaler; `step.backward` scales the loss, the script steps and updates it.
        state: more objects with `state_dict` and `load_state_dict`, by name. Checkpoints hold
            numbers, texts, tensors, arrays, and containers, dataclasses and enums of them; what
            else is found there is refused (`values`).
        loader: options for `torch.utils.data.DataLoader` (workers, collate_fn, ...); for an
            iterable `collate_fn` alone.
        iterations: of the whole training. As submitted (`EF_ITERATIONS`) if it was.
        epochs: passes over the data set, instead of `iterations`; the last batch is a whole one.
        global_batch_size: samples per iteration over all ranks. As submitted if it was.
        max_batch_per_gpu: most samples in one forward pass; more are accumulated.
        state_dir: where checkpoints go, if not submitted. None: none are made.
        seed: of the data order (and of random numbers at a new world size).
        shuffle: a new order each epoch; otherwise the data set's own. An iterable has its own.
        sharded: force the format of the checkpoint, for scripts that use FSDP at some world sizes
            only. It must be the same at all of them.

    Raises:
        Unusable: (a SystemExit, code 78, with a line in the log) the training cannot work as asked.
    """
    problem, samples = "", None
    try:
        samples = samples_of(data, loader or {}, epochs)
    except DataError as error:
        problem = str(error)
    try:
        asked = environment(
            {
                "iterations": iterations,
                "global_batch_size": global_batch_size,
                "max_batch_per_gpu": max_batch_per_gpu,
                "state_dir": None if state_dir is None else Path(state_dir).absolute(),
            },
            epochs=None if samples is None else epochs,
            samples=samples or 0,
        )
    except ContractError as error:
        raise Unusable.before_the_run(str(error)) from None
    run = Run(asked, samples=samples, seed=seed, shuffle=shuffle)
    taken = sorted(_OWN_NAMES & set(state or {}))
    if taken:
        problem = f"state={{{taken[0]!r}: ...}}: this name is taken; choose another"
    if problem:
        run.give_up(problem)
    source: Any = data
    extra: dict[str, Any] = {}
    counted = Counted()
    others: dict[str, Stateful] = {"extra": ExtraState(extra, counted), **(state or {})}
    if samples is None:
        source = Stream(data, run.share, loader or {}, run.agree_on_first_batch)
        others["stream"] = source
    if scheduler is not None:
        others["scheduler"] = scheduler
    if scaler is not None:
        others["scaler"] = scaler
    snapshot: Snapshot
    if is_sharded(model) if sharded is None else sharded:
        snapshot = ShardedSnapshot(model, optimizer, others)
    else:
        if optimizer is not None:
            others["optimizer"] = optimizer
        snapshot = WholeSnapshot(model, others)
    made = Session(
        run,
        snapshot,
        extra,
        counted,
        model,
        scaler,
        source,
        loader or {},
        *_live_changes(model, snapshot, asked),
    )
    if optimizer is not None and run.iteration:
        # A launch may begin with a scheduler's step, after an epoch that ended in the one before:
        # torch warns of it unless the optimizer has made one.
        optimizer._opt_called = True  # type: ignore[attr-defined]
    return made


def _live_changes(
    model: torch.nn.Module, snapshot: Snapshot, environment: JobEnvironment
) -> tuple[Live | None, str]:
    """What makes live changes, and why there can be none."""
    problem = obstacle(model, isinstance(snapshot, ShardedSnapshot), environment.change > 0)
    if problem or not isinstance(model, Parallel) or not isinstance(snapshot, WholeSnapshot):
        return None, problem
    return Live(model, snapshot, environment), ""
