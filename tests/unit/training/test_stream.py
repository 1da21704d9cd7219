"""Iterable data sets: what is stated of them, and what is refused."""

import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ef_slurm import training
from ef_slurm.contract import Exit
from ef_slurm.resources import templates_dir
from ef_slurm.training.batches import Share
from ef_slurm.training.stream import Stream
from tests.unit.training.rank_environment import environment

SAMPLES = 23
BATCH = 5


@pytest.fixture(autouse=True)
def outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("EF_", "TORCHELASTIC")):
            monkeypatch.delenv(name)


class Numbers(IterableDataset[int]):
    """Shuffled by its own seed and epoch; augmented with the training's random numbers."""

    def __init__(self, samples: int = SAMPLES):
        self.samples = samples
        self.epoch = 0
        self.read = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def order(self) -> list[int]:
        order = list(range(self.samples))
        random.Random(self.epoch).shuffle(order)
        return order

    def __iter__(self) -> Iterator[Any]:
        for number in self.order():
            self.read += 1
            yield torch.tensor([float(number)]), torch.rand(1)


class Resumable(Numbers):
    """One that keeps its own place."""

    def __init__(self) -> None:
        super().__init__()
        self.place = 0

    def __iter__(self) -> Iterator[Any]:
        for number in self.order()[self.place :]:
            self.read += 1
            self.place += 1
            yield torch.tensor([float(number)]), torch.rand(1)
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


class CrashError(Exception):
    pass


def train(
    data: Any, state_dir: Path | None, iterations: int, crash_at: int | None = None, **options: Any
) -> list[Any]:
    """What each iteration saw: its samples, the random numbers in them, and those after them."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    seen = []
    with training.session(
        model,
        optimizer,
        data=data,
        iterations=iterations,
        global_batch_size=BATCH,
        state_dir=state_dir,
        **options,
    ) as session:
        for step in session:
            if step.iteration == crash_at:
                raise CrashError
            for x, noise in step:
                step.backward((model(x) + noise).pow(2).mean())
                seen.append([*x.flatten().tolist(), *noise.flatten().tolist(), session.epoch])
            optimizer.step()
            optimizer.zero_grad()
            seen[-1] += [torch.rand(1).item(), model.weight.item()]
    return seen


@pytest.mark.parametrize("kind", [Numbers, Resumable])
@pytest.mark.parametrize("stop", [1, 5, 23])
def test_resumed_equals_uninterrupted(tmp_path: Path, kind: Any, stop: int) -> None:
    """In the midst of an epoch, at its end, and over several."""
    fixed = train(kind(), None, 30)
    first = train(kind(), tmp_path, stop)
    data = kind()
    assert first + train(data, tmp_path, 30) == fixed
    if kind is Resumable:
        assert data.read == (30 - stop) * BATCH  # nothing is read twice


def test_a_crash_loses_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "0.02")
    fixed = train(Numbers(), None, 400)
    with pytest.raises(CrashError):
        train(Numbers(), tmp_path, 400, crash_at=390)
    resumed = train(Numbers(), tmp_path, 400)
    assert 10 <= len(resumed) < 400
    assert resumed == fixed[-len(resumed) :]


def test_each_epoch_holds_every_sample_once() -> None:
    seen = train(Numbers(), None, 23)
    order = list(itertools.chain.from_iterable(batch[:BATCH] for batch in seen))
    for epoch in range(5):
        part = order[epoch * SAMPLES : (epoch + 1) * SAMPLES]
        assert sorted(part) == list(range(SAMPLES))
    assert order[:SAMPLES] != order[SAMPLES : 2 * SAMPLES]
    assert [batch[2 * BATCH] for batch in seen] == [(5 * n + 4) // SAMPLES for n in range(23)]


@pytest.mark.parametrize(("world", "limit"), [(1, None), (1, 2), (2, None), (3, 1), (5, None)])
def test_ranks_share_each_batch_exactly(world: int, limit: int | None) -> None:
    streams = [
        Stream(range_of(30), Share(BATCH, rank, world, limit), {"collate_fn": list}, lambda _: None)
        for rank in range(world)
    ]
    parts = [stream.parts() for stream in streams]
    for iteration in range(6):
        batch: list[int] = []
        for rank, stream in enumerate(parts):
            share = Share(BATCH, rank, world, limit)
            for first, end in share.slices():
                part = next(stream)
                assert part  # also where it has weight 0
                batch += part if end > first else []
        assert batch == list(range(iteration * BATCH, (iteration + 1) * BATCH))


def range_of(samples: int) -> Any:
    class Range(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(samples))

    return Range()


class Empty(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(())


class Neither:
    pass


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (iter([1]), {}, "is an iterator, used up after one pass"),
        ((i for i in range(9)), {}, "is an iterator, used up after one pass"),
        (DataLoader(TensorDataset(torch.ones(9))), {}, "give it batch_size=None"),
        (
            DataLoader(Numbers(), batch_size=None, num_workers=2),
            {},
            "reads ahead and cannot say how far it is",
        ),
        (Numbers(), {"loader": {"num_workers": 2}}, "loader={'num_workers': ...} has no meaning"),
        (Numbers(), {"epochs": 2.0}, "epochs=2: the size of Numbers is not known"),
        (Neither(), {}, "data=Neither has neither a length nor an iterator"),
        (Empty(), {}, "there is nothing in Empty"),
        (9, {"state": {"model": nn.Linear(1, 1)}}, "state={'model': ...}: this name is taken"),
        (9, {"state": {"stream": nn.Linear(1, 1)}}, "state={'stream': ...}: this name is taken"),
    ],
)
def test_refused_in_a_sentence(
    data: Any,
    options: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    iterations = None if "epochs" in options else 4
    if iterations is None:
        os.environ["EF_ITERATIONS"] = "4"
    try:
        with pytest.raises(training.Unusable) as refused:
            train(data, tmp_path, iterations, **options)  # type: ignore[arg-type]
    finally:
        os.environ.pop("EF_ITERATIONS", None)
    assert refused.value.code == Exit.UNUSABLE
    assert said in str(refused.value)
    assert said in capsys.readouterr().err


def test_a_loader_of_single_samples_is_a_stream(tmp_path: Path) -> None:
    def loader() -> Any:
        return DataLoader(Numbers(), batch_size=None)

    fixed = train(loader(), None, 12)
    assert train(loader(), tmp_path, 7) + train(loader(), tmp_path, 12) == fixed


SCRIPT = """
import json, sys, torch
from torch.utils.data import IterableDataset
from ef_slurm import training
split = sys.argv[2] == "split"
class Data(IterableDataset):
    def __iter__(self):
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        for i in range(rank if split else 0, 100, 2 if split else 1):
            yield torch.tensor([i / 100])
