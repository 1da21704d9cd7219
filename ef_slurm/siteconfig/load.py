"""Where the configuration is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ef_slurm.resources import site_config_dir
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.reader import read
from ef_slurm.siteconfig.tables import SiteConfig

VARIABLE = "EF_SLURM_CONFIG"
"""Environment variable that names the file."""

SYSTEM = Path("/etc/ef-slurm/ef-slurm.toml")
"""The site's file."""


def find(environment: Mapping[str, str] | None = None, system: Path = SYSTEM) -> Path:
    """The file that counts.

    `$EF_SLURM_CONFIG`, else ~/.config/ef-slurm/ef-slurm.toml, else /etc/ef-slurm/ef-slurm.toml,
    else the shipped example.

    Raises:
        SiteConfigError: `$EF_SLURM_CONFIG` names no file.
    """
    variables = os.environ if environment is None else environment
    named = variables.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SiteConfigError(Path(named), "", f"there is no such file (from ${VARIABLE})")
        return Path(named)
    home = variables.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    for candidate in (Path(home) / "ef-slurm" / "ef-slurm.toml", system):
        if candidate.is_file():
            return candidate
    return site_config_dir() / "ef-slurm.toml"


def load(path: Path | None = None) -> SiteConfig:
    """The configuration in `path`, or in the file that `find` finds.

    Raises:
        SiteConfigError: no file, no TOML, or a wrong key or value.
    """
    return read(find() if path is None else path)
