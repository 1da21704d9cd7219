"""Throughput curves from a formula, so that a fresh install has something to run.

One iteration on n GPUs with global batch B takes

    t(n) = fixed + B/n · compute + exchange(n),  T(n) = 1 / t(n)

`compute` is seconds per sample on one GPU and `fixed` the seconds per iteration that do not shrink
(input, optimizer, kernel launches). `exchange` is a ring all-reduce of the gradients: 2·(n-1)/n
times their bytes over the bandwidth between GPUs (NVLink inside a node, the network's share of one
GPU beyond it), plus a latency for every doubling; half of it hides behind the backward pass. Curves
of large models on small batches thus flatten or fall beyond one node, as measured ones do.

The constants are round numbers of the right size for GPUs of the A100 class; they are not
measurements. Use tables of your own cluster (`ef-profile`) for anything that matters.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.formats.throughput import BATCH_COLUMN, ThroughputTables
from ef_slurm.model import ThroughputCurve

NVLINK_BYTES_PER_SECOND = 150e9
NETWORK_BYTES_PER_SECOND = 6e9
LATENCY_SECONDS = 1e-4
HIDDEN = 0.5
LARGEST = 64


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What an iteration of a model costs.

    Args:
        compute: seconds per sample on one GPU.
        fixed: seconds per iteration on any number of GPUs.
        gradient_bytes: what all GPUs exchange once per iteration.
        batches: global batch sizes that are offered.
    """

    compute: float
    fixed: float
    gradient_bytes: float
    batches: tuple[int, ...]


MODELS = {
    "resnet50": ModelCost(2.0e-3, 0.010, 102e6, (64, 128, 256)),
    "vgg16": ModelCost(2.9e-3, 0.008, 553e6, (64, 128, 256)),
    "inception3": ModelCost(3.1e-3, 0.030, 109e6, (64, 128)),
    "gpt2": ModelCost(1.0e-3, 0.020, 498e6, (128, 256)),
    "bert": ModelCost(1.9e-3, 0.050, 440e6, (64, 128)),
    "deepspeech2": ModelCost(9.5e-3, 0.030, 152e6, (32, 64)),
}


def iteration_seconds(cost: ModelCost, batch: int, gpus: int, gpus_per_node: int) -> float:
    """t(n) of the module's formula.

    Args:
        cost: of the model.
        batch: global batch size.
        gpus: n.
        gpus_per_node: beyond them gradients cross the network.
    """
    bandwidth = NVLINK_BYTES_PER_SECOND if gpus <= gpus_per_node else NETWORK_BYTES_PER_SECOND
    exchange = 2 * (gpus - 1) / gpus * cost.gradient_bytes / bandwidth
    exchange += LATENCY_SECONDS * math.log2(gpus)
    return cost.fixed + batch / gpus * cost.compute + (1 - HIDDEN) * exchange


def analytic_tables(gpus_per_node: int = 8) -> ThroughputTables:
    """The curves of all `MODELS`, up to `LARGEST` GPUs and one GPU per sample.

    Args:
        gpus_per_node: where NVLink ends.
    """
    sizes = [1 << power for power in range(LARGEST.bit_length())]
    return {
        (model, batch): ThroughputCurve.of(
            {
                gpus: 1 / iteration_seconds(cost, batch, gpus, gpus_per_node)
                for gpus in sizes
                if gpus <= batch
            }
        )
        for model, cost in MODELS.items()
        for batch in cost.batches
    }


def write_tables(tables: ThroughputTables, directory: Path) -> list[Path]:
    """Writes `<model>.csv` for every model, in the format that `read_throughputs` reads.

    Args:
        tables: what to write; rates keep six digits.
        directory: made if it is not there.

    Returns:
        The files, by model.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sizes = sorted({gpus for curve in tables.values() for gpus, _ in curve.points})
    files = []
    for model in sorted({model for model, _ in tables}):
        file = directory / f"{model}.csv"
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([BATCH_COLUMN, *sizes])
            for name, batch in sorted(tables):
                if name == model:
                    rates = dict(tables[name, batch].points)
                    cells = [f"{rates[gpus]:.6g}" if gpus in rates else "" for gpus in sizes]
                    writer.writerow([batch, *cells])
        files.append(file)
    return files
