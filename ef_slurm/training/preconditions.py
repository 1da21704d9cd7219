"""What has to be right before a training begins, as its ranks find together.

Each function answers what is wrong, in words and the same on all ranks, or "" where nothing is.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from ef_slurm.contract import JobEnvironment, StateDir
from ef_slurm.training.checkpoint import CheckpointStore
from ef_slurm.training.patience import is_in_the_way, patiently
from ef_slurm.training.private import NotPrivateError, make_private
from ef_slurm.training.ranks import Ranks, RanksError
from ef_slurm.training.state import Snapshot
from ef_slurm.training.values import StateError


def too_few_ranks(environment: JobEnvironment, world_size: int) -> str:
    """Without torchrun a script would train once for each node, or on one GPU of many."""
    if environment.ranks is None or world_size >= environment.ranks:
        return ""
    nodes, gpus = environment.num_nodes, environment.gpus_per_node
    return (
        f"{world_size} {'rank' if world_size == 1 else 'ranks'} for {nodes} nodes with {gpus} GPUs "
        "each: start one rank for each GPU (ef-sbatch --deadline=… train.py does, or torchrun as "
        "ef-sbatch --help has it); each of these would train alone"
    )


def opening_problem(
    ranks: Ranks,
    state: StateDir,
    store: CheckpointStore,
    secret_file: Callable[[Path], Path] | None,
) -> str:
    """Make the state directory fit for use, and let the ranks talk.

    Args:
        secret_file: where live changes keep their secret, of the directory of the checkpoints.

    Raises:
        RanksError: its disk is full or away, which another launch may find mended.
    """
    problem, secret, away = "", None, False

    def prepare() -> Path | None:
        make_private(state.path, store.directory)
        store.clean()
        return None if secret_file is None else secret_file(store.directory)

    if ranks.first:
        try:
            secret = patiently(prepare)
        except (OSError, NotPrivateError) as failure:
            problem = f"the state directory cannot be used: {failure}"
            away = isinstance(failure, OSError) and not is_in_the_way(failure)
    try:
        ranks.open(store.directory, problem, secret, away=away)
    except RanksError as error:
        if error.away:
            raise
        if not (ranks.first or error.told):
            print(f"ef-slurm: {error}", file=sys.stderr, flush=True)
        return str(error)
    return ""


def unkeepable(ranks: Ranks, snapshot: Snapshot) -> str:
    """Before training, rather than at the first checkpoint, as far as it is there already."""
    if ranks.first:
        problem = ""
        try:
            snapshot.check(ranks.rank)
        except StateError as error:
            problem = f"no checkpoint could be made: {error}"
        ranks.publish("state", problem)
    told: str = ranks.fetch("state")
    return told


def read_otherwise(ranks: Ranks, checksum: int) -> str:
    """Whether ranks read different samples, by a checksum of the first batch of a stream."""
    ranks.post("first batch", checksum)
    if ranks.first:
        found = ranks.gather("first batch")
        ranks.publish("first batch", [r for r, one in enumerate(found) if one != checksum])
    others = ranks.fetch("first batch")
    if not others:
        return ""
    return (
        f"rank {others[0]} reads other samples than rank 0: every rank must read the whole "
        "stream in the same order (no splitting by rank, shuffling with a fixed seed)"
    )
