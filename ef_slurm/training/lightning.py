"""Elastic training with Lightning (`pip install lightning`).

::

    elastic = Elastic(dataset, loader={"num_workers": 4})
    trainer = lightning.Trainer(**elastic.trainer_options(), callbacks=[elastic])
    trainer.fit(model, datamodule=elastic.data())

Data, batch sizes, restoring, saving and stopping are ef-slurm's; everything else stays Lightning's.
To Lightning the whole training is one epoch of `EF_ITERATIONS` steps: learning-rate schedulers
step by `"interval": "step"`, and `elastic.epoch` counts the passes over the data. Works with
automatic optimization on one device and with DDP.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Dataset

from ef_slurm.training.batches import PartSampler, Share
from ef_slurm.training.environment import environment
from ef_slurm.training.loader import part_loader
from ef_slurm.training.run import Run
from ef_slurm.training.state import Stateful, WholeSnapshot
from ef_slurm.training.stream import size_for


class Elastic(Callback):  # type: ignore[misc]
    """The callback; see the module. Arguments are those of `ef_slurm.training.session`."""

    def __init__(
        self,
        data: Dataset[Any],
        *,
        loader: Mapping[str, Any] | None = None,
        iterations: int | None = None,
        epochs: float | None = None,
        global_batch_size: int | None = None,
        max_batch_per_gpu: int | None = None,
        state_dir: Path | str | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ):
        self._data = data
        self._samples = size_for("Lightning", data)
        self._loader = loader or {}
        self._seed = seed
        self._shuffle = shuffle
        self._environment = environment(
            {
                "iterations": iterations,
                "global_batch_size": global_batch_size,
                "max_batch_per_gpu": max_batch_per_gpu,
                "state_dir": None if state_dir is None else Path(state_dir).absolute(),
            },
            epochs=epochs,
            samples=self._samples,
        )
        self._run: Run | None = None
        self._sampler: PartSampler | None = None
        self._slices: list[tuple[int, int]] = []
        self._part = 0

    @property
    def run(self) -> Run:
        """The run; it exists once Lightning has made the process group."""
        if self._run is None:
            self._run = Run(
                self._environment,
                samples=self._samples,
                seed=self._seed,
                shuffle=self._shuffle,
            )
        return self._run

    @property
    def epoch(self) -> int:
        """The pass over the data that the next iteration begins in, from 0."""
        assert self.run.order is not None
        return self.run.order.epoch(self.run.iteration)

    def trainer_options(self) -> dict[str, Any]:
        """What `lightning.Trainer` must be told in this launch."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        share = Share(
            self._environment.global_batch_size or world,
            0,
            world,
            self._environment.max_batch_per_gpu,
        )
        return {
            "num_nodes": int(os.environ.get("GROUP_WORLD_SIZE", "1")),
            "devices": int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            "max_epochs": 1,
            "accumulate_grad_batches": share.parts,
            "use_distributed_sampler": False,
            "enable_checkpointing": False,
        }

    def data(self) -> lightning.LightningDataModule:
        """The training data, for `Trainer.fit(datamodule=)`."""
        return _Data(self)

    def train_loader(self) -> DataLoader[Any]:
        """This rank's loader. Its first iteration is settled when training starts."""
        run = self.run
        assert run.order is not None
        self._slices = run.share.slices()
        self._sampler = PartSampler(run.order, run.share, 0, run.iterations)
        return part_loader(self._data, self._sampler, self._loader)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self._sampler is None:
            raise TypeError("give Elastic's data to the trainer: fit(model, datamodule=e.data())")
        others: dict[str, Stateful] = {
            "steps": trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress,
            "precision": trainer.precision_plugin,
            "callbacks": _Callbacks(trainer),
        }
        for number, optimizer in enumerate(trainer.optimizers):
            others[f"optimizer {number}"] = optimizer
        for number, config in enumerate(trainer.lr_scheduler_configs):
            others[f"scheduler {number}"] = config.scheduler
        self.run.start(WholeSnapshot(pl_module, others))
        self._sampler.start = self.run.iteration
        if self.run.iteration >= self.run.iterations:
            trainer.should_stop = True

    def on_before_backward(
        self, _trainer: lightning.Trainer, _module: lightning.LightningModule, loss: torch.Tensor
    ) -> None:
        first, end = self._slices[self._part]
        # Lightning has divided the loss by the number of parts already.
        weight = self.run.share.weight(end - first) * len(self._slices)
        if weight != 1.0:
            loss.register_hook(lambda gradient: gradient * weight)  # type: ignore[no-untyped-call]

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self._part = (self._part + 1) % len(self._slices)
        if self._part == 0:
            self.run.advance()

    def on_validation_start(self, *_: Any, **__: Any) -> None:
        self.run.begin_evaluation()

    def on_validation_end(self, *_: Any, **__: Any) -> None:
        self.run.end_evaluation()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.run.finish()

    def on_exception(
        self,
        _trainer: lightning.Trainer,
        _module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        self.run.__exit__(type(exception), exception, exception.__traceback__)


class _Data(lightning.LightningDataModule):  # type: ignore[misc]
    def __init__(self, elastic: Elastic):
        super().__init__()
        self._elastic = elastic

    def train_dataloader(self) -> DataLoader[Any]:
        return self._elastic.train_loader()


class _Callbacks:
    """The states of a trainer's callbacks."""

    def __init__(self, trainer: lightning.Trainer):
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        return {callback.state_key: callback.state_dict() for callback in self._trainer.callbacks}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        for callback in self._trainer.callbacks:
            if callback.state_key in states:
                callback.load_state_dict(states[callback.state_key])
