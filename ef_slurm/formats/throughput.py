"""Throughput tables: iterations/s by model, global batch size and number of GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ef_slurm.formats.delimited import Row, TableFile
from ef_slurm.formats.errors import InputError
from ef_slurm.model import ThroughputCurve, is_power_of_two

BATCH_COLUMN = "global_batch_size"

ThroughputTables = Mapping[tuple[str, int], ThroughputCurve]
"""(Model, global batch size) → curve."""


def read_throughputs(directory: Path) -> ThroughputTables:
    """Reads `<model>.csv` for every model of a directory.

    A table's header is `global_batch_size,1,2,4,…` (numbers of GPUs, powers of two) and each row
    holds the iterations/s of one global batch size. An empty cell, `nan` or 0 means that the size
    cannot run.

    Raises:
        InputError: no tables, or something wrong in one; names file, line and column.
    """
    if not directory.is_dir():
        raise InputError.one(directory, "is not a directory of throughput tables (<model>.csv)")
    files = sorted(directory.glob("*.csv"))
    if not files:
        raise InputError.one(directory, "holds no throughput tables (<model>.csv)")
    tables: dict[tuple[str, int], ThroughputCurve] = {}
    for file in files:
        for batch, curve in _read_model(file).items():
            tables[file.stem, batch] = curve
    return tables


def _read_model(file: Path) -> dict[int, ThroughputCurve]:
    table = TableFile(file)
    sizes = _sizes(table)
    table.check()
    curves: dict[int, ThroughputCurve] = {}
    for row in table.rows():
        batch = table.number(row, BATCH_COLUMN, low=1)
        if batch is None:
            continue
        if int(batch) in curves:
            table.complain(row.line, BATCH_COLUMN, f"batch size {batch:g} stands there twice")
            continue
        rates = _rates(table, row, sizes)
        if rates:
            curves[int(batch)] = ThroughputCurve.of(rates)
        else:
            table.complain(row.line, None, "no number of GPUs can run: give at least one rate")
    if not curves and not table.problems:
        table.complain(None, None, "holds a header, but no rows")
    table.check()
    return curves


def _sizes(table: TableFile) -> dict[str, int]:
    """Column → GPUs."""
    sizes: dict[str, int] = {}
    if BATCH_COLUMN not in table.columns:
        table.complain(table.header_line, BATCH_COLUMN, "is missing from the header")
    for column in table.columns:
        if column == BATCH_COLUMN:
            continue
        if column.isdecimal() and is_power_of_two(int(column)):
            sizes[column] = int(column)
        else:
            table.complain(
                table.header_line, column, "is not a number of GPUs: powers of two (1, 2, 4, …)"
            )
    if not sizes:
        table.complain(table.header_line, None, "the header has no numbers of GPUs (1, 2, 4, …)")
    return sizes


def _rates(table: TableFile, row: Row, sizes: dict[str, int]) -> dict[int, float]:
    rates: dict[int, float] = {}
    for column, gpus in sizes.items():
        text = row.cells[column]
        if text == "" or text.lower() == "nan":
            continue
        rate = table.number(row, column, low=0.0)
        if rate is not None and rate > 0 and math.isfinite(rate):
            rates[gpus] = rate
    return rates
