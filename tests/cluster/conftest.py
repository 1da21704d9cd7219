"""The running mini-Slurm that tests marked `cluster` use."""

import os
from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm


@pytest.fixture(scope="session")
def running_cluster() -> MiniSlurm:
    name = os.environ.get("MINISLURM_NAME", "minislurm")
    cluster = MiniSlurm.named(name)
    if cluster is None:
        pytest.fail(
            f"no mini-Slurm named {name!r} is up: run `docker/minislurm test`, or "
            f"`docker/minislurm up --name {name}` and MINISLURM_NAME={name} pytest -m cluster",
            pytrace=False,
        )
    return cluster


@pytest.fixture
def cluster(running_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    """The mini-Slurm, with an empty queue and all nodes idle, before and after."""
    yield running_cluster
    running_cluster.heal()
