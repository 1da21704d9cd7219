"""Manual pages and shell completion, made of what the commands say of themselves.

In goes what click knows of a command (`pages` has what it does not know), out come roff (`roff`)
and the shells' scripts (`files`). Made when a wheel is built: `python -m ef_slurm.cli.manual DIR`.
"""
