"""Throughput tables, measured and analytic."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.formats.errors import InputError
from ef_slurm.formats.throughput import ThroughputTables, read_throughputs
from ef_slurm.simulator.analytic import MODELS, analytic_tables, write_tables
from tests.unit.conftest import Table


def test_empty_nan_and_zero_cells_cannot_run(table: Table) -> None:
    file = table("t/m.csv", "global_batch_size,1,2,4,8\n8,1,nan,0,3\n16,2,,,\n")
    tables = read_throughputs(file.parent)
    assert tables["m", 8].points == ((1, 1.0), (8, 3.0))
    assert tables["m", 16].points == ((1, 2.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m\.csv: the file is empty"),
        ("global_batch_size,1\n", r"m\.csv: holds a header, but no rows"),
        ("1,2\n5,6\n", r"m\.csv:1: column 'global_batch_size': is missing"),
        ("global_batch_size\n8\n", r"m\.csv:1: the header has no numbers of GPUs"),
        ("global_batch_size,1,3\n8,1,2\n", r"m\.csv:1: column '3': is not a number of GPUs"),
        ("global_batch_size,1,2\n8,1,fast\n", r"m\.csv:2: column '2': 'fast' is not a number"),
        ("global_batch_size,1,2\n8,1,-2\n", r"m\.csv:2: column '2': '-2' is not valid"),
        ("global_batch_size,1\n8,1\n8,2\n", r"m\.csv:3: column 'global_batch_size':.*twice"),
        ("global_batch_size,1,2\n8,0,nan\n", r"m\.csv:2: no number of GPUs can run"),
        ("global_batch_size,1,2\n8,1\n", r"m\.csv:2: 2 cells, but the header has 3"),
    ],
)
def test_says_what_is_wrong_and_where(table: Table, text: str, message: str) -> None:
    file = table("t/m.csv", text)
    with pytest.raises(InputError, match=message):
        read_throughputs(file.parent)


def test_directories_without_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no throughput tables"):
        read_throughputs(tmp_path)
    with pytest.raises(InputError, match="is not a directory"):
        read_throughputs(tmp_path / "none")


def test_analytic_curves_read_back(tmp_path: Path) -> None:
    tables = analytic_tables()
    files = write_tables(tables, tmp_path / "new")
    assert [file.stem for file in files] == sorted(MODELS)
    again = read_throughputs(tmp_path / "new")
    assert {key: sizes(tables, key) for key in tables} == {key: sizes(again, key) for key in again}


def sizes(tables: ThroughputTables, key: tuple[str, int]) -> list[int]:
    return [gpus for gpus, _ in tables[key].points]


@pytest.mark.parametrize("key", sorted(analytic_tables()))
def test_analytic_curves_scale_worse_and_worse(key: tuple[str, int]) -> None:
    points = analytic_tables()[key].points
    per_gpu = [rate / gpus for gpus, rate in points]
    assert per_gpu == sorted(per_gpu, reverse=True)
    assert points[1][1] > 1.2 * points[0][1]


def test_large_gradients_on_small_batches_pay_for_the_network() -> None:
    vgg = dict(analytic_tables()["vgg16", 64].points)
    assert vgg[16] < vgg[8]
