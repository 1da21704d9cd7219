"""Elastic training: what a script adds to be stopped anywhere and continued at another size.

Start with ``session``; ``init`` joins torchrun's process group. Frameworks have adapters of their
own: ``ef_slurm.training.lightning`` and ``ef_slurm.training.huggingface``.
"""

from ef_slurm.training.run import Unusable
from ef_slurm.training.session import Session, Step, init, session

__all__ = ["Session", "Step", "Unusable", "init", "session"]
