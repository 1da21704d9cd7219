"""Where a curve of the profile library is from, in words."""

from __future__ import annotations

from datetime import tzinfo

from ef_slurm.formats.times import format_date
from ef_slurm.model import KnownCurve, ProfileLevel

_BY = {
    ProfileLevel.OWN: "you",
    ProfileLevel.ACCOUNT: "your account",
    ProfileLevel.SITE: "several users here",
}


def measured_words(known: KnownCurve, zone: tzinfo) -> str:
    """Where a curve of the library is from: "measured: 3 sizes, last 2026-11-26, by you"."""
    sizes = f"{len(known.measured)} sizes"
    if len(known.measured) == 1:
        gpus = known.measured[0][0]
        sizes = f"1 size ({gpus} GPU{'' if gpus == 1 else 's'}; no other is counted on)"
    return f"measured: {sizes}, last {format_date(known.last, zone)}, by {_BY[known.level]}"
