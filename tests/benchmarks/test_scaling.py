"""What a few measured sizes tell about the rest, on the published throughput tables.

`pytest -s tests/benchmarks/test_scaling.py` prints, per choice of shown sizes and per model, how
far the median value is off and how often the pessimistic one is more than 10 % too fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from ef_slurm.formats.throughput import read_throughputs
from ef_slurm.profiling.scaling import fit

GPUS_PER_NODE = {"throughputs_A100": 8, "throughputs_T4": 4}
TOO_FAST = 0.10

# What to show, by GPUs of a node g.
CHOICES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "1, g": lambda g: (1, g),
    "1, 2": lambda _: (1, 2),
    "1, 2g": lambda g: (1, 2 * g),
    "g, 2g": lambda g: (g, 2 * g),
    "1, g, 2g": lambda g: (1, g, 2 * g),
    "1, g, 4g": lambda g: (1, g, 4 * g),
    "1, 2, g": lambda g: (1, 2, g),
    "1, g, 2g, 4g": lambda g: (1, g, 2 * g, 4 * g),
}
# At the sizes that ef-slurm measures first: (median error, share of pessimistic values too fast).
GOALS = {"1, g": (0.08, 0.08), "1, g, 2g": (0.06, 0.05)}


@dataclass(frozen=True)
class Case:
    """One hidden size: relative errors of both values."""

    model: str
    median: float
    pessimistic: float


def cases(data: Path, choose: Callable[[int], tuple[int, ...]]) -> Iterator[Case]:
    for directory, gpus_per_node in GPUS_PER_NODE.items():
        for (name, _), curve in read_throughputs(data / directory).items():
            rates = dict(curve.points)
            shown = {gpus: rates[gpus] for gpus in choose(gpus_per_node) if gpus in rates}
            if len(shown) < len(choose(gpus_per_node)):
                continue
            fitted = fit(shown, gpus_per_node)
            for gpus in rates.keys() - shown.keys():
                seen, true = fitted.at(gpus), rates[gpus]
                label = f"{name} ({directory.removeprefix('throughputs_')})"
                yield Case(label, seen.median / true - 1, seen.pessimistic / true - 1)


def row(label: str, found: list[Case]) -> str:
    errors = sorted(abs(case.median) for case in found)
    ninth = errors[int(0.9 * (len(errors) - 1))]
    fast = sum(case.pessimistic > TOO_FAST for case in found) / len(found)
    low = median(case.pessimistic for case in found)
    return f"{label:24} {len(found):5} {median(errors):7.1%} {ninth:7.0%} {fast:9.1%} {low:+9.1%}"


@pytest.mark.parametrize("choice", CHOICES)
def test_what_the_shown_sizes_tell(shared_data: Path, choice: str) -> None:
    found = list(cases(shared_data, CHOICES[choice]))
    heading = "hidden  median    90 % too fast  pess. median"
    print(f"\nshown {choice:17} {heading}\n{row('all', found)}")
    for name in sorted({case.model for case in found}):
        print(row(f"  {name}", [case for case in found if case.model == name]))
    if choice in GOALS:
        most_error, most_fast = GOALS[choice]
        assert median(abs(case.median) for case in found) <= most_error
        assert sum(case.pessimistic > TOO_FAST for case in found) <= most_fast * len(found)
