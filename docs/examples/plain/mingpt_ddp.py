"""Train a small network with a Trainer class and DDP, in the manner of PyTorch's minGPT-ddp.

Epochs, a scaler, clipping.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

BLOCK = 8


@dataclass
class TrainerConfig:
    max_epochs: int = 3
    batch_size: int = 32
    grad_norm_clip: float = 1.0
    snapshot_path: str = os.environ.get("SNAPSHOT", "snapshot.pt")
    save_every: int = 1


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
        self.local_rank = int(os.environ["LOCAL_RANK"])
        self.global_rank = int(os.environ["RANK"])
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", self.local_rank) if self.cuda else torch.device("cpu")
        self.train_dataset = train_dataset
        self.train_loader = self._prepare_dataloader(train_dataset)
        self.epochs_run = 0
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.cuda)
        self._load_snapshot()
        device_ids = [self.local_rank] if self.cuda else None
        self.model = DistributedDataParallel(self.model, device_ids=device_ids)

    def _prepare_dataloader(self, dataset):
        return DataLoader(
            dataset,
            batch_size=self.config.batch_size // dist.get_world_size(),
            sampler=DistributedSampler(dataset),
        )

    def _load_snapshot(self):
        if not os.path.exists(self.config.snapshot_path):
            return
        snapshot = torch.load(self.config.snapshot_path, map_location=self.device)
        self.model.load_state_dict(snapshot["model_state"])
        self.optimizer.load_state_dict(snapshot["optimizer_state"])
        self.epochs_run = snapshot["finished_epoch"]

    def _save_snapshot(self, epoch):
        snapshot = {
            "model_state": self.model.module.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "finished_epoch": epoch,
        }
        torch.save(snapshot, self.config.snapshot_path)

    def _run_batch(self, source, targets):
        with torch.autocast(self.device.type, torch.float16, enabled=self.cuda):
            _, loss = self.model(source, targets)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_norm_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def _run_epoch(self, epoch):
        self.train_loader.sampler.set_epoch(epoch)
        for iteration, (source, targets) in enumerate(self.train_loader):
            source, targets = source.to(self.device), targets.to(self.device)
            loss = self._run_batch(source, targets)
            if iteration % 10 == 0 and self.global_rank == 0:
                print(f"epoch {epoch} | iteration {iteration} | loss {loss:.5f}")
        self.last_loss = loss

    def train(self):
        for epoch in range(self.epochs_run, self.config.max_epochs):
            self._run_epoch(epoch)
            if self.global_rank == 0 and epoch % self.config.save_every == 0:
                self._save_snapshot(epoch + 1)
        if self.global_rank == 0:
            print(f"final: loss {self.last_loss:.5f}")


def main():
    dist.init_process_group(backend="nccl" if torch.cuda.is_available() else "gloo")
    torch.manual_seed(0)
    dataset = CharDataset("whoever promises much and keeps little is a poor scheduler " * 8)
    model = Model(len(dataset.stoi))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    Trainer(TrainerConfig(), model, optimizer, dataset).train()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
