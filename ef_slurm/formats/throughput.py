"""Throughput: iterations/s by model, global batch size and number of GPUs.

The one reader of throughput tables (`ef-sim --throughputs`, `ef-sbatch --profile`, `ef-profile
import`) and of curves in an option (`ef-sbatch --throughput`), and the one writer of tables. A
table `<model>.csv` has one row per global batch size and one column per number of GPUs, a power of
two::

    global_batch_size,1,2,4,8
    64,6.03,8.64,10.36,11.06
    128,3.57,5.68,8.45,

An empty cell, `nan` and 0 all mean that this many GPUs cannot run: the published tables have each
of them. Rates may fall again beyond a peak. One that jumps from a size to the next as no training
does is a typing error, and whatever else stands in a cell is one, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ef_slurm.formats.delimited import Row, TableFile
from ef_slurm.formats.errors import FormatError, InputError
from ef_slurm.formats.numbers import parse_count, parse_number
from ef_slurm.model import (
    FASTEST,
    SLOWEST,
    ModelError,
    ThroughputCurve,
    check_steps,
    is_power_of_two,
)

BATCH_COLUMN = "global_batch_size"
MOST_GPUS = 1 << 20
"""Sizes beyond this are typing errors: no job has so many GPUs."""

MAX_BATCH = 1 << 53
"""Up to here a float is a whole number exactly, and databases take it."""

BatchCurves = Mapping[int, ThroughputCurve]
"""Global batch size → curve, for one model."""
ThroughputTables = Mapping[tuple[str, int], ThroughputCurve]
"""(Model, global batch size) → curve."""

_CANNOT_RUN = frozenset({"", "nan"})
_SIZES_WANTED = "a power of two (1, 2, 4, 8, …)"
_RATE_WANTED = "iterations/s, or 0, nan or nothing where so many GPUs cannot run"


def parse_throughput(text: str) -> ThroughputCurve:
    """The curve of `1:12.5,2:23,4:41`: GPUs:iterations/s, in any order.

    A rate of 0 or nan means that this many GPUs cannot run, as in a table; such a pair may be left
    out.

    Raises:
        FormatError: it is no such list; says what is wrong and what would be right.

    >>> parse_throughput("2:23, 1:12.5, 4:0").points
    ((1, 12.5), (2, 23.0))
    """
    seen: set[int] = set()
    rates: dict[int, float] = {}
    for item in text.split(","):
        size, colon, cell = item.partition(":")
        if not (colon and size.strip() and cell.strip()):
            raise FormatError(
                f"{item.strip()!r} is not GPUs:iterations/s; write for example 1:12.5,2:23,4:41"
            )
        gpus = _gpus(size)
        if gpus is None:
            raise FormatError(f"{size.strip()!r} is not a number of GPUs: {_SIZES_WANTED}")
        if gpus in seen:
            raise FormatError(f"a rate on {gpus} GPUs is given twice")
        seen.add(gpus)
        rate = _rate(cell.strip())
        if rate is None:
            raise FormatError(
                f"{cell.strip()!r} is not a rate on {gpus} GPUs: "
                "iterations/s, or 0 or nan where so many cannot run"
            )
        if rate:
            rates[gpus] = rate
    if not rates:
        raise FormatError("no number of GPUs can run: give at least one rate above 0")
    curve = ThroughputCurve.of(rates)
    jump = _jump(curve)
    if jump:
        raise FormatError(jump)
    return curve


def read_table(file: Path) -> BatchCurves:
    """Reads the table of one model.

    Raises:
        InputError: it cannot be read, or something is wrong in it: every problem with its line,
            column and value, and what would be valid.
    """
    table = TableFile(file)
    sizes = _sizes(table)
    table.check()
    curves: dict[int, ThroughputCurve] = {}
    lines: dict[int, int] = {}
    for row in table.rows():
        batch = _batch(row.cells[BATCH_COLUMN])
        if batch is None:
            table.complain(
                row.line,
                BATCH_COLUMN,
                f"{row.cells[BATCH_COLUMN]!r} is not a batch size: a whole number of 1 or more",
            )
            continue
        first = lines.setdefault(batch, row.line)
        if first != row.line:
            table.complain(
                row.line, BATCH_COLUMN, f"batch size {batch} stands in line {first}, too"
            )
            continue
        rates = _rates(table, row, sizes)
        if rates:
            curves[batch] = ThroughputCurve.of(rates)
            jump = _jump(curves[batch])
            if jump:
                table.complain(row.line, None, jump)
    if not lines and not table.problems:
        table.complain(None, None, "holds a header, but no rows")
    table.check()
    return curves


def format_table(curves: BatchCurves) -> str:
    """The table of one model, as `read_table` reads it.

    >>> print(format_table({64: ThroughputCurve.of({1: 6.03, 4: 10.0})}), end="")
    global_batch_size,1,4
    64,6.03,10.0
    """
    sizes = sorted({gpus for curve in curves.values() for gpus, _ in curve.points})
    lines = [",".join([BATCH_COLUMN, *map(str, sizes)])]
    for batch, curve in sorted(curves.items()):
        rates = dict(curve.points)
        cells = [repr(rates[gpus]) if gpus in rates else "" for gpus in sizes]
        lines.append(",".join([str(batch), *cells]))
    return "\n".join(lines) + "\n"


def read_throughputs(directory: Path) -> ThroughputTables:
    """Reads the tables `<model>.csv` of a directory, one for every model.

    Raises:
        InputError: no tables, or something wrong in one (see `read_table`).
    """
    try:
        is_directory = directory.is_dir()
        files = sorted(directory.glob("*.csv")) if is_directory else []
    except OSError as error:  # a name that is too long, a parent that may not be searched
        raise InputError.one(directory, f"cannot be read: {error.strerror or error}") from None
    if not is_directory:
        raise InputError.one(directory, "is not a directory of throughput tables (<model>.csv)")
    if not files:
        raise InputError.one(directory, "holds no throughput tables (<model>.csv)")
    return {
        (file.stem, batch): curve for file in files for batch, curve in read_table(file).items()
    }


def _sizes(table: TableFile) -> dict[str, int]:
    """Column → GPUs."""
    sizes: dict[str, int] = {}
    if BATCH_COLUMN not in table.columns:
        table.complain(
            table.header_line,
            BATCH_COLUMN,
            f"is missing from the header: it must be {BATCH_COLUMN},1,2,4,…",
        )
    for column in table.columns:
        if column == BATCH_COLUMN:
            continue
        gpus = _gpus(column)
        if gpus is None:
            table.complain(table.header_line, column, f"is not a number of GPUs: {_SIZES_WANTED}")
        elif gpus in sizes.values():
            table.complain(table.header_line, column, f"{gpus} GPUs have another column, too")
        else:
            sizes[column] = gpus
    if not sizes:
        table.complain(table.header_line, None, "the header has no numbers of GPUs (1, 2, 4, …)")
    return sizes


def _rates(table: TableFile, row: Row, sizes: dict[str, int]) -> dict[int, float]:
    """GPUs → iterations/s of a row's sizes that can run; problems are noted."""
    rates: dict[int, float] = {}
    valid = True
    for column, gpus in sizes.items():
        rate = _rate(row.cells[column])
        if rate is None:
            valid = False
            table.complain(row.line, column, f"{row.cells[column]!r} is not a rate: {_RATE_WANTED}")
        elif rate:
            rates[gpus] = rate
    if valid and not rates:
        table.complain(row.line, None, "no number of GPUs can run: give at least one rate above 0")
    return rates


def _jump(curve: ThroughputCurve) -> str:
    """What is wrong with a curve that jumps as no training does; "" for nothing."""
    try:
        check_steps(curve)
    except ModelError as error:
        return f"{error}; write 0 for a size that is of no use"
    return ""


def _batch(text: str) -> int | None:
    """A global batch size, also as pandas writes it: 64.0."""
    number = parse_number(text)
    if number is None or not 1 <= number <= MAX_BATCH or number != int(number):
        return None
    return int(number)


def _gpus(text: str) -> int | None:
    """A size that a curve may have; None for anything else."""
    gpus = parse_count(text)
    return gpus if gpus is not None and gpus <= MOST_GPUS and is_power_of_two(gpus) else None


def _rate(text: str) -> float | None:
    """Iterations/s, 0 for "cannot run"; None where it is neither."""
    if text.lower() in _CANNOT_RUN:
        return 0.0
    rate = parse_number(text)
    if rate is None or not (rate == 0.0 or SLOWEST <= rate <= FASTEST):
        return None
    return rate
