"""Elastic training: what a script adds to be stopped anywhere and continued at another size.

In comes a model, an optimizer and data; out come iterations that are this rank's part of a global
batch, checkpoints and reports (`ef_slurm.contract`). Begin with `session`, the interface for a
plain loop; `init` joins torchrun's process group, `parallel` shares a model with the other ranks.
`lightning` and `huggingface` are adapters for other people's loops. All three stand on `run` (one
launch, from its `beginning` to its `ending`); below it `watch` agrees on where to stop, `keeper`,
`saver` and `checkpoint` save, `restore` goes on from there, `batches` says which samples whose are.
`ranks` is how the ranks talk, `values` what a checkpoint can hold. `live` changes the number of
ranks while they train.
"""

from ef_slurm.training.leaving import Unusable
from ef_slurm.training.parallel import Parallel, parallel
from ef_slurm.training.process_group import init, wrap
from ef_slurm.training.session import Session, Step, session

__all__ = ["Parallel", "Session", "Step", "Unusable", "init", "parallel", "session", "wrap"]
