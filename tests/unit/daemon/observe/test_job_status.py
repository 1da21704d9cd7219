"""What is made of the facts of one job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ef_slurm.daemon.observe.job_status import Member
from ef_slurm.model import Block, Companion, CompanionState
from tests.unit.daemon.make import NOW, TWO_NODES, launch, progress, running

COMING = Companion(1, 1, 1, 1, CompanionState.READY, Block("gpu", ("n3", "n4"), 4), NOW, NOW, 18)


@pytest.mark.parametrize(
    ("said", "trains_on"),
    [
        ("n2,n1", ("n2", "n1")),
        ("", ("n1", "n2")),  # as it was launched
        ("n1,n2,n3,n4", ("n1", "n2", "n3", "n4")),  # Slurm may have been asked before
        ("n2,n9,gateway", ("n2",)),
        (",".join(["n1"] * 20_000), ("n1",)),
        ("x" * 60_000, ()),
    ],
)
def test_it_trains_on_nodes_that_it_has(said: str, trains_on: tuple[str, ...]) -> None:
    """What it says is written into orders and intents: no name of its own making."""
    status = running(TWO_NODES, launch=launch(), progress=progress(live=True, nodes=said))
    assert replace(status, members=(Member(COMING),)).trains_on == trains_on
