"""`Slurm` by Slurm's own commands: what is run, and how its output is read.

Begin with `command_slurm`; `runner` runs a command and tells its errors apart, `job_json`,
`listing` and `accounting` read what comes out.
"""
