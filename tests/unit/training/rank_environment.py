"""The environment of several ranks on one host."""

import os
from pathlib import Path


def environment(**changes: str) -> dict[str, str]:
    """Variables for what starts the ranks, without those of a job around the tests.

    They train on CPUs: the host may have a GPU, and has none for each of them.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EF_", "SLURM_"))}
    own = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**kept, **own, **changes}
