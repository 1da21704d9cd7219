"""Amounts of memory as Slurm's options have them (sbatch(1), --mem-per-gpu)."""

from __future__ import annotations

import re

_AMOUNT = re.compile(r"(\d{1,12})(?:([KMGT])(?:i?B)?)?", re.IGNORECASE | re.ASCII)


class MemoryAmountError(ValueError):
    """A text that is no amount of memory."""


def parse_memory(text: str) -> float:
    """MiB of "100G" or, as Slurm takes it too, "100GB"; a plain number is MiB.

    Raises:
        MemoryAmountError: it is no amount.

    >>> parse_memory("4096"), parse_memory("2g"), parse_memory("512K"), parse_memory("16GB")
    (4096.0, 2048.0, 0.5, 16384.0)
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        wanted = "MiB, or a number with K, M, G or T"
        raise MemoryAmountError(f"{text!r} is no amount of memory: {wanted}")
    return float(found[1]) * 1024.0 ** ("KMGT".index((found[2] or "M").upper()) - 1)
