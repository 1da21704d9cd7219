"""The demo as a newcomer sees it: real torchrun jobs on real text, and every promise is kept."""

import os

import pytest

from tests.cluster.demo.__main__ import main
from tests.cluster.minislurm import MiniSlurm

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not os.environ.get("EF_LONG"), reason="six minutes of an otherwise idle machine: EF_LONG=1"
    ),
]


@pytest.mark.timeout(1800)
def test_every_promise_of_the_demo_is_kept(
    running_cluster: MiniSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    running_cluster.heal()
    code = main(running_cluster.name)
    told = capfd.readouterr().out
    assert code == 0, told
    for part in (
        "REFUSED",
        "takes the offer",
        "shrinks to",
        "pauses",
        "GPUs over time",
    ):
        assert part in told, told
    # As the machine's speed has it, a job grows where it is or comes back from its pause on more.
    assert "grows to" in told or "starts on 16 GPUs" in told.partition("pauses")[2], told
    assert "Every promise was kept." in told
