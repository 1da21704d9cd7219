"""The commands: ef-sbatch, ef-squeue, ef-scancel, ef-scontrol, ef-schedd, ef-profile, ef-sim. Thin.

Each command has a file or a folder (begin with its `command`); `common` holds what they share:
options, errors and exit codes, tones, and the way to the daemon (`connect`). They reach the
daemon's data through `ef_slurm.api`, or the owner's own queue file directly.
"""
