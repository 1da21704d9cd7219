"""Train a small network on images, in the manner of PyTorch's imagenet example.

Epochs, a learning rate that steps after each, an evaluation, the best result, DDP.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ef_slurm import training


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
    return parser.parse_args()


def train(loader, model, criterion, optimizer, device):
    model.train()
    for step in loader:
        optimizer.zero_grad()
        for images, target in step:
            images, target = images.to(device), target.to(device)
            loss = criterion(model(images), target)
            step.backward(loss)
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
    device = training.init()
    torch.manual_seed(0)

    model = training.parallel(build_model().to(device))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.3)

    train_set, val_set = Shapes(1000, seed=1), Shapes(200, seed=2)
    val_loader = DataLoader(val_set, args.batch_size)

    with training.session(
        model,
        optimizer,
        scheduler=scheduler,
        data=train_set,
        epochs=args.epochs,
        global_batch_size=args.batch_size,
    ) as session:
        for epoch in session.epochs():
            train(epoch, model, criterion, optimizer, device)
            with session.evaluating():
                accuracy = validate(val_loader, model, device)
            scheduler.step()
            best = session.extra["best"] = max(session.extra.get("best", 0.0), accuracy)
            if session.first:
                print(f"epoch {epoch.number}: accuracy {accuracy:.4f}, best {best:.4f}")
    if session.first:
        print(f"final: best {session.extra['best']:.4f}")


if __name__ == "__main__":
    main()
