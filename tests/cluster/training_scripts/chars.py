"""Train a small character-level model on the licence texts that every Debian system has.

What a person would write with ef_slurm.training, plus a record of the loss and of the samples of
each iteration, so that tests can compare runs. The same script runs on a laptop:

    python chars.py --iterations 100 --batch 32 --state-dir /tmp/chars
"""

import argparse
import json
import os
import time
from pathlib import Path

BEGAN = time.time()
import torch  # noqa: E402 - how long these take is measured
import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import Dataset  # noqa: E402

from ef_slurm import training  # noqa: E402

IMPORTED = time.time()

CORPUS = Path("/usr/share/common-licenses")
CONTEXT = 16


class Characters(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """Windows of CONTEXT characters and the character that follows; with each, its index."""

    def __init__(self, samples: int):
        names = ("Apache-2.0", "GPL-2", "GPL-3", "LGPL-2.1", "MPL-2.0")
        text = b"".join((CORPUS / n).read_bytes() for n in names if (CORPUS / n).is_file())
        self.text = torch.frombuffer(bytearray(text), dtype=torch.uint8).long() % 128
        self.samples = min(samples, len(self.text) - CONTEXT)

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        return self.text[i : i + CONTEXT], self.text[i + CONTEXT], i


class Model(nn.Module):
    def __init__(self, width: int, ballast: int = 0):
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        self.body = nn.Sequential(
            nn.Linear(width * CONTEXT, 4 * width), nn.Tanh(), nn.Linear(4 * width, 128)
        )
        if ballast:
            size = ballast * 2**20 // 8
            self.ballast = nn.Parameter(torch.zeros(size), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(self.embedding(x).flatten(1))
        return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--limit", type=int, help="most samples per forward pass")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="adamw")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--ballast", type=int, default=0, help="MB that make checkpoints larger")
    parser.add_argument("--wrapper", choices=("ddp", "fsdp", "parallel"), default="ddp")
    parser.add_argument("--state-dir")
    parser.add_argument("--record", help="file to append one line per iteration to")
    parser.add_argument("--times", help="file to append the instants of this start to")
    parser.add_argument("--sleep", type=float, default=0.0, help="seconds added to an iteration")
    parser.add_argument("--slowly", help="sleep only as long as this file exists")
    parser.add_argument("--workers", type=int, default=0)
    return parser.parse_args()


def wrap(model: "Model", kind: str) -> nn.Module:
    if kind == "parallel":
        return training.parallel(model)
    if not dist.is_initialized():
        return model
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    fully_shard(model.body, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def total(value: torch.Tensor) -> torch.Tensor:
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def all_indices(indices: list[int]) -> list[int]:
    if not dist.is_initialized():
        return sorted(indices)
    gathered: list[list[int]] = [[]] * dist.get_world_size()
    dist.all_gather_object(gathered, indices)
    return sorted(i for part in gathered for i in part)


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    # Rounding differs between world sizes and grows with the iterations; in double precision it
    # stays far below any real difference.
    torch.set_default_dtype(torch.float64)
    device = training.init()
    times = {"began": BEGAN, "imported": IMPORTED, "joined": time.time()}
    torch.manual_seed(1)
    model = wrap(Model(args.width, args.ballast).to(device), args.wrapper)
    optimizer: torch.optim.Optimizer
    if args.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    data = Characters(args.samples)
    times["built"] = time.time()
    with training.session(
        model,
        optimizer,
        scheduler=scheduler,
        data=data,
        loader={"num_workers": args.workers},
        iterations=args.iterations,
        global_batch_size=args.batch,
        max_batch_per_gpu=args.limit,
        state_dir=args.state_dir,
        sharded=args.wrapper == "fsdp" or None,
    ) as session:
        times["restored"] = time.time()
        for step in session:
            world = dist.get_world_size() if dist.is_initialized() else 1
            loss_sum = torch.zeros((), device=device)
            indices: list[int] = []
            for x, y, i in step:
                loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
                step.backward(loss)
                loss_sum += loss.detach() * step.weight / world
                if step.weight:
                    indices += i.tolist()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            if args.times and "iterated" not in times:
                times["iterated"] = time.time()
                if not dist.is_initialized() or dist.get_rank() == 0:
                    with Path(args.times).open("a") as file:
                        file.write(json.dumps(times) + "\n")
            if args.sleep and (args.slowly is None or Path(args.slowly).exists()):
                time.sleep(args.sleep)
            if args.record:
                line = {
                    "iteration": step.iteration,
                    "loss": total(loss_sum).item(),
                    "indices": all_indices(indices),
                    "world": world,
                    "time": time.time(),
                    "generation": int(os.environ.get("EF_GENERATION", "0")),
                    "lr": scheduler.get_last_lr()[0],
                }
                if not dist.is_initialized() or dist.get_rank() == 0:
                    with Path(args.record).open("a") as file:
                        file.write(json.dumps(line) + "\n")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
