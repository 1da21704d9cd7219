"""What Slurm and the jobs say → what the daemon takes to be true.

`observer` asks Slurm and reads the jobs' reports; `job_status` is both of one job side by side;
`transitions` derives what that means for a row; `capacity` what is left to schedule on;
`calibration` what was learned, kept in `estimates`. Nothing here acts on Slurm.
"""
