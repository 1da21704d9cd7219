"""What ef-sbatch says of itself beside its options."""

from __future__ import annotations

from ef_slurm.formats.when_forms import help_lines

OPERANDS = "SCRIPT [ARGUMENT...]"
USAGE = f"Usage: ef-sbatch --deadline=WHEN [OPTIONS] {OPERANDS}"

ABOUT = """\
Submit a training job with a deadline instead of a GPU count.

ef-slurm promises that it is finished by then (or says which deadline it can promise), chooses the
number of GPUs, and changes it while the job runs.

SCRIPT is a Python training script (started with one rank per GPU), or a batch script with
#SBATCH and #EF lines (run once per node, with the EF_* variables, or once in all if it calls srun),
or any command.

ef-slurm's own options may stand on #EF lines too, and in variables (EF_SBATCH_DEADLINE=18:00). The
command line counts before the environment, then the script, then the site. #EF lines, like #SBATCH
lines, count up to the first command; one without an option is a comment. Counts may be written
20000, 20_000, 20k or 2e4.

sbatch's options --account, --qos, --output, --error, --chdir, --export, --reservation, --licenses
and others pass through. Those that say how many GPUs and nodes (--gpus, --gres, --nodes, --ntasks)
are upper bounds, those that say which nodes (--constraint, --exclude, --nodelist) restrictions, and
CPUs and memory are kept per GPU. The rest is refused with what to write instead. Limits of
partition, QOS and account, and licences, are counted before anything is promised.
"""

EPILOG = (
    "\b\nTimes:\n"
    + "\n".join(help_lines())
    + """

\b
Examples:
  ef-sbatch --deadline=18:00 train.py --lr 0.1
  ef-sbatch --deadline=18:00 --wait-verdict --if-infeasible=wait --account=vision train.py
  ef-sbatch --deadline=+6h --iterations=20000 --global-batch-size=256 train.py --lr 0.1
  ef-sbatch --best-effort train.py
  ef-sbatch --continue=1234 --deadline=+4h              (job 1234 ran into its time limit)
  ef-sbatch --continue=1234 --deadline=+4h --iterations=30000 train.py     (with a bug fixed)
  ef-sbatch --deadline=18:00 --profile=resnet50 --global-batch-size=512 train.py
  ef-sbatch --deadline=+6h --container-image=nvcr.io#nvidia/pytorch:25.01-py3 \\
            --container-mounts=/datasets --env=NCCL_DEBUG=INFO train.py

\b
  A batch script (ef-sbatch job.sh):
    #!/bin/bash
    #SBATCH --job-name=bert --account=nlp
    #EF --deadline=tomorrow --iterations=5000 --global-batch-size=64
    exec torchrun --nnodes=$EF_NUM_NODES --node_rank=$EF_NODE_RANK \\
         --nproc_per_node=$EF_GPUS_PER_NODE \\
         --master_addr=$EF_MASTER_ADDR --master_port=$EF_MASTER_PORT train.py

\b
Exit codes:
  0  promised; or waitlisted or best effort, where that is allowed; or it is measured first
     (without --wait-verdict)
  1  Slurm refused (its message is shown)
  2  an option, the script or the configuration is wrong
  3  the deadline cannot be promised, or the job ended before it was judged; nothing is left in
     Slurm
  4  ef-schedd cannot be reached or gave no verdict in time: the job stays held
  5  not allowed
  With --wait: the job's own exit code, once it was promised.
"""
)
