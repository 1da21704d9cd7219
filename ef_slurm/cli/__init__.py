"""The commands: ef-sbatch, ef-squeue, ef-scancel, ef-schedd, ef-sim. One file each, thin."""
