"""Train a small network on images, in the manner of PyTorch's imagenet example.

Epochs, a learning rate that steps after each, an evaluation, the best result, DDP.
"""

import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler


class Shapes(Dataset):
    """Images of 8 x 8 pixels, bright on one side: on which?"""

    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(4, (size,), generator=generator)
        self.images = torch.rand(size, 1, 8, 8, generator=generator)
        bright = torch.zeros(8, 8)
        bright[:3] = 0.5
        for image, label in zip(self.images, self.labels):
            image += torch.rot90(bright, int(label))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4)
    )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--resume", default="")
    parser.add_argument("--save", default="checkpoint.pt")
    return parser.parse_args()


def train(loader, model, criterion, optimizer, device):
    model.train()
    for images, target in loader:
        images, target = images.to(device), target.to(device)
        loss = criterion(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def validate(loader, model, device):
    model.eval()
    right = total = 0
    for images, target in loader:
        right += (model(images.to(device)).argmax(1) == target.to(device)).sum().item()
        total += len(target)
    return right / total


def main():
    args = parse_arguments()
    distributed = "RANK" in os.environ
    cuda = torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if distributed:
        dist.init_process_group("nccl" if cuda else "gloo")
    rank = dist.get_rank() if distributed else 0
    world_size = dist.get_world_size() if distributed else 1
    torch.manual_seed(0)

    model = build_model().to(device)
    if distributed:
        model = DistributedDataParallel(model, device_ids=[local_rank] if cuda else None)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.3)

    train_set, val_set = Shapes(1000, seed=1), Shapes(200, seed=2)
    sampler = DistributedSampler(train_set) if distributed else None
    batch_size = args.batch_size // world_size
    train_loader = DataLoader(train_set, batch_size, shuffle=sampler is None, sampler=sampler)
    val_loader = DataLoader(val_set, batch_size)

    start_epoch, best = 0, 0.0
    if args.resume:
        checkpoint = torch.load(args.resume, map_location=device)
        start_epoch, best = checkpoint["epoch"], checkpoint["best"]
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        scheduler.load_state_dict(checkpoint["scheduler"])

    for epoch in range(start_epoch, args.epochs):
        if distributed:
            sampler.set_epoch(epoch)
        train(train_loader, model, criterion, optimizer, device)
        accuracy = validate(val_loader, model, device)
        scheduler.step()
        best = max(best, accuracy)
        if rank == 0:
            print(f"epoch {epoch}: accuracy {accuracy:.4f}, best {best:.4f}")
            checkpoint = {
                "epoch": epoch + 1,
                "best": best,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
            }
            torch.save(checkpoint, args.save)
    if rank == 0:
        print(f"final: best {best:.4f}")


if __name__ == "__main__":
    main()
