"""Elastic training with the Hugging Face Trainer (`pip install transformers accelerate`).

::

    trainer = ElasticTrainer(model=model, args=TrainingArguments(...), train_dataset=dataset)
    trainer.train()

Number of steps, accumulation, data order, restoring, saving and stopping are ef-slurm's; everything
else stays the Trainer's. The loss is the mean over the samples of a part, weighted so that it
counts like the mean over the global batch. To the Trainer the whole training is one epoch. Works on
one device and with DDP.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from ef_slurm.training.batches import PartSampler
from ef_slurm.training.environment import environment
from ef_slurm.training.loader import part_loader
from ef_slurm.training.run import Run
from ef_slurm.training.state import Stateful, WholeSnapshot
from ef_slurm.training.stream import size_for


class ElasticTrainer(Trainer):  # type: ignore[misc]
    """A Trainer that can be stopped at any step and goes on elsewhere.

    The arguments after `train_dataset` are those of `ef_slurm.training.session`; of `args`,
    `max_steps`, `gradient_accumulation_steps` and `save_strategy` are overridden, and
    `per_device_train_batch_size` means nothing.
    """

    def __init__(
        self,
        *,
        args: TrainingArguments,
        train_dataset: Any,
        iterations: int | None = None,
        epochs: float | None = None,
        global_batch_size: int | None = None,
        max_batch_per_gpu: int | None = None,
        state_dir: Path | str | None = None,
        seed: int = 0,
        shuffle: bool = True,
        **options: Any,
    ):
        samples = size_for("the Hugging Face Trainer", train_dataset)
        _ = args.device  # makes the process group
        run = Run(
            environment(
                {
                    "iterations": iterations,
                    "global_batch_size": global_batch_size,
                    "max_batch_per_gpu": max_batch_per_gpu,
                    "state_dir": None if state_dir is None else Path(state_dir).absolute(),
                },
                epochs=epochs,
                samples=samples,
            ),
            samples=samples,
            seed=seed,
            shuffle=shuffle,
        )
        args = dataclasses.replace(
            args,
            max_steps=run.iterations,
            gradient_accumulation_steps=run.share.parts,
            save_strategy="no",
        )
        self.elastic = run
        assert run.order is not None
        self._sampler = PartSampler(run.order, run.share, 0, run.iterations)
        self._slices = run.share.slices()
        self._part = 0
        super().__init__(args=args, train_dataset=train_dataset, **options)
        # Samples count here, not tokens.
        self.model_accepts_loss_kwargs = False
        self.add_callback(_Elastic(self))

    def get_train_dataloader(self) -> DataLoader[Any]:
        options: Mapping[str, Any] = {
            "collate_fn": self.data_collator,
            "num_workers": self.args.dataloader_num_workers,
            "pin_memory": self.args.dataloader_pin_memory,
        }
        return part_loader(self.train_dataset, self._sampler, options)

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        options["num_items_in_batch"] = None
        result = super().compute_loss(model, inputs, *arguments, **options)
        if not model.training:
            return result
        first, end = self._slices[self._part]
        self._part = (self._part + 1) % len(self._slices)
        # The Trainer divides the loss by the number of parts.
        weight = self.elastic.share.weight(end - first) * len(self._slices)
        if isinstance(result, tuple):
            return (result[0] * weight, *result[1:])
        return result * weight

    def train(self, *arguments: Any, **options: Any) -> Any:
        with self.elastic:
            return super().train(*arguments, **options)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        self.elastic.begin_evaluation()
        try:
            return super().evaluate(*arguments, **options)
        finally:
            self.elastic.end_evaluation()

    def start(self) -> None:
        """Restore; called when model and optimizer are complete."""
        others: dict[str, Stateful] = {
            "optimizer": self.optimizer,
            "scheduler": self.lr_scheduler,
            "trainer": _State(self),
        }
        self.elastic.start(WholeSnapshot(self.model, others))
        self._sampler.start = self.state.global_step = self.elastic.iteration


class _Elastic(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trainer: ElasticTrainer):
        self._trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._trainer.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._trainer.elastic.advance()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._trainer.elastic.finish()


class _State:
    """What the Trainer itself keeps of a training."""

    def __init__(self, trainer: Trainer):
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        state = self._trainer.state
        return {"log_history": state.log_history, "total_flos": state.total_flos}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        for name, value in states.items():
            setattr(self._trainer.state, name, value)
