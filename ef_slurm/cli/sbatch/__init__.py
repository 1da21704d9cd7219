"""ef-sbatch: from a command line to a held Slurm job, a row in the queue, and a verdict.

Begin with `command`, and with `submission`, the way of every submission. `options` lists the
options, `submission_options` and `launch_options` read
them, `script` reads the script and its directives, `curves` the throughput; `prepare` makes the
request and the batch script, `submit` hands both over so that a kill at any moment loses nothing,
`verdicts` says what came back.
"""
