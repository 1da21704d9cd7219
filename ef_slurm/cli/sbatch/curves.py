"""Throughput curves: from `--throughput`, from `--profile`, or from the profile library.

A profile NAME is a throughput table `NAME.csv` in a profile directory (the user's before the
site's), or `TYPE/NAME.csv` where it was measured on GPUs of that type.
`ef_slurm.formats.throughput` reads it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from ef_slurm.cli.common.curve_words import measured_words
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.throughput import parse_throughput, read_table
from ef_slurm.model import KnownCurve, ThroughputCurve

Curves = tuple[tuple[str, ThroughputCurve], ...]


@dataclass(frozen=True, slots=True)
class StatedCurves:
    """Curves by GPU type, and where they are from, in words.

    Args:
        curves: what promises count on.
        growth: what growth counts on, where the curves were fitted; empty: the same.
        iterations, global_batch_size: what the script of the run before said, where nothing else
            does.
    """

    curves: Curves
    source: str
    growth: Curves = ()
    iterations: int | None = None
    global_batch_size: int | None = None


UNKNOWN = StatedCurves((), "")
"""Nobody knows: it is measured while it trains."""


def stated_throughput(
    texts: Sequence[tuple[str, str]], gpu_type: str | None, types: Sequence[str]
) -> StatedCurves:
    """The curves of `--throughput` options.

    Args:
        texts: (`[TYPE=]curve`, where it stands).
        gpu_type: the value of `--gpu-type`.
        types: the GPU types of the site.

    Raises:
        UsageError: a type that the site has not, none where it has several, or no valid curve.
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
        try:
            curves[kind] = parse_throughput(points)
        except FormatError as error:
            raise UsageError(f"{where}: {error}") from None
    if gpu_type is not None and set(curves) != {gpu_type}:
        raise UsageError(f"--gpu-type={gpu_type}: there is no --throughput for it alone")
    return StatedCurves(tuple(sorted(curves.items())), "--throughput")


def known_type(gpu_type: str, types: Sequence[str], where: str) -> str:
    """`gpu_type`, which the site must have."""
    if "," in gpu_type:
        raise UsageError(
            f"{where}: {gpu_type!r}: a job has GPUs of one type at a time; give one, or leave it "
            "out and say how fast it is on each (--throughput=TYPE=curve, repeated)"
        )
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


def remembered(
    known: Sequence[KnownCurve], gpu_type: str | None, types: Sequence[str], zone: tzinfo
) -> StatedCurves:
    """The curves that the profile library knows; none where it knows nothing.

    Raises:
        UsageError: a type that the site has not.
    """
    wanted = types if gpu_type is None else [known_type(gpu_type, types, "--gpu-type")]
    found = sorted((one for one in known if one.gpu_type in wanted), key=lambda one: one.gpu_type)
    if not found:
        return UNKNOWN
    several = len(found) > 1
    words = (f"{one.gpu_type} " * several + measured_words(one, zone) for one in found)
    return StatedCurves(
        tuple((one.gpu_type, one.promised) for one in found),
        "; ".join(words),
        tuple((one.gpu_type, one.expected) for one in found),
    )


def read_profile(
    name: str,
    directories: Sequence[Path],
    batch_size: int | None,
    gpu_type: str | None,
    types: Sequence[str],
) -> StatedCurves:
    """The curves of a profile for one global batch size.

    Raises:
        UsageError: no such profile, no row for that batch size, or a file that is no such table.
    """
    if not name or "/" in name or name.startswith("."):
        raise UsageError(f"--profile={name}: expected the name of a profile, not a path")
    if batch_size is None:
        raise UsageError(
            f"--profile={name}: its rows are for one global batch size each: give "
            "--global-batch-size=B"
        )
    wanted = types if gpu_type is None else [known_type(gpu_type, types, "--gpu-type")]
    curves: dict[str, ThroughputCurve] = {}
    files: list[Path] = []
    for kind in wanted:
        for file in _candidates(name, kind, directories, plain=len(wanted) == 1):
            if file.is_file():
                curves[kind] = _curve(file, batch_size)
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


def _curve(file: Path, batch_size: int) -> ThroughputCurve:
    """The curve of one global batch size."""
    try:
        curves = read_table(file)
    except FormatError as error:
        raise UsageError(str(error)) from None
    if batch_size not in curves:
        known = ", ".join(map(str, sorted(curves)))
        raise UsageError(f"{file}: no row for a global batch size of {batch_size}; it has {known}")
    return curves[batch_size]
