"""A training of the campaign that changes its size while it runs: ranks, by the product's library.

Started by the fork server as any user's script, with a model that is as small as can be. With DDP
that it makes itself a larger launch takes over from it; with `training.parallel` its ranks stay.
Rank 0 writes its life down as `trainer` has it, with what the disk shows of its checkpoints.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from ef_slurm import training
from ef_slurm.contract import Exit, JobEnvironment, StateDir
from tests.campaign.trainer import Trace, all_checkpoints, rates_of

WIDTH = 8
SAMPLES = 1000


@dataclass
class Witness:
    """Tells the trace of one launch, once a second at most."""

    trace: Trace
    checkpoints: Path
    saved: int = 0
    _told: float = field(default_factory=time.monotonic)

    def begins(self, iteration: int) -> None:
        self.trace.tell("start", iteration)
        self.saved = iteration

    def trains(self, iteration: int) -> None:
        if time.monotonic() - self._told < 1:
            return
        self._told = time.monotonic()
        self.look()
        self.trace.tell("alive", iteration)

    def look(self) -> None:
        """A checkpoint that has its name is whole."""
        try:
            newest = max(all_checkpoints(self.checkpoints), default=0)
        except OSError:
            return  # not there yet, or the disk is gone
        if newest > self.saved:
            self.saved = newest
            self.trace.tell("saved", newest)

    def leaves(self, what: str, iteration: int) -> None:
        self.look()
        self.trace.tell(what, iteration)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", required=True, help="GPUs:iterations/s, as ef-sbatch has them")
    parser.add_argument("--wrapper", choices=("ddp", "parallel"), required=True)
    parser.add_argument("--trace", type=Path, required=True)
    options = parser.parse_args()
    rates = rates_of(options.rates)
    environment = JobEnvironment.read(os.environ)
    assert environment.state_dir is not None
    witness = Witness(
        Trace(options.trace, environment.generation), StateDir(environment.state_dir).checkpoints
    )
    torch.set_num_threads(1)
    training.init()
    torch.manual_seed(1)
    plain = nn.Linear(WIDTH, 1)
    model: nn.Module = plain
    if options.wrapper == "parallel":
        model = training.parallel(plain)
    elif dist.is_initialized():
        model = nn.parallel.DistributedDataParallel(plain)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with training.session(model, optimizer, data=SAMPLES) as session:
        if session.first:
            witness.begins(session.iteration)
        due = time.monotonic()
        try:
            for step in session:
                for indices in step:
                    step.backward(model(torch.ones(max(1, len(indices)), WIDTH)).mean())
                optimizer.step()
                optimizer.zero_grad()
                if session.first:
                    witness.trains(step.iteration + 1)
                ranks = dist.get_world_size() if dist.is_initialized() else 1
                due = max(due + 1 / rates[ranks], time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))
        except SystemExit as leaving:
            if session.first:
                known = {int(Exit.NOT_SAVED): "not-saved", int(Exit.UNUSABLE): "unusable"}
                witness.leaves(known.get(leaving.code or 0, "stopped"), session.iteration)  # type: ignore[arg-type]
            raise
        if session.first:
            witness.leaves("finished", session.iteration)


if __name__ == "__main__":
    main()
