"""Train a small network with a Trainer class and DDP, in the manner of PyTorch's minGPT-ddp.

Epochs, a scaler, clipping.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import Dataset

from ef_slurm import training

BLOCK = 8


@dataclass
class TrainerConfig:
    max_epochs: int = 3
    batch_size: int = 32
    grad_norm_clip: float = 1.0


class CharDataset(Dataset):
    def __init__(self, text):
        self.stoi = {character: i for i, character in enumerate(sorted(set(text)))}
        self.data = torch.tensor([self.stoi[character] for character in text])

    def __len__(self):
        return len(self.data) - BLOCK

    def __getitem__(self, i):
        chunk = self.data[i : i + BLOCK + 1]
        return chunk[:-1], chunk[1:]


class Model(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 16)
        self.recurrent = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, vocabulary)

    def forward(self, x, targets):
        hidden, _ = self.recurrent(self.embedding(x))
        logits = self.head(hidden)
        return logits, nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Trainer:
    def __init__(self, config, model, optimizer, train_dataset):
        self.config = config
        self.device = training.init()
        self.cuda = self.device.type == "cuda"
        self.train_dataset = train_dataset
        self.model = training.parallel(model.to(self.device))
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.cuda)

    def _run_batch(self, step):
        self.optimizer.zero_grad(set_to_none=True)
        for source, targets in step:
            source, targets = source.to(self.device), targets.to(self.device)
            with torch.autocast(self.device.type, torch.float16, enabled=self.cuda):
                _, loss = self.model(source, targets)
            step.backward(loss)
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_norm_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def _run_epoch(self, epoch):
        for step in epoch:
            loss = self._run_batch(step)
            if step.iteration % 10 == 0 and self.session.first:
                print(f"epoch {epoch.number} | iteration {step.iteration} | loss {loss:.5f}")
            self.session.extra["loss"] = loss

    def train(self):
        with training.session(
            self.model,
            self.optimizer,
            scaler=self.scaler,
            data=self.train_dataset,
            epochs=self.config.max_epochs,
            global_batch_size=self.config.batch_size,
        ) as self.session:
            for epoch in self.session.epochs():
                self._run_epoch(epoch)
        if self.session.first:
            print(f"final: loss {self.session.extra['loss']:.5f}")


def main():
    torch.manual_seed(0)
    dataset = CharDataset("whoever promises much and keeps little is a poor scheduler " * 8)
    model = Model(len(dataset.stoi))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    Trainer(TrainerConfig(), model, optimizer, dataset).train()


if __name__ == "__main__":
    main()
