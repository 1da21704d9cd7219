"""The demo as a newcomer sees it: real training on real text, a job that grows while it trains, and
every promise is kept."""

import re

import pytest
from demo.__main__ import main, slowdown
from mini.client import MiniSlurm

pytestmark = [pytest.mark.cluster, pytest.mark.quiet_machine]

MOST = 2.0
"""How much slower than the demo's own pace a machine may be for this test: it takes four minutes
at that pace, and on a busy machine sixteen ranks do not get what their curves promise."""


@pytest.mark.flaky_on_busy_machine(
    reason="sixteen ranks must train at the pace their curves promise"
)
@pytest.mark.timeout(1800)
def test_every_promise_of_the_demo_is_kept(
    running_cluster: MiniSlurm, capfd: pytest.CaptureFixture[str]
) -> None:
    running_cluster.heal()
    if (factor := slowdown(running_cluster)) > MOST:
        pytest.skip(f"this machine is too busy: the demo would take {factor:.1f} times as long")
    code = main(running_cluster.name, factor)
    output = capfd.readouterr().out
    assert code == 0, output
    for part in (
        "REFUSED",
        "takes the offer",
        "shrinks to",
        "pauses",
        "GPUs over time",
    ):
        assert part in output, output
    grew = r"bert grew while it trained: trains on 16 GPUs.*stood still for \d"
    assert re.search(grew, output), output
    assert "Every promise was kept." in output
