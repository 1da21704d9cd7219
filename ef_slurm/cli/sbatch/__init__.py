"""ef-sbatch: from a command line to a held Slurm job, a row in the queue, and a verdict.

Begin with `command`. `submission_options` reads the options (`options` lists them), `script` the
script and its directives, `prepare` makes the request and the batch script, `submit` hands both
over so that a kill at any moment loses nothing, `verdicts` says what came back.
"""
