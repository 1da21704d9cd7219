"""Puts manual pages and completion scripts into sdist and wheel.

They are made by the commands themselves, which needs what those import. An sdist carries them, so
that a wheel and a Debian package are made of it with hatchling alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHARE = "share"
"""In an sdist, with `man/man1/ef-sbatch.1` and the others below it."""

NOT_FOR_HELP = ("vl-convert-python", "sqlite-utils")
"""What the simulator's commands import when they draw and store only."""


class ManualsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes them where they are not made yet."""

    PLUGIN_NAME = "custom"

    @property
    def _made(self) -> Path:
        return Path(self.root) / SHARE

    def dependencies(self) -> list[str]:
        """What the commands import: nothing where all is made."""
        if self._made.is_dir():
            return []
        metadata = self.metadata.core
        needed = [*metadata.dependencies, *metadata.optional_dependencies["simulator"]]
        return [each for each in needed if not each.startswith(NOT_FOR_HELP)]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the archive is written. An editable install is run from its checkout as it is."""
        if self.target_name == "wheel" and version == "editable":
            return
        directory = self._made
        if not directory.is_dir():
            self._temporary = tempfile.TemporaryDirectory()
            directory = Path(self._temporary.name)
            subprocess.run(
                [sys.executable, "-m", "ef_slurm.cli.manual", directory, self.metadata.version],
                check=True,
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": self.root, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        kind = "force_include" if self.target_name == "sdist" else "shared_data"
        for file in sorted(path for path in directory.rglob("*") if path.is_file()):
            build_data.setdefault(kind, {})[str(file)] = f"{SHARE}/{file.relative_to(directory)}"
