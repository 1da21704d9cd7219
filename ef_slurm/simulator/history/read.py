"""Which format a history has, and its jobs."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from pathlib import Path

from ef_slurm.formats.errors import InputError
from ef_slurm.simulator.history import public
from ef_slurm.simulator.history.records import History
from ef_slurm.simulator.history.sacct import read_sacct
from ef_slurm.simulator.history.sacct_json import read_sacct_json


class HistoryFormat(enum.Enum):
    """What a history is written in; the values are those of `--format`."""

    SACCT = "sacct"
    SACCT_JSON = "sacct-json"
    PHILLY = "philly"
    HELIOS = "helios"
    ALIBABA_2020 = "alibaba-2020"
    ALIBABA_2023 = "alibaba-2023"


def read_history(
    file: Path, kind: HistoryFormat | None = None, delimiter: str | None = None
) -> History:
    """Reads a history.

    Args:
        kind: its format; None: told by how the file begins.
        delimiter: of a sacct export; None: told by its header.

    Raises:
        InputError: with every problem found, or that it holds no job.
    """
    text = _text(file)
    kind = format_of(text) if kind is None else kind
    readers: dict[HistoryFormat, Callable[[], History]] = {
        HistoryFormat.SACCT: lambda: read_sacct(file, delimiter),
        HistoryFormat.SACCT_JSON: lambda: read_sacct_json(file, text),
        HistoryFormat.PHILLY: lambda: public.read_philly(file, text),
        HistoryFormat.HELIOS: lambda: public.read_helios(file),
        HistoryFormat.ALIBABA_2020: lambda: public.read_alibaba_2020(file),
        HistoryFormat.ALIBABA_2023: lambda: public.read_alibaba_2023(file),
    }
    history = readers[kind]()
    if not history.jobs:
        left_out = ", ".join(f"{count} {why}" for why, count in history.left_out.items())
        raise InputError.one(
            file, f"holds no finished GPU jobs; left out: {left_out or 'nothing'} ({kind.value})"
        )
    return history


def format_of(text: str) -> HistoryFormat:
    """The format of a file that begins so.

    >>> format_of('{"jobs": []}'), format_of("JobID|Submit|Start")
    (<HistoryFormat.SACCT_JSON: 'sacct-json'>, <HistoryFormat.SACCT: 'sacct'>)
    """
    begins = text.lstrip()[:1]
    if begins in ("{", "["):
        return HistoryFormat.SACCT_JSON if begins == "{" else HistoryFormat.PHILLY
    first = text.lstrip().partition("\n")[0]
    columns = {cell.strip().strip('"') for cell in first.split(",")}
    if columns >= set(public.ALIBABA_2023):
        return HistoryFormat.ALIBABA_2023
    if columns >= set(public.HELIOS):
        return HistoryFormat.HELIOS
    cells = first.split(",")
    headless = len(cells) == len(public.PAI_TASKS) and re.fullmatch(r"[\d.]*", cells[2].strip())
    if columns >= set(public.PAI_TASKS) or headless:
        return HistoryFormat.ALIBABA_2020
    return HistoryFormat.SACCT


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise InputError.one(file, f"cannot be read: {error.strerror or error}") from None
