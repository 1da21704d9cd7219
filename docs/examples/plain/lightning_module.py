"""Train a small network with Lightning."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

    def training_step(self, batch):
        x, y = batch
        loss = nn.functional.cross_entropy(self.network(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 80)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def main():
    lightning.seed_everything(0, verbose=False)
    x = torch.randn(1280, 16)
    dataset = TensorDataset(x, x[:, :4].argmax(1))
    trainer = lightning.Trainer(
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), DataLoader(dataset, batch_size=32, shuffle=True))
    print(f"final: step {trainer.global_step}")


if __name__ == "__main__":
    main()
