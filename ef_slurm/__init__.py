"""ef-slurm: deadlines instead of GPU counts on stock Slurm clusters.

The package brings ElasticFlow (Gu et al., ASPLOS 2023) to Slurm. `ef_slurm.model` holds the words
that every room of the package shares; `ef_slurm.planner` is the paper; the rest connects it to
Slurm and to the training script.
"""
