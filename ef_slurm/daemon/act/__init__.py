"""Where a job is to be against where it is → the next step on Slurm.

Begin with `next_step`, a pure function of one job, which answers with one of `steps`; `reconciler`
asks it for every job, under the conditions that `surroundings` knows, and has its answer done by
`executor`, which writes an intent before each action; `effects` says by what it is seen to be done.
`resubmit` deals with jobs that Slurm lost, `orphans` with Slurm jobs whose row has ended,
`leftovers` with those that no row knows.
"""
