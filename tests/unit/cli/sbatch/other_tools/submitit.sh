#!/bin/bash

# Parameters
#SBATCH --cpus-per-task=4
#SBATCH --error=/home/alice/log/%j/%j_0_log.err
#SBATCH --gpus-per-node=2
#SBATCH --job-name=submitit
#SBATCH --mem=16GB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/home/alice/log/%j/%j_0_log.out
#SBATCH --partition=ef
#SBATCH --signal=USR2@90
#SBATCH --time=60
#SBATCH --wckey=submitit

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /home/alice/log/%j/%j_%t_log.out --error /home/alice/log/%j/%j_%t_log.err /usr/bin/python3 -u -m submitit.core._submit /home/alice/log

