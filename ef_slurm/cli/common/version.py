"""Which ef-slurm this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The installed ef-slurm's version; a checkout that is not installed has none."""
    try:
        return version("ef-slurm")
    except PackageNotFoundError:
        return "(not installed)"
