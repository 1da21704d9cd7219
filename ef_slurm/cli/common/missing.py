"""Packages that only some hosts need: what to say where one is not installed."""

from __future__ import annotations

from collections.abc import Mapping

EXTRAS: Mapping[str, str] = {"ef-schedd": "daemon", "ef-sim": "simulator", "ef-squeue": "view"}
"""Which part of the package a command needs beside what all commands need (pyproject.toml)."""


def missing_package(program: str, error: ModuleNotFoundError) -> str | None:
    """What to install, or None where it is not a package of others that is missing.

    Args:
        program: the command.
        error: of the import.
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", "ef_slurm"):
        return None
    extra = EXTRAS.get(program)
    wanted = f"ef-slurm[{extra}]" if extra else "ef-slurm with what it depends on"
    return f"needs the Python package {package}, which is not installed: install {wanted}"
