"""Each rank names the GPU it was given, and all add up their rank + 1 over gloo."""

import os

import torch
import torch.distributed as dist


def main() -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    gpus = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    gpu = gpus[int(os.environ["LOCAL_RANK"])]
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    # One write, so that the lines of different ranks do not mix.
    node = os.environ["SLURMD_NODENAME"]
    line = f"rank {rank} of {world} on {node} has GPU {gpu}: sum {total.item():g}\n"
    os.write(1, line.encode())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
