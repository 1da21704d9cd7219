"""Throughput curves that a person gives: ``--throughput`` and profile files.

A profile NAME is a table ``NAME.csv`` in a profile directory (the user's before the site's), or
``TYPE/NAME.csv`` where it was measured on GPUs of that type. Its first line names the GPU counts,
every other line is one global batch size with the iterations/s at each count, empty where it cannot
run::

    global_batch_size,1,2,4,8
    64,6.03,8.64,10.36,11.06
    128,3.57,5.68,8.45,
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.model import ModelError, ThroughputCurve

Curves = tuple[tuple[str, ThroughputCurve], ...]

_FIRST_COLUMN = "global_batch_size"


@dataclass(frozen=True, slots=True)
class StatedCurves:
    """Curves by GPU type, and where they are from, in words."""

    curves: Curves
    source: str


def parse_throughput(text: str, where: str) -> ThroughputCurve:
    """The curve of ``1:12.5,2:23,4:41`` (GPUs:iterations/s).

    >>> parse_throughput("1:12.5, 2:23", "--throughput").points
    ((1, 12.5), (2, 23.0))

    Raises:
        UsageError: it is no such list, with what is wrong.
    """
    rates: dict[int, float] = {}
    for item in text.split(","):
        gpus, colon, rate = item.partition(":")
        try:
            if not colon:
                raise ValueError
            number, value = int(gpus), float(rate)
        except ValueError:
            raise UsageError(
                f"{where}: {item.strip()!r} is not GPUs:iterations/s; "
                "write for example 1:12.5,2:23,4:41"
            ) from None
        if number in rates:
            raise UsageError(f"{where}: {number} GPUs are given twice")
        rates[number] = value
    try:
        return ThroughputCurve.of(rates)
    except ModelError as error:
        raise UsageError(f"{where}: {error}") from None


def given_throughput(
    texts: Sequence[tuple[str, str]], gpu_type: str | None, types: Sequence[str]
) -> StatedCurves:
    """The curves of ``--throughput`` options.

    Args:
        texts: (``[TYPE=]curve``, where it was given).
        gpu_type: the value of ``--gpu-type``.
        types: the GPU types of the site.

    Raises:
        UsageError: a type that the site has not, or none where it has several.
    """
    curves: dict[str, ThroughputCurve] = {}
    for text, where in texts:
        named, equals, points = text.partition("=")
        if equals:
            kind = known_type(named.strip(), types, where)
        else:
            kind, points = only_type(gpu_type, types, where), text
        if kind in curves:
            raise UsageError(f"{where}: two curves for {kind} GPUs")
        curves[kind] = parse_throughput(points, where)
    if gpu_type is not None and set(curves) != {gpu_type}:
        raise UsageError(f"--gpu-type={gpu_type}: there is no --throughput for it alone")
    return StatedCurves(tuple(sorted(curves.items())), "--throughput")


def known_type(gpu_type: str, types: Sequence[str], where: str) -> str:
    """`gpu_type`, which the site must have."""
    if gpu_type not in types:
        raise UsageError(f"{where}: no GPU type {gpu_type!r} here; there is {', '.join(types)}")
    return gpu_type


def only_type(gpu_type: str | None, types: Sequence[str], where: str) -> str:
    """The type that a curve without one is for."""
    if gpu_type is not None:
        return known_type(gpu_type, types, "--gpu-type")
    if len(types) == 1:
        return types[0]
    raise UsageError(
        f"{where}: for which GPUs? Say --gpu-type=TYPE or TYPE=curve, TYPE one of "
        + ", ".join(types)
    )


def read_profile(
    name: str,
    directories: Sequence[Path],
    batch_size: int,
    gpu_type: str | None,
    types: Sequence[str],
) -> StatedCurves:
    """The curves of a profile for one global batch size.

    Raises:
        UsageError: no such profile, no line for that batch size, or a file that is no such table.
    """
    if not name or "/" in name or name.startswith("."):
        raise UsageError(f"--profile={name}: expected the name of a profile, not a path")
    wanted = types if gpu_type is None else [known_type(gpu_type, types, "--gpu-type")]
    curves: dict[str, ThroughputCurve] = {}
    files: list[Path] = []
    for kind in wanted:
        for file in _candidates(name, kind, directories, plain=len(wanted) == 1):
            if file.is_file():
                curves[kind] = _line(file, batch_size)
                files.append(file)
                break
    if not curves:
        raise UsageError(_not_found(name, directories, types))
    return StatedCurves(tuple(sorted(curves.items())), ", ".join(str(file) for file in files))


def _candidates(name: str, kind: str, directories: Sequence[Path], *, plain: bool) -> list[Path]:
    files = [directory / kind / f"{name}.csv" for directory in directories]
    if plain:
        files += [directory / f"{name}.csv" for directory in directories]
    return files


def _not_found(name: str, directories: Sequence[Path], types: Sequence[str]) -> str:
    known: set[str] = set()
    for directory in directories:
        for place in (directory, *(directory / kind for kind in types)):
            if place.is_dir():
                known |= {file.stem for file in place.glob("*.csv")}
    looked = " and ".join(str(directory) for directory in directories) or "no directory"
    close = difflib.get_close_matches(name, known, n=3) or sorted(known)
    hint = f"; there is {', '.join(close)}" if close else ""
    return (
        f"--profile={name}: no such profile in {looked}{hint}. "
        "Measure a curve and give it as --throughput=1:12.5,2:23,4:41"
    )


def _line(file: Path, batch_size: int) -> ThroughputCurve:
    """The curve of one batch size."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from None
    if not rows or rows[0][0].strip() != _FIRST_COLUMN:
        raise UsageError(f"{file}:1: the first line must be {_FIRST_COLUMN},1,2,4,…")
    counts = [_number(cell, file, 1, int) for cell in rows[0][1:]]
    sizes = []
    for number, row in enumerate(rows[1:], start=2):
        size = _number(row[0], file, number, int)
        sizes.append(size)
        if size != batch_size:
            continue
        cells = zip(counts, row[1:], strict=False)
        rates = {n: _number(cell, file, number, float) for n, cell in cells if cell.strip()}
        try:
            return ThroughputCurve.of({int(n): rate for n, rate in rates.items()})
        except ModelError as error:
            raise UsageError(f"{file}:{number}: {error}") from None
    known = ", ".join(str(size) for size in sizes) or "none"
    raise UsageError(f"{file}: no line for a global batch size of {batch_size}; there is {known}")


def _number(cell: str, file: Path, line: int, kind: type[int] | type[float]) -> float:
    try:
        return kind(cell)
    except ValueError:
        raise UsageError(f"{file}:{line}: {cell.strip()!r} is not a number") from None
