"""ef-scontrol: look at jobs of the queue and change them, as scontrol does with Slurm's.

Begin with `command`; `changes` reads what is to be otherwise, `records` prints a job.
"""
