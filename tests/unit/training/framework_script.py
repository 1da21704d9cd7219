"""A regression trained by Lightning or by the Hugging Face Trainer, as its user would write it:
framework_script.py lightning|huggingface RECORD. Prints the final weights into RECORD."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

SAMPLES = 50


class Points(Dataset[Any]):
    def __init__(self, named: bool):
        self.named = named

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, i: int) -> Any:
        x = torch.tensor([i / SAMPLES, (i * i % 7) / 7, 1.0])
        y = (x * torch.tensor([1.0, -2.0, 0.5])).sum().reshape(1)
        return {"x": x, "labels": y} if self.named else (x, y)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def optimizers(model: nn.Module) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.7)


def with_lightning() -> nn.Module:
    import lightning
    from lightning.pytorch.plugins.environments import TorchElasticEnvironment

    from ef_slurm.training.lightning import Elastic

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any) -> torch.Tensor:
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer, scheduler = optimizers(self.net)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

        def on_train_batch_end(self, *_: Any) -> None:
            slow_down()

    elastic = Elastic(Points(named=False))
    module = Module()
    trainer = lightning.Trainer(
        **elastic.trainer_options(),
        callbacks=[elastic],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[TorchElasticEnvironment()] if TorchElasticEnvironment.detect() else None,
    )
    trainer.fit(module, datamodule=elastic.data())
    assert trainer.global_step == elastic.run.iterations
    return module.net


def with_huggingface() -> nn.Module:
    from transformers import TrainingArguments

    from ef_slurm.training.huggingface import ElasticTrainer

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            slow_down()
            return {"loss": nn.functional.mse_loss(self.net(x), labels)}

    model = Model()
    arguments = TrainingArguments(
        output_dir="unused", use_cpu=True, report_to=[], disable_tqdm=True, max_grad_norm=0.0
    )
    trainer = ElasticTrainer(
        model=model,
        args=arguments,
        train_dataset=Points(named=True),
        optimizers=optimizers(model),
    )
    trainer.train()
    assert trainer.state.global_step == trainer.elastic.iterations
    return model.net


def slow_down() -> None:
    import os
    import time

    time.sleep(float(os.environ.get("SLEEP", "0")))


def main() -> None:
    torch.set_num_threads(1)
    net = {"lightning": with_lightning, "huggingface": with_huggingface}[sys.argv[1]]()
    weights = [value for p in net.parameters() for value in p.flatten().tolist()]
    Path(sys.argv[2]).write_text(json.dumps(weights))


if __name__ == "__main__":
    main()
