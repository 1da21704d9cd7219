"""A launch that measures itself: several sizes in one change, and the loss knows nothing of it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ef_slurm.contract import Phase, Progress, read_points
from tests.unit.training.forked import Parent
from tests.unit.training.live_launch import SCRIPT, LiveLaunch
from tests.unit.training.test_live import assert_same


@pytest.fixture(scope="module")
def parent() -> Iterator[Parent]:
    parent = Parent("torch._dynamo", SCRIPT)
    yield parent
    parent.close()


@pytest.fixture
def launch(parent: Parent, tmp_path: Path) -> LiveLaunch:
    """Two nodes with two ranks each."""
    variables = {"EF_CHECKPOINT_SECONDS": "0.7"}
    launch = LiveLaunch(parent, tmp_path, {"optimizer": "adamw"}, 24, variables=variables)
    launch.slowly(True)
    launch.start(["n1", "n2"], 2)
    launch.running()
    return launch


def sizes(told: Progress) -> list[int]:
    return [one.gpus for one in read_points(told.points)]


def test_all_sizes_in_one_launch_and_the_loss_is_that_of_a_fixed_run(launch: LiveLaunch) -> None:
    number = launch.order("n1,n2", gpus=4, sizes="4,3,2,1")
    small = launch.until(lambda told: told.world_size == 1)
    assert (small.change, small.nodes, sizes(small)) == (0, "n1", [4, 2])
    told = launch.until(lambda told: told.change == number)
    assert (told.world_size, told.nodes, sizes(told)) == (4, "n1,n2", [4, 2, 1])
    assert told.checkpoint_iteration is not None
    for one in read_points(told.points):
        assert one.seconds > 0.9
        assert one.iterations / one.seconds < 33.4  # each iteration takes 0.03 s at least
    assert "3 ranks are not measured: they are a part of n2" in launch.logs()
    # Its number is used up; what is ordered next is the next one.
    assert launch.resize("n1", leave=True).change == number + 1
    launch.iterated(10)
    launch.stop()
    assert set(launch.codes("n1", "n2")) == {0}
    launch.iterations = len(launch.entries())
    assert_same(launch, [4, 2, 1, 4, 2], 1, 1e-8)


def test_another_order_ends_it_and_what_was_measured_stays(launch: LiveLaunch) -> None:
    number = launch.order("n1,n2", gpus=4, sizes="2,1")
    launch.until(lambda told: told.world_size == 1)
    assert launch.order("n1,n2", gpus=4) == number
    told = launch.until(lambda told: told.change == number)
    assert (told.world_size, sizes(told)) == (4, [2])
    # A stop in the midst of one: who waits ends, too.
    launch.order("n1,n2", gpus=4, sizes="1")
    launch.until(lambda told: told.world_size == 1)
    launch.stop()
    assert set(launch.codes("n1", "n2")) == {0}
    stopped = launch.state.read_progress()
    assert stopped is not None
    assert (stopped.phase, stopped.checkpoint_iteration) == (Phase.STOPPED, stopped.iteration)


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_in_the_midst_of_it(launch: LiveLaunch, victim: int) -> None:
    """The rank that trains, or one that waits: the next launch goes on from a checkpoint."""
    number = launch.order("n1,n2", gpus=4, sizes="1")
    launch.until(lambda told: told.world_size == 1 and told.checkpoint_iteration is not None)
    os.kill(launch.ranks["n1"][victim], signal.SIGKILL)
    if victim:
        told = launch.refused(number)
        assert told.refusal == "1 of 3 ranks that were to come do not answer"
        assert (told.world_size, sizes(told)) == (1, [1])
    trained = launch.entries()
    for pids in launch.ranks.values():
        for pid in pids:  # as the fork server, torchrun and Slurm do
            if launch.parent.running(pid):
                os.kill(pid, signal.SIGKILL)
    launch.codes(*launch.ranks)
    saved = launch.until(lambda told: told.live).checkpoint_iteration
    assert saved is not None
    again = launch.again()
    again.start(["n1"], 2)
    again.iterated(3)
    following = again.entries()[len(launch.entries()) - len(trained) :]
    first = next(one for one in following if one["world"] == 2)
    assert first["iteration"] >= saved
    assert first["seen"] == first["iteration"] + 1
    again.stop()
    assert set(again.codes("n1")) == {0}


def test_what_cannot_be_measured_is_refused_in_words(parent: Parent, tmp_path: Path) -> None:
    launch = LiveLaunch(parent, tmp_path, {"loop": "epochs"})
    launch.slowly(True)
    launch.start(["n1"], 2)
    launch.running()
    for more, why in (
        ({"sizes": "8,4"}, "8,4 GPUs are more than its 2 ranks"),
        ({"sizes": "1", "gpus": 1}, "sizes are measured among the ranks that train"),
    ):
        told = launch.refused(launch.order("n1", **more))
        assert (told.refusal, told.world_size, told.points) == (why, 2, "")
    number = launch.order("n1", sizes="2,1")
    told = launch.until(lambda told: told.change == number)
    assert (told.world_size, sizes(told)) == (2, [2])
    words = "1 ranks are not measured: a loop over epochs cannot wait while others train"
    assert words in launch.logs()
    launch.resize("n1", gpus=1)
    number = launch.order("n1", gpus=1, sizes="1")
    told = launch.until(lambda told: told.change == number)
    assert (told.world_size, sizes(told)) == (1, [1])
    launch.stop()
    assert set(launch.codes("n1")) == {0}
