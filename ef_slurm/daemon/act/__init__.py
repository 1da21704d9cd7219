"""Where a job is to be against where it is → the next step on Slurm.

Begin with `next_step`, a pure function of one job, which answers with one of `steps`; `reconciler`
asks it for every job, with an eye on `free_gpus`, and has its answer done by `executor`, which
writes an intent before each action. `resubmit` deals with jobs that Slurm lost, `orphans` with
Slurm jobs whose row has ended, `leftovers` with those that no row knows.
"""
