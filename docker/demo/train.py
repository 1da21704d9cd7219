"""The demo's training: a character model on the licence texts that every Debian system has.

Everything is real but the GPUs: data-parallel training over all nodes, checkpoints, changes of
size while it trains, stops and restarts. A pretended GPU computes nothing, so each iteration is
drawn out to what `--pace` says a GPU of that job would take at the present number of GPUs.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from ef_slurm import training

CORPUS = Path("/usr/share/common-licenses")
CONTEXT = 16


class Text(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Windows of characters, each with the character that follows."""

    def __init__(self) -> None:
        texts = (CORPUS / name for name in ("GPL-2", "GPL-3", "LGPL-2.1", "Apache-2.0"))
        text = b"".join(path.read_bytes() for path in texts if path.is_file())
        self.text = torch.frombuffer(bytearray(text), dtype=torch.uint8).long() % 128

    def __len__(self) -> int:
        return len(self.text) - CONTEXT

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.text[i : i + CONTEXT], self.text[i + CONTEXT]


def pace(text: str, gpus: int) -> float:
    """Seconds of an iteration on `gpus` GPUs, from a curve as ef-sbatch takes it.

    Between its points, as where a part of them has just been lost, the next smaller one counts.
    """
    points = (point.split(":") for point in text.split(","))
    rates = {int(size): float(rate) for size, rate in points}
    return 1.0 / rates[max(size for size in rates if size <= gpus)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pace", required=True, help="GPUs:iterations/s,…")
    parser.add_argument("--iterations", type=int, help="unless it was submitted with them")
    parser.add_argument("--batch", type=int, help="samples per iteration, likewise")
    options = parser.parse_args()
    torch.set_num_threads(1)
    training.init()
    model = training.parallel(nn.Sequential(
        nn.Embedding(128, 16), nn.Flatten(), nn.Linear(16 * CONTEXT, 64), nn.Tanh(),
        nn.Linear(64, 128),
    ))  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with training.session(
        model,
        optimizer,
        data=Text(),
        iterations=options.iterations,
        global_batch_size=options.batch,
    ) as session:
        due = time.monotonic()
        for step in session:
            for x, y in step:
                loss = nn.functional.cross_entropy(model(x), y)
                step.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            gpus = dist.get_world_size() if dist.is_initialized() else 1
            if step.iteration % 100 == 0 and session.first:
                print(f"iteration {step.iteration} on {gpus} GPUs: loss {loss.item():.3f}")
            # Behind schedule (a busy machine) it catches up a little, but never bursts.
            seconds = pace(options.pace, gpus)
            due = max(due + seconds, time.monotonic() - 5 * seconds)
            time.sleep(max(0.0, due - time.monotonic()))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
