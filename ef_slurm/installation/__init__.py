"""What `ef-schedd setup --service` does: from a host with Slurm to one with a service.

In comes what an administrator wishes, and what is there (`survey`: the site file, what Slurm says,
files of Slurm and systemd). Out comes a `Plan` (`service` makes it, `slurm_side` its last part): a
row of steps, each with what it would change, and what only the administrator can do.
`apply` does one step, whole or not at all, and keeps what it replaces. Begin with `service`.
Nothing here restarts anything.
"""