training.init()
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
model = torch.nn.Linear(1, 1)
if torch.distributed.is_initialized():
    model = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with training.session(
    model, optimizer, data=Data(), iterations=int(sys.argv[1]), global_batch_size=7
) as session:
    for step in session:
        for x in step:
            step.backward((model(x.double()) - 3 * x).pow(2).mean())
        optimizer.step()
        optimizer.zero_grad()
if session.iteration == 30 and (not torch.distributed.is_initialized()
                                or torch.distributed.get_rank() == 0):
    print("WEIGHTS", json.dumps([p.item() for p in model.parameters()]))
"""


def launch(script: Path, state: Path, world: int, iterations: int, how: str = "whole") -> Any:
    words = [sys.executable]
    if world > 1:
        words += [str(templates_dir() / "torchrun.py"), "--standalone"]
        words += [f"--nproc_per_node={world}", "--monitor_interval=0.1"]
    return subprocess.run(
        [*words, str(script), str(iterations), how],
        env=environment(EF_STATE_DIR=str(state)),
        capture_output=True,
        text=True,
        timeout=120,
    )


def weights(done: Any) -> list[float]:
    assert done.returncode == 0, done.stderr
    return [
        float(value)
        for line in done.stdout.splitlines()
        if line.startswith("WEIGHTS")
        for value in json.loads(line.removeprefix("WEIGHTS"))
    ]


def test_moved_run_equals_fixed_run(tmp_path: Path) -> None:
    """Two ranks, then one."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch(script, tmp_path / "moved", 2, 11).check_returncode()
    moved = weights(launch(script, tmp_path / "moved", 1, 30))
    assert moved == pytest.approx(weights(launch(script, tmp_path / "fixed", 1, 30)), rel=1e-9)


def test_ranks_that_read_different_samples_are_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = launch(script, tmp_path / "state", 2, 11, "split")
    assert done.returncode == Exit.UNUSABLE
    assert "rank 1 reads other samples than rank 0" in done.stderr
    assert "Traceback" not in done.stderr
