"""What the training library costs: pytest -s tests/benchmarks/test_training_overhead.py

Prints CPU time, so that a busy machine does not change the answer, and seconds where it must.
"""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ef_slurm import training
from ef_slurm.contract import StateDir
from ef_slurm.training.state import HostCopy
from ef_slurm.training.values import freeze

ITERATION = 0.010


def elements(megabytes: int) -> int:
    return megabytes * 1_000_000 // 4


class Weights(nn.Module):
    """As many parameters as wanted, and as little work."""

    def __init__(self, megabytes: int):
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.rand(elements(megabytes) // 10)) for _ in range(10)
        )


def steps(state_dir: Path, iterations: int, model: nn.Module) -> Iterator[int]:
    with training.session(
        model, data=10_000, iterations=iterations, global_batch_size=32, state_dir=state_dir
    ) as session:
        for step in session:
            for _ in step:
                yield step.iteration


def cpu_of_empty_iterations(state_dir: Path, iterations: int) -> float:
    """Seconds of this thread per iteration."""
    loop = steps(state_dir, iterations, nn.Linear(1, 1))
    next(loop)
    began = time.thread_time()
    for _ in loop:
        if _ == iterations - 2:
            break
    return (time.thread_time() - began) / iterations


def test_per_iteration(tmp_path: Path) -> None:
    empty = min(cpu_of_empty_iterations(tmp_path / f"{i}", 5000) for i in range(3))
    print(f"\nper iteration, training thread: {empty * 1e6:.1f} us of CPU, data order included")
    print(f"  = {100 * empty / ITERATION:.2f} % of a 10 ms iteration")
    iterations = 500
    loop = steps(tmp_path / "paced", iterations, nn.Linear(1, 1))
    next(loop)
    whole, main = time.process_time(), time.thread_time()
    for iteration in loop:
        time.sleep(ITERATION)
        if iteration == iterations - 2:
            break
    whole, main = time.process_time() - whole, time.thread_time() - main
    share = 100 * (whole - main) / (iterations * ITERATION)
    print(f"other threads (orders, progress): {share:.2f} % of one core at 10 ms iterations")


@pytest.mark.parametrize("megabytes", [10, 100, 400])
def test_capture(megabytes: int) -> None:
    """The part of a save that training waits for, by itself."""
    model = Weights(megabytes)
    copy = HostCopy()
    times = []
    for _ in range(5):
        began = time.thread_time()
        freeze(model.state_dict(), copy)
        times.append(time.thread_time() - began)
    print(f"\n{megabytes} MB: {1000 * times[0]:.0f} ms of CPU, then {1000 * min(times):.1f} ms")


@pytest.mark.parametrize("megabytes", [10, 100, 400])
def test_checkpoint_stall(tmp_path: Path, megabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EF_CHECKPOINT_SECONDS", "3")
    model = Weights(megabytes)
    state = StateDir(tmp_path)
    stalls, saves = [], []
    gaps: list[float] = []
    last = time.monotonic()
    seen = 0
    loop = steps(tmp_path, 10**6, model)
    for _ in loop:
        time.sleep(ITERATION)
        now = time.monotonic()
        gaps.append(now - last)
        last = now
        progress = state.read_progress()
        if progress and (progress.checkpoint_iteration or 0) > seen:
            seen = progress.checkpoint_iteration or 0
            stalls.append(progress.stall_seconds or 0)
            saves.append(progress.save_seconds or 0)
            if len(stalls) == 4:
                break
    loop.close()  # type: ignore[attr-defined]
    print(
        f"\n{megabytes} MB: training stands still {1000 * statistics.median(stalls):.0f} ms "
        f"(first time {1000 * stalls[0]:.0f} ms), saved after {statistics.median(saves):.2f} s; "
        f"iterations: median {1000 * statistics.median(gaps):.1f} ms, "
        f"longest {1000 * max(gaps):.0f} ms"
    )
