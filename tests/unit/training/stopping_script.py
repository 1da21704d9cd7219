"""Two ranks of which one ends the training, or all do; each writes the iterations that it did."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ef_slurm import training


def main(who: str, record: str) -> None:
    training.init()
    rank = dist.get_rank()
    data = torch.utils.data.TensorDataset(torch.rand(64, 3), torch.rand(64, 1))
    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with training.session(
        model, optimizer, data=data, iterations=100_000, global_batch_size=8
    ) as session:
        for step in session:
            for x, y in step:
                step.backward(torch.nn.functional.mse_loss(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
            if step.iteration >= 50 and who in ("all", str(rank)):
                session.stop("good enough")
        Path(f"{record}.{rank}").write_text(str(session.iteration))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
