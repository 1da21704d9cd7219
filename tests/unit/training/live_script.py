"""A training whose loss is recorded exactly, for tests of live changes."""

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm import training

SAMPLES = 96
DEVICE = torch.device(os.environ.get("EF_TEST_DEVICE", "cpu"))
"""`EF_TEST_DEVICE=cuda`: all ranks share one GPU, which NCCL would not do."""


class Points(torch.utils.data.Dataset[Any]):
    """Points of a curve."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(SAMPLES, 6, generator=generator, dtype=torch.float64)
        self.y = self.x.sin().sum(1, keepdim=True)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.y[index]


class Endless(torch.utils.data.IterableDataset[Any]):
    """The same points one after the other."""

    def __iter__(self) -> Any:
        points = Points()
        return (points[index] for index in range(SAMPLES))


class Recorder:
    """The loss of each iteration, as all ranks together have it."""

    def __init__(self, path: Path):
        self._path = path

    def add(self, session: training.Session, iteration: int, loss: torch.Tensor) -> None:
        world = dist.get_world_size() if dist.is_initialized() else 1
        if world > 1:
            dist.all_reduce(loss)
        if session.first:
            entry = {
                "iteration": iteration,
                "loss": loss.item() / world,
                "world": world,
                "pid": os.getpid(),
                "rank": int(os.environ.get("RANK", "0")),
                "says": int(os.environ.get("WORLD_SIZE", "1")),
                "seen": session.extra.get("seen", 0),
                "at": time.time(),
            }
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")


def join() -> None:
    """Into the process group; one GPU stands for that of each rank."""
    if DEVICE.type == "cuda":
        torch.cuda.set_device = lambda _: None  # type: ignore[assignment]
    training.init("gloo")


def train(given: dict[str, Any]) -> None:
    """Train as `given` says: optimizer, loop, data, limit, width, spoilt, record."""
    join()
    torch.manual_seed(1 + int(os.environ.get("RANK", "0")))
    width = given.get("width", 8)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, width), torch.nn.Tanh(), torch.nn.BatchNorm1d(width, affine=False).eval()
    )
    net.append(torch.nn.Linear(width, 1))
    net.double().to(DEVICE)
    wrapped = given.get("wrap", "parallel")
    model = training.parallel(net) if wrapped == "parallel" else training.wrap(net)
    optimizer: torch.optim.Optimizer
    if given.get("optimizer") == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 40, 0.9)
    data: Any = Endless() if given.get("data") == "stream" else Points()
    with training.session(
        model,
        optimizer,
        data=data,
        scheduler=scheduler,
        loader={"num_workers": given["workers"]} if given.get("workers") else None,
        max_batch_per_gpu=given.get("limit"),
    ) as session:
        recorder = Recorder(Path(given["record"]))
        slowly = Path(given["record"]).with_name("slowly")

        def iterate(step: training.Step) -> None:
            total = torch.zeros((), dtype=torch.float64)
            for x, y in step:
                loss = torch.nn.functional.mse_loss(model(x.to(DEVICE)), y.to(DEVICE))
                total += loss.detach().cpu() * step.weight
                step.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            if given.get("spoilt"):
                session.extra["code"] = iterate
            session.extra["seen"] = session.extra.get("seen", 0) + 1
            recorder.add(session, step.iteration, total)
            if slowly.exists():
                time.sleep(0.03)

        if given.get("loop") == "epochs":
            for epoch in session.epochs():
                for step in epoch:
                    iterate(step)
                with session.evaluating():
                    session.extra.setdefault("evaluated", []).append(epoch.number)
                    if dist.get_world_size() > 1:
                        dist.barrier()
        else:
            for step in session:
                iterate(step)
