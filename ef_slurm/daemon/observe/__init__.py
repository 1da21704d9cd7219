"""What Slurm and the jobs say → what the daemon takes to be true.

Begin with `observer`, which asks Slurm and reads the jobs' reports (`state_dirs`); `job_status` is
both of one job side by side; `transitions` derives what that means for a row, `ends` how its run
ended, `settlements` what becomes of its promise, `ownership` whether it may speak for the Slurm job
at all; `capacity` is what is left to schedule on, `calibration` what was learned, kept in
`estimates`. Nothing here acts on Slurm, but for the orders that `state_dirs` writes for `act`.
"""
