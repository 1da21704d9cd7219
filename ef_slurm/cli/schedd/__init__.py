"""ef-schedd: the daemon, its self-check, and the installation of a service.

Begin with `command`. `installing` shows what `ef_slurm/installation/` would do, and asks; `trial`
sends a job of ten seconds through the whole chain.
"""
