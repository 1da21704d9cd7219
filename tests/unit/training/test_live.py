"""Live changes: the same processes go on at another size, and the loss knows nothing of it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Phase
from tests.unit.training.forked import Parent
from tests.unit.training.live_launch import SCRIPT, LiveLaunch

ITERATIONS = 220


@pytest.fixture(scope="module")
def parent() -> Iterator[Parent]:
    parent = Parent("torch._dynamo", SCRIPT)
    yield parent
    parent.close()


def moved(parent: Parent, directory: Path, given: dict[str, Any]) -> LiveLaunch:
    """4 → 8 → 16 → 8 → 2 ranks, to the end."""
    launch = LiveLaunch(parent, directory, given, iterations=ITERATIONS)
    launch.slowly(True)
    launch.start(["n3", "n4"], 2, change=1)
    launch.start(["n5", "n6", "n7", "n8"], 2, change=2)
    launch.start(["n1", "n2"], 2)
    wanted: list[tuple[Sequence[int], bool]] = [((1, 2, 3, 4), False), ((*range(1, 9),), False)]
    wanted += [((1, 2, 3, 4), True), ((1,), False)]
    for number, (nodes, leave) in enumerate(wanted, start=1):
        names = [f"n{node}" for node in nodes]
        launch.come(names)
        told = launch.resize(",".join(names), gpus=2 * len(names), leave=leave)
        assert (told.change, told.world_size) == (number, 2 * len(nodes))
        assert told.nodes == ",".join(names)
        assert told.change_seconds is not None
        launch.iterated(5)
    launch.slowly(False)
    launch.until(lambda told: told.phase is Phase.FINISHED)
    assert set(launch.codes(*launch.ranks)) == {0}
    return launch


def fixed(parent: Parent, directory: Path, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The losses without any change, on one rank."""
    directory.mkdir()
    launch = LiveLaunch(parent, directory, given, iterations=ITERATIONS)
    launch.start(["n1"], 1)
    assert launch.codes("n1") == [0]
    return launch.entries()


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adamw", "limit": 3},
        {"optimizer": "adamw", "data": "stream"},
        {"loop": "epochs"},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_loss_is_that_of_a_fixed_run(parent: Parent, tmp_path: Path, given: dict[str, Any]) -> None:
    launch = moved(parent, tmp_path, given)
    entries = launch.entries()
    expected = fixed(parent, tmp_path / "fixed", given)
    assert [entry["iteration"] for entry in entries] == list(range(ITERATIONS))
    worlds = [world for world, _ in groupby(entries, key=lambda entry: entry["world"])]
    assert worlds == [4, 8, 16, 8, 2]
    assert len({entry["pid"] for entry in entries}) == 1
    assert all(entry["says"] == entry["world"] for entry in entries)
    assert [entry["seen"] for entry in entries] == list(range(1, ITERATIONS + 1))
    for entry, other in zip(entries, expected, strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], rel=1e-8)
