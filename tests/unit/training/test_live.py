"""Live changes: the same processes go on at another size, and the loss knows nothing of it."""

import os
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Action, Order, Phase
from tests.unit.training.forked import Parent
from tests.unit.training.live_launch import SCRIPT, LiveLaunch

ITERATIONS = 220
NODES_OF_TWO = [
    ["n1", "n2", "n3", "n4"],
    ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"],
    ["n1", "n2", "n3", "n4"],
    ["n1"],
]


@pytest.fixture(scope="module")
def parent() -> Iterator[Parent]:
    parent = Parent("torch._dynamo", SCRIPT)
    yield parent
    parent.close()


def change(launch: LiveLaunch, per_node: int, changes: Sequence[Sequence[str]]) -> None:
    """These changes, one after the other, and on to the end."""
    for number, nodes in enumerate(changes, start=1):
        launch.come(nodes)
        told = launch.resize(",".join(nodes), gpus=per_node * len(nodes), leave=number == 3)
        assert (told.change, told.world_size) == (number, per_node * len(nodes))
        assert told.nodes == ",".join(nodes)
        assert told.change_seconds is not None
        launch.iterated(4)
    launch.slowly(False)
    launch.until(lambda told: told.phase is Phase.FINISHED)
    assert set(launch.codes(*launch.ranks)) == {0}


def fixed(launch: LiveLaunch, ranks: int) -> list[dict[str, Any]]:
    """The losses without any change."""
    directory = launch.directory / "fixed"
    directory.mkdir()
    given = {name: value for name, value in launch.given.items() if name != "record"}
    other = LiveLaunch(launch.parent, directory, given, launch.batch, launch.iterations)
    other.start(["n1"], ranks)
    assert set(other.codes("n1")) == {0}
    return other.entries()


def assert_same(launch: LiveLaunch, worlds: list[int], ranks: int, tolerance: float) -> None:
    """Every iteration once, at these sizes, by the same first process, with the right loss."""
    entries = launch.entries()
    assert [entry["iteration"] for entry in entries] == list(range(launch.iterations))
    assert [world for world, _ in groupby(entries, key=lambda one: one["world"])] == worlds
    assert len({entry["pid"] for entry in entries}) == 1
    assert all(entry["says"] == entry["world"] for entry in entries)
    assert [entry["seen"] for entry in entries] == list(range(1, launch.iterations + 1))
    for entry, other in zip(entries, fixed(launch, ranks), strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], rel=tolerance)


@pytest.mark.parametrize(
    "given", [{"optimizer": "sgd"}, {"optimizer": "adamw", "limit": 3}], ids=str
)
def test_loss_is_that_of_a_fixed_run(parent: Parent, tmp_path: Path, given: dict[str, Any]) -> None:
    """4 → 8 → 16 → 8 → 2 ranks."""
    launch = LiveLaunch(parent, tmp_path, given, iterations=ITERATIONS)
    launch.slowly(True)
    launch.start(["n3", "n4"], 2, change=1)
    launch.start(["n5", "n6", "n7", "n8"], 2, change=2)
    launch.start(["n1", "n2"], 2)
    change(launch, 2, NODES_OF_TWO)
    assert_same(launch, [4, 8, 16, 8, 2], 1, 1e-8)


@pytest.mark.parametrize(
    "given", [{"data": "stream"}, {"loop": "epochs", "workers": 1}, {"loop": "epochs"}], ids=str
)
def test_other_loops_and_data(parent: Parent, tmp_path: Path, given: dict[str, Any]) -> None:
    """1 → 3 → 2 ranks; with epochs, those that have left come no more."""
    launch = LiveLaunch(parent, tmp_path, given, iterations=100)
    launch.slowly(True)
    launch.start(["n2", "n3"], 1, change=1)
    launch.start(["n1"], 1)
    change(launch, 1, [["n1", "n2", "n3"], ["n1", "n3"]])
    assert_same(launch, [1, 3, 2], 1, 1e-8)


def test_another_node_in_the_place_of_one(parent: Parent, tmp_path: Path) -> None:
    """As many ranks as before: the loss is the same to the last digits."""
    launch = LiveLaunch(parent, tmp_path, {"optimizer": "adamw"}, iterations=100)
    launch.slowly(True)
    launch.start(["n3"], 1, change=1)
    launch.start(["n1", "n2"], 1)
    change(launch, 1, [["n1", "n3"]])
    assert_same(launch, [2], 2, 1e-12)


@pytest.fixture
def launch(parent: Parent, tmp_path: Path) -> LiveLaunch:
    """One node with two ranks that train, one whose rank has come and waits."""
    launch = LiveLaunch(parent, tmp_path, {}, batch=6, variables={"EF_CHECKPOINT_SECONDS": "0.3"})
    launch.slowly(True)
    launch.start(["n2"], 1, change=1)
    launch.start(["n1"], 2)
    launch.come(["n1", "n2"])
    return launch


