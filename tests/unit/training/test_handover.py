"""Which launch is to take over, as rank 0 decides it."""

import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Action, Order, Phase, StateDir
from ef_slurm.resources import templates_dir
from ef_slurm.training.handover import FAILED, LOOK_SECONDS, Handover, ready_file
from ef_slurm.training.progress import Reporter
from ef_slurm.training.watch import Kind

NEXT = ".next.3"


@dataclass
class Stage:
    """One launch on n1, with two ranks, that has made `made` changes."""

    path: Path
    made: int = 0
    busy: bool = False
    now: float = 100.0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = StateDir(self.path)
        self.reporter = Reporter(self.state, 3, 2)
        self.reporter.enter(Phase.RUNNING, live=True, hands_over=True)
        self.handover = Handover(
            self.state,
            3,
            self.path / NEXT,
            ["n1"],
            2,
            8,
            self.made,
            self.reporter,
            self.said.append,
            lambda: self.busy,
            lambda: self.now,
        )

    def order(self, nodes: str, change: int = 1, **more: Any) -> Order:
        return Order(3, Action.RESIZE, 50.0, "grow", change=change, nodes=nodes, **more)

    def ready(self, change: int = 1, text: str = "") -> None:
        ready_file(self.path / NEXT, change).write_text(text)

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.path / "progress.json").read_text())
        return told


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_it_stops_when_the_larger_launch_is_ready(stage: Stage) -> None:
    order = stage.order("n1,n2", gpus=4)
    assert stage.handover.due(order) is None
    stage.ready()
    request = stage.handover.due(order)
    assert request is not None
    assert (request.kind, request.reason) == (Kind.STOP, "grow")
    assert stage.told["refused_change"] == 0


def test_a_checkpoint_is_written_first(stage: Stage) -> None:
    stage.ready()
    stage.busy = True
    assert stage.handover.due(stage.order("n1,n2")) is None
    stage.busy = False
    assert stage.handover.due(stage.order("n1,n2")) is not None


@pytest.mark.parametrize("change", [0, 2])
def test_another_number_is_not_looked_at(stage: Stage, change: int) -> None:
    stage.ready(change)
    assert stage.handover.due(stage.order("n1,n2", change)) is None
    assert stage.told["refused_change"] == 0


def test_a_launch_that_took_over_counts_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, made=4)
    stage.ready(5)
    assert stage.handover.due(stage.order("n1,n2", 4)) is None
    assert stage.handover.due(stage.order("n1,n2", 5)) is not None


@pytest.mark.parametrize(
    ("nodes", "more", "why"),
    [
        ("", {}, "expected each name once"),
        ("n1,n2,n2", {}, "expected each name once"),
        ("n2,n1", {}, "n1, where rank 0 is, must be the first node, not n2"),
        ("n1", {}, "n1 is not n1 and more"),
        ("n1,n2", {"gpus": 3}, "3 GPUs on n1,n2, which has 4 ranks"),
        ("n1,n2", {"sizes": "1,2"}, "ranks that cannot stay cannot measure themselves"),
        ("n1,n2,n3,n4,n5", {}, "10 ranks cannot share a global batch of 8 samples"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    stage: Stage, nodes: str, more: dict[str, Any], why: str
) -> None:
    stage.ready()
    assert stage.handover.due(stage.order(nodes, **more)) is None
    assert stage.told["refused_change"] == 1
    assert why in stage.told["refusal"]
    assert stage.said == [f"change 1 is refused: {stage.told['refusal']}"]
    # Its number is used up.
    assert stage.handover.due(stage.order("n1,n2")) is None
    stage.ready(2)
    assert stage.handover.due(stage.order("n1,n2", 2)) is not None


def test_what_cannot_be_prepared_is_refused(stage: Stage) -> None:
    stage.ready(text=f"{FAILED}\n")
    assert stage.handover.due(stage.order("n1,n2")) is None
    assert stage.told["refusal"] == "the launch that was to take over cannot be prepared"


def test_those_that_train_stay_first(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.handover.nodes = ["n1", "n2"]
    stage.ready()
    assert stage.handover.due(stage.order("n1,n3,n2")) is None
    assert "n1,n3,n2 is not n1,n2 and more" in stage.told["refusal"]


def test_a_file_that_cannot_be_read_is_no_reason_to_stop(stage: Stage) -> None:
    ready_file(stage.path / NEXT, 1).mkdir()
    assert stage.handover.due(stage.order("n1,n2")) is None
    assert "what was prepared cannot be seen" in stage.told["refusal"]


def test_companions_that_are_there_are_told(stage: Stage) -> None:
    (stage.path / ".waits.3.17").write_text("n2,n3\n")
    (stage.path / ".waits.3.18").write_text("n1\n")  # where it trains already
    (stage.path / ".waits.2.9").write_text("n8\n")  # of a launch that has ended
    (stage.path / ".waits.3.19").write_bytes(b"\xff\xfe")
    stage.handover.look(1, 0.0)
    assert stage.told["ready"] == "n2,n3"
    (stage.path / ".waits.3.17").unlink()
    stage.handover.look(2, 0.0)
    assert stage.told["ready"] == "n2,n3"  # not looked at so often
    stage.now += LOOK_SECONDS
    stage.handover.look(3, 0.0)
    assert stage.told["ready"] == ""


def test_what_it_has_imported_is_told_to_those_that_are_prepared(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = str(templates_dir())
    monkeypatch.syspath_prepend(templates)
    learned = importlib.import_module("forkserver.learned")
    try:
        before = learned.Learned({}, {"torchvision": "no fork survives it"}, "")
        learned.save(str(stage.path), before)
        assert stage.handover.due(stage.order("n1,n2")) is None
        known = learned.load(str(stage.path))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "forkserver"]:
            del sys.modules[name]
    assert "pytest" in known.modules
    assert known.left == before.left


def test_ranks_that_slurm_ends_end_all(stage: Stage) -> None:
    assert stage.handover.without([2, 3]) is None
