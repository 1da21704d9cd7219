"""The help text of ef-sbatch."""

USAGE = """\
Usage: ef-sbatch --deadline=WHEN [OPTIONS] SCRIPT [ARGUMENT...]"""

HELP = f"""{USAGE}

Submit a training job with a deadline instead of a GPU count. ef-slurm promises that it is finished
by then (or says which deadline it can promise), chooses the number of GPUs, and changes it while
the job runs.

SCRIPT is a Python training script (started with torchrun, one rank per GPU), or a batch script with
#SBATCH and #EF lines (run once per node, with the EF_* variables), or any command.

What is needed
  --deadline=WHEN          when it must be finished: +6h, 18:00, tomorrow, 12/24, now+2hours,
                           2026-12-24T12:00 (local time), 2026-12-24T12:00:00+01:00
What the script says itself, unless you do (training.session(iterations=, global_batch_size=))
  --iterations=N           iterations of the whole training
  --epochs=N               passes over the data set instead: the script's session counts them
  --global-batch-size=B    samples per iteration, the same at every number of GPUs
How fast it trains: neither of these is needed. What was measured before (ef-profile) is known; else
it is measured for some minutes while it trains, then answered
  --throughput=CURVE       GPUs:iterations/s, for example 1:12.5,2:23,4:41; TYPE=CURVE for one GPU
                           type, repeated for others
  --profile=NAME           a measured curve: NAME.csv in a profile directory

Under which key the speed is remembered, beside the global batch size and the type of GPU
  --model-name=NAME        what is trained (default: the name of the script without its suffix)
  --precision=WORD         of its numbers, for example bf16 (default: unspecified)

What is promised
  --soft[=GRACE]           the deadline may be missed by GRACE (90s, 30m, 1h30m; default: a quarter
                           of the time until it)
  --best-effort            no deadline: run on GPUs that no promise needs
  --if-infeasible=CHOICE   when the deadline cannot be promised: reject (default), wait, best-effort
  --max-gpus=N             never more GPUs than this
  --gpu-type=TYPE          only GPUs of this type
  --continue=JOB|DIR       go on from the checkpoints of a job that has ended, in a directory of its
                           own; without SCRIPT with what that job was given, but for what is
                           given here
  --overhead=SECONDS       training lost per start or change of GPUs (default: the site's)
  --max-batch-per-gpu=N    samples that fit into one GPU's memory
  --state-dir=DIR          where checkpoints and progress go (new, absolute, on a shared file
                           system; default: a new directory under the site's)

How the command is started (defaults: [launch] in the site's configuration)
  --module=NAME[,NAME...]  environment modules to load, instead of the site's; repeatable
  --conda-env=NAME|DIR     the conda environment to activate
  --venv=DIR               the Python virtual environment to activate
  --container-image=IMAGE  what to run in: an image as the site's pyxis or apptainer names it
                           (only one of these three; empty for none)
  --container-mounts=SRC[:DST[:FLAGS]],...
                           more of the host inside it; the state directory and the working
                           directory are always there
  --env=NAME=VALUE         a variable of the command, over modules and the site's; repeatable
  --python=COMMAND         the interpreter that runs torchrun
  --torchrun-options=WORDS more options of torchrun, quoted as in the shell: "--tee=3 --role=a"
  --srun-options=WORDS     more options of srun: "--cpu-bind=none"
  --checkpoint-interval=T  between periodic checkpoints (5m, 90s)
  --keep-checkpoints=N     how many of them are kept
  --stop-signal=NAME       what makes the job look at its orders at once: USR2, URG or ALRM
All of these may stand on #EF lines too. The command line counts before the script, and the script
before the site. #EF lines, like #SBATCH lines, count up to the first command; one without an
option is a comment.

What ef-sbatch does
  --test-only              tell the verdict and the plan, submit nothing; what sbatch would
                           refuse is refused as it would be
  --dry-run                print the batch script, submit nothing
  --wait                   return when the job has ended, with its exit code
  --wait-verdict           where its speed has to be measured first, return with the verdict
  --parsable               only the job id on standard output
  --json                   the verdict as JSON (times are UTC epoch seconds)
  --quiet                  no verdict, unless it is no
  --verdict-timeout=S      seconds to wait for the verdict (default: the site's; with
                           --wait-verdict none where it is measured first)
  --register=DIR           go on with a job that stayed held because ef-schedd was not reachable
  --config=FILE            configuration (default: $EF_SLURM_CONFIG,
                           ~/.config/ef-slurm/ef-slurm.toml, /etc/ef-slurm/ef-slurm.toml)

sbatch's options --account, --qos, --job-name, --time, --output, --error, --chdir, --export,
--cpus-per-gpu, --mem-per-gpu, --reservation, --licenses and others pass through. Those that say how
many GPUs, which nodes or when (--nodes, --gres, --gpus, --ntasks, --nodelist, --begin, --hold, ...)
are ef-slurm's to decide and are refused. --time is the most that the job may take from its first
start to its end, 0 for no limit: what it would end is not promised. Limits of partition, QOS and
account, and licences, are counted before anything is promised.
Without --cpus-per-gpu and --mem-per-gpu a job gets a GPU's share of its node, at every size.

Exit codes
  0  promised; or waitlisted or best effort, where that is allowed; or it is measured first
     (without --wait-verdict)
  1  Slurm refused (its message is shown)
  2  an option, the script or the configuration is wrong
  3  the deadline cannot be promised, or the job ended before it was judged; nothing is left in
     Slurm
  4  ef-schedd cannot be reached or gave no verdict in time: the job stays held
  5  not allowed
  With --wait: the job's own exit code, once it was promised.

Examples
  ef-sbatch --deadline=18:00 train.py --lr 0.1
  ef-sbatch --deadline=18:00 --wait-verdict --if-infeasible=wait --account=vision train.py
  ef-sbatch --deadline=+6h --iterations=20000 --global-batch-size=256 train.py --lr 0.1
  ef-sbatch --best-effort train.py
  ef-sbatch --continue=1234 --deadline=+4h              (job 1234 ran into its time limit)
  ef-sbatch --continue=1234 --deadline=+4h --iterations=30000 train.py     (with a bug fixed)
  ef-sbatch --deadline=18:00 --profile=resnet50 --global-batch-size=512 train.py
  ef-sbatch --deadline=+6h --container-image=nvcr.io#nvidia/pytorch:25.01-py3 \\
            --container-mounts=/datasets --env=NCCL_DEBUG=INFO train.py

  A batch script (ef-sbatch job.sh):
    #!/bin/bash
    #SBATCH --job-name=bert --account=nlp
    #EF --deadline=tomorrow --iterations=5000 --global-batch-size=64
    exec torchrun --nnodes=$EF_NUM_NODES --node_rank=$EF_NODE_RANK \\
         --nproc_per_node=$EF_GPUS_PER_NODE \\
         --master_addr=$EF_MASTER_ADDR --master_port=$EF_MASTER_PORT train.py"""
