"""ef-slurm: deadlines instead of GPU counts on stock Slurm clusters.

The package brings ElasticFlow (Gu et al., ASPLOS 2023) to Slurm. `docs/architecture.md` walks
through it. `ef_slurm.model` holds the words that every room of the package shares;
`ef_slurm.planner` is the paper; `ef_slurm.daemon` connects it to Slurm, `ef_slurm.training` to the
training script.
"""
