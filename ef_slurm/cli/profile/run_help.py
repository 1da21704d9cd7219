"""What ef-profile run says of itself beside its options."""

from __future__ import annotations

OPERANDS = "SCRIPT [ARGUMENT...]"

ABOUT = """\
Measure a training at several sizes, and remember it for you.

The training runs as a best-effort job, on GPUs that no promise needs: on the largest number first,
then in the same allocation on parts of it. When all is measured the job is cancelled and its
checkpoints are removed. Ctrl-C cancels it too; what was measured before is kept.
"""

EPILOG = """\
\b
Examples:
  ef-profile run train.py --lr 0.1
  ef-profile run --gpus=1,2,4,8 --max-time=15m --precision=bf16 train.py --lr 0.1
  ef-profile run --gpus=8,16 --max-gpu-time=2h --json train.py > curve.json

\b
Exit codes: 0 all sizes are measured, 1 none is (Slurm refused, or the training failed), 2 usage,
  3 some sizes are not measured, 4 ef-schedd cannot be reached, 5 not allowed, 130 Ctrl-C.
"""
