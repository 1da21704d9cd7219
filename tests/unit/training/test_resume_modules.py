"""Modules, optimizers and schedulers: a run that was continued equals one that never stopped."""

import collections
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ef_slurm import training


@pytest.fixture(autouse=True)
def outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("EF_", "TORCHELASTIC")):
            monkeypatch.delenv(name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Head(nn.Module):
    """A module that changed its layout once, as its version says."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.decoder(x)
        return result

    def _load_from_state_dict(
        self, state: dict[str, Any], prefix: str, metadata: dict[str, Any], *arguments: Any
    ) -> None:
        if (metadata.get("version") or 1) < 2:
            for key in [key for key in state if key.startswith(prefix)]:
                state[f"{prefix}decoder.{key.removeprefix(prefix)}"] = state.pop(key)
        super()._load_from_state_dict(state, prefix, metadata, *arguments)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.second(self.first(x))
        return result


class Extra(nn.Module):
    """A module with state of its own besides tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.calls: dict[str, Any] = {"n": 0, "seen": collections.deque(maxlen=3)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls["n"] += 1
        self.calls["seen"].append(x.sum().item())
        result: torch.Tensor = self.layer(x) * (1 + 0.01 * self.calls["n"])
        return result

    def get_extra_state(self) -> Any:
        return self.calls

    def set_extra_state(self, state: Any) -> None:
        self.calls = state


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))


def channels_last() -> nn.Module:
    layers: Any = nn.Sequential(
        nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 4, 3, padding=1), nn.Flatten()
    )
    module: nn.Module = layers.to(memory_format=torch.channels_last)
    return module


MODULES: dict[str, Callable[[], nn.Module]] = {
    "versioned": Head,
    "versioned inside": lambda: nn.Sequential(nn.Linear(3, 3), Head()),
    "tied": Tied,
    "extra state": Extra,
    "statistics": normalized,
    "channels last": channels_last,
    "half precision": lambda: nn.Linear(3, 2).to(torch.bfloat16),
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.05, amsgrad=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "rprop": lambda parameters: torch.optim.Rprop(parameters, lr=0.01),
}
SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 50, cycle_momentum=False),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 0.9**n),
    "cyclic": lambda o: torch.optim.lr_scheduler.CyclicLR(
        o, 0.01, 0.1, 5, cycle_momentum=False, scale_fn=lambda n: 0.99**n
    ),
    "sequence": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [
            torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=5),
            torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 50, cycle_momentum=False),
        ],
        [5],
    ),
    "restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
}


def losses(
    state_dir: Path | None,
    iterations: int,
    module: str = "statistics",
    optimizer: str = "adam",
    scheduler: str = "restarts",
) -> list[float]:
    torch.manual_seed(0)
    model = MODULES[module]()
    chosen = OPTIMIZERS[optimizer](model.parameters())
    rates = SCHEDULERS[scheduler](chosen)
    kind = next(model.parameters()).dtype
    found = []
    with training.session(
        model,
        chosen,
        scheduler=rates,
        data=50,
        iterations=iterations,
        global_batch_size=6,
        state_dir=state_dir,
    ) as session:
        for step in session:
            for indices in step:
                x = torch.tensor([[i / 50, i % 7, 1.0] for i in indices], dtype=kind)
                loss = (model(x + torch.randn_like(x) / 10) - 1).pow(2).mean()
                step.backward(loss)
                found.append(loss.item())
            chosen.step()
            chosen.zero_grad()
            rates.step()
    return found


CASES = [
    *({"module": name} for name in MODULES),
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"scheduler": name} for name in SCHEDULERS),
]


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning", "ignore:The epoch parameter")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(*case.items()))
def test_modules_optimizers_and_schedulers(case: dict[str, str], tmp_path: Path) -> None:
    fixed = losses(None, 25, **case)
    first = losses(tmp_path, 11, **case)
    assert first + losses(tmp_path, 25, **case) == fixed
