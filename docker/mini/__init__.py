"""The parts of `docker/minislurm`. Standard library only: it runs before anything is installed."""