def test_what_cannot_be_done_is_refused_in_words(launch: LiveLaunch) -> None:
    for nodes, more, why in (
        ("n2,n1", {}, "n1, where rank 0 is, must be the first node, not n2"),
        ("n1,n3", {}, "n3: no ranks are there"),
        ("n1,n1", {}, "nodes 'n1,n1': expected each name once"),
        ("", {}, "nodes '': expected each name once"),
        ("n1,n2", {"gpus": 4}, "4 GPUs on n1,n2, which has 3 ranks"),
    ):
        number = launch.order(nodes, **more)
        told = launch.refused(number)
        assert (told.refusal, told.change, told.world_size) == (why, 0, 2)
    launch.start(["n4", "n5"], 3, change=7)
    launch.come(["n4", "n5"])
    number = launch.order("n1,n4,n5")
    told = launch.refused(number)
    assert told.refusal.startswith("8 ranks cannot share a global batch of 6 samples")
    # A number is used once, and none is left out.
    launch.state.write_order(
        Order(1, Action.RESIZE, time.time(), change=number, nodes="n1,n2", gpus=3)
    )
    launch.iterated(10)
    assert launch.until(lambda told: told.live).change == 0
    assert launch.resize("n1,n2").world_size == 3
    launch.stop()
    assert set(launch.codes(*launch.ranks)) == {0}


def test_other_training_is_not_taken_in(launch: LiveLaunch) -> None:
    launch.given["width"] = 9
    launch.start(["n3"], 1, change=2)
    launch.come(["n3"])
    number = launch.order("n1,n3")
    told = launch.refused(number)
    assert told.refusal == "n3 runs another training: its model or numbers differ"
    launch.stop()
    assert set(launch.codes(*launch.ranks)) == {0}


def test_training_goes_on_without_a_companion_that_slurm_ends(launch: LiveLaunch) -> None:
    launch.start(["n3"], 1, change=2)
    launch.come(["n3"])
    launch.resize("n1,n2,n3")
    os.kill(launch.ranks["n2"][0], signal.SIGTERM)
    assert launch.codes("n2") == [0]
    told = launch.until(lambda told: told.change == 2)
    assert (told.nodes, told.world_size, told.phase) == ("n1,n3", 3, Phase.RUNNING)
    # One that waits ends by itself, and is ready no more.
    launch.resize("n1")
    launch.come(["n3"])
    os.kill(launch.ranks["n3"][0], signal.SIGTERM)
    assert launch.codes("n3") == [0]
    launch.until(lambda told: not told.ready)
    os.kill(launch.ranks["n1"][1], signal.SIGTERM)
    assert launch.codes("n1") == [0, 0]
    progress = launch.state.read_progress()
    assert progress is not None
    assert (progress.phase, progress.checkpoint_iteration) == (Phase.STOPPED, progress.iteration)


def test_part_of_a_node_and_back(launch: LiveLaunch) -> None:
    assert launch.resize("n1", gpus=1).world_size == 1
    assert launch.resize("n1,n2", gpus=3).world_size == 3
    assert launch.resize("n1", gpus=1, leave=True).world_size == 1
    assert launch.codes("n2") == [0]
    secret = launch.state.checkpoints / ".live.1.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    launch.stop()
    assert launch.codes("n1") == [0, 0]
    assert not secret.exists()


def test_state_that_cannot_be_sent_is_told_before_anybody_leaves(
    parent: Parent, tmp_path: Path
) -> None:
    launch = LiveLaunch(parent, tmp_path, {"spoilt": True})
    launch.slowly(True)
    launch.start(["n2"], 1, change=1)
    launch.start(["n1"], 1)
    launch.come(["n1", "n2"])
    told = launch.refused(launch.order("n1,n2"))
    assert told.refusal.startswith('the state cannot be sent: extra["code"] is of type function')
    launch.iterated(5)


def test_who_does_not_answer_is_not_waited_for(launch: LiveLaunch) -> None:
    pid = launch.ranks["n2"][0]
    os.kill(pid, signal.SIGSTOP)
    number = launch.order("n1,n2")
    told = launch.refused(number)
    assert told.refusal == "1 of 1 ranks that were to come do not answer"
    os.kill(pid, signal.SIGCONT)
    launch.iterated(5)
    assert launch.resize("n1,n2").world_size == 3
    launch.stop()
    assert launch.codes("n1", "n2") == [0, 0, 0]


@pytest.mark.parametrize(
    ("node", "number", "after"), [("n2", 0, 0.0), ("n1", 1, 0.0), ("n1", 0, 0.02)]
)
def test_killed_in_the_midst_of_a_change(
    launch: LiveLaunch, node: str, number: int, after: float
) -> None:
    """Whoever is left does not train on, and the next launch begins with what was saved."""
    launch.until(lambda told: told.checkpoint_iteration is not None)
    launch.order("n1,n2")
    agreed = launch.until(lambda told: told.change_iteration is not None).change_iteration
    assert agreed is not None
    launch.until_iteration(agreed)
    time.sleep(after)
    os.kill(launch.ranks[node][number], signal.SIGKILL)
    time.sleep(1.0)
    trained = launch.entries()
    time.sleep(1.0)
    assert launch.entries() == trained
    for pids in launch.ranks.values():
        for pid in pids:  # as the fork server, torchrun and Slurm do
            if launch.parent.running(pid):
                os.kill(pid, signal.SIGKILL)
    launch.codes(*launch.ranks)
    saved = launch.until(lambda told: told.live).checkpoint_iteration
    assert saved is not None
    again = launch.again()
    again.start(["n1"], 1)
    again.iterated(3)
    entries = again.entries()
    assert entries[len(trained)]["iteration"] >= saved
    assert entries[len(trained)]["seen"] == entries[len(trained)]["iteration"] + 1
    again.stop()
    assert again.codes("n1") == [0]
