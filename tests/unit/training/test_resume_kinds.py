"""For each kind of state: a run that crashed and went on equals one that never stopped.

The state changes in each iteration, in place, also while the checkpoint before is still being
written: what is saved must be what it was at its iteration.
"""

import collections
import dataclasses
import datetime
import enum
import os
import pathlib
import random
import time
import typing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ef_slurm import training
from ef_slurm.contract import Exit, Phase, StateDir
from ef_slurm.training import container
from ef_slurm.training.checkpoint import CheckpointStore
from ef_slurm.training.values import Frozen

ITERATIONS = 300


@pytest.fixture(autouse=True)
def outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("EF_", "TORCHELASTIC")):
            monkeypatch.delenv(name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Stage(enum.Enum):
    WARM_UP = "warm-up"
    FULL = "full"


@dataclasses.dataclass
class Meter:
    total: float = 0.0
    recent: list[float] = dataclasses.field(default_factory=list)


class Best(typing.NamedTuple):
    loss: float
    where: Any


class Kind(typing.NamedTuple):
    """A kind of state: how it begins, and what an iteration does to it."""

    begin: Callable[[], Any]
    step: Callable[[Any, int], Any]


def add(value: Any, n: int) -> None:
    value += n


def quantized(n: int) -> torch.Tensor:
    numbers = torch.full((3,), n % 100, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will move them elsewhere
        return torch._make_per_tensor_quantized_tensor(numbers, 0.1, 0)


def step_views(value: Any, n: int) -> None:
    value["row"] += n  # and with it the whole
    value["whole"] *= 0.5


def step_dataclass(value: Meter, n: int) -> None:
    value.total += n
    value.recent.append(float(n))


def step_ordered(value: Any, n: int) -> None:
    value[str(n % 5)] = value.get(str(n % 5), 0) + n
    value.move_to_end(str(n % 5))


def step_nested(value: Any, n: int) -> None:
    value["buffer"][n % 3][1].append({"n": np.full(2, n), "t": torch.full((2,), n)})
    value["seen"].add((n, str(n)))
    del value["buffer"][n % 3][1][:-4]


KINDS: dict[str, Kind] = {
    "array": Kind(lambda: np.zeros(200_000), add),
    "small array": Kind(lambda: np.zeros(1, dtype=np.int64), add),
    "array of objects": Kind(
        lambda: np.array([None, []], dtype=object), lambda value, n: value[1].append(n)
    ),
    "numpy number": Kind(lambda: {"n": np.float32(0)}, lambda v, n: v.update(n=v["n"] + n)),
    "deque": Kind(lambda: collections.deque(maxlen=7), lambda v, n: v.append(torch.full((2,), n))),
    "set": Kind(set, lambda v, n: v.symmetric_difference_update({n, n // 2})),
    "dataclass": Kind(Meter, step_dataclass),
    "named tuple": Kind(
        lambda: [Best(9.0, np.zeros(2))], lambda v, n: v.append(Best(1 / n, v.pop().where + n))
    ),
    "default dictionary": Kind(
        lambda: collections.defaultdict(list), lambda v, n: v[n % 4].append(n)
    ),
    "counter": Kind(collections.Counter, lambda v, n: v.update("ab" * (n % 3))),
    "ordered dictionary": Kind(collections.OrderedDict, step_ordered),
    "tensor": Kind(lambda: torch.zeros(200_000), add),
    "half precision": Kind(lambda: torch.zeros(1000, dtype=torch.bfloat16), add),
    "sparse": Kind(lambda: torch.eye(3).to_sparse(), lambda value, n: value.values().add_(n)),
    "quantized": Kind(lambda: [quantized(0)], lambda v, n: v.__setitem__(0, quantized(n))),
    "views": Kind(lambda: (lambda w: {"whole": w, "row": w[1]})(torch.ones(3, 4)), step_views),
    "enum": Kind(
        lambda: {"stage": Stage.WARM_UP},
        lambda v, n: v.update(stage=Stage.FULL if n > 20 else Stage.WARM_UP),
    ),
    "times": Kind(
        lambda: [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)],
        lambda v, n: v.append(v.pop() + datetime.timedelta(hours=n)),
    ),
    "path": Kind(lambda: [pathlib.Path("a")], lambda v, n: v.append(v.pop().parent / str(n))),
    "Python's generator": Kind(lambda: [random.Random(3)], lambda v, _: v[0].random()),
    "numpy's generator": Kind(lambda: [np.random.default_rng(3)], lambda v, _: v[0].random()),
    "torch's generator": Kind(
        lambda: [torch.Generator().manual_seed(3)],
        lambda v, _: torch.rand(1, generator=v[0]),
    ),
    "nested": Kind(lambda: {"buffer": [(name, []) for name in "abc"], "seen": set()}, step_nested),
}


def shown(value: Any) -> str:
    """A text that differs when the value does, random generators too."""
    if isinstance(value, list) and value and isinstance(value[0], torch.Generator):
        return str(value[0].get_state().sum().item())
    if isinstance(value, list) and value and isinstance(value[0], random.Random):
        return str(value[0].getstate())
    if isinstance(value, list) and value and isinstance(value[0], np.random.Generator):
        return str(value[0].bit_generator.state)
    if isinstance(value, (set, collections.Counter)):
        return str(sorted(value.items() if isinstance(value, dict) else value))
    if isinstance(value, dict) and isinstance(value.get("seen"), set):
        return repr({**value, "seen": sorted(value["seen"])})
    return f"{type(value)} {value!r}"


class Holder:
    """What a script gives in `state=`: it hands out the live value, and takes what it is given."""

    def __init__(self, value: Any):
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


class CrashError(Exception):
    pass


def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that training goes on between the capture and the writing."""
    save = container.save

    def slowly(path: Path, frozen: Frozen) -> None:
        time.sleep(0.02)
        save(path, frozen)

    monkeypatch.setattr(container, "save", slowly)


def run(kind: Kind, state_dir: Path | None, crash: bool = False) -> dict[int, str]:
    """The state after each iteration that was done, and before the first of them."""
    holder = Holder(kind.begin())
    history = {}
    with training.session(
        nn.Linear(1, 1),
        data=10,
        state={"held": holder},
        iterations=ITERATIONS,
        global_batch_size=2,
        state_dir=state_dir,
    ) as session:
        history[session.iteration] = shown(holder.value)
        for step in session:
            if crash and state_dir is not None:
                # In the midst of saving the third.
                time.sleep(0.003)
                if len(CheckpointStore(state_dir / "checkpoint").iterations()) >= 2:
                    raise CrashError
            kind.step(holder.value, step.iteration + 1)
            history[step.iteration + 1] = shown(holder.value)
    return history


@pytest.mark.parametrize("name", KINDS)
def test_crashed_and_resumed_equals_uninterrupted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "0.01")
    monkeypatch.setattr("ef_slurm.training.watch.POLL_SECONDS", 0.005)
    monkeypatch.setattr("ef_slurm.training.watch.SAVE_MARGIN_SECONDS", 0.0)
    slow_disk(monkeypatch)
    kind = KINDS[name]
    fixed = run(kind, None)
    assert len(set(fixed.values())) > 1
    with pytest.raises(CrashError):
        run(kind, tmp_path, crash=True)
    time.sleep(0.1)  # what a real crash would have ended still saves
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "300")
    resumed = run(kind, tmp_path)
    assert 0 < min(resumed) < ITERATIONS
    for iteration, value in resumed.items():
        assert value == fixed[iteration]
    assert max(resumed) == ITERATIONS


class Unknown:
    pass


def test_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = Kind(lambda: [1, {"inner": Unknown()}], add)
    with pytest.raises(training.Unusable) as refused:
        run(kind, tmp_path)
    said = 'held["value"][1]["inner"] is of type'
    assert refused.value.code == Exit.UNUSABLE
    assert said in str(refused.value)
    assert said in capsys.readouterr().err
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert (progress.phase, progress.exit_code) == (Phase.FAILED, Exit.UNUSABLE)
    assert said in progress.message


def test_refused_at_the_first_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes into the state only then; not hours later, when it is needed."""
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "0.1")
    done = []

    def train() -> None:
        with training.session(
            nn.Linear(1, 1), data=10, iterations=1000, global_batch_size=2, state_dir=tmp_path
        ) as session:
            for step in session:
                session.extra["late"] = Unknown()
                done.append(step.iteration)
                time.sleep(0.01)

    with pytest.raises(training.Unusable, match=r'extra\["late"\] is of type .*Unknown') as refused:
        train()
    assert refused.value.code == Exit.UNUSABLE
    assert len(done) < 500
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert progress.phase is Phase.FAILED


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_come_back_to_their_gpu(tmp_path: Path) -> None:
    kind = Kind(lambda: {"here": torch.zeros(3, device="cuda"), "there": torch.zeros(3)}, add_both)
    run(kind, tmp_path)
    holder = Holder(None)
    with training.session(
        nn.Linear(1, 1),
        data=10,
        state={"held": holder},
        iterations=ITERATIONS,
        global_batch_size=2,
        state_dir=tmp_path,
    ):
        assert holder.value["here"].is_cuda
        assert not holder.value["there"].is_cuda


def add_both(value: Any, n: int) -> None:
    value["here"] += n
    value["there"] += n
