"""The site's configuration: one TOML file, checked on load.

In comes a file, out comes a `SiteConfig` or an error that names file, key, value and what would be
valid. `load` finds the file, `tables` has every key with its default, `reader` checks.
`site-config/ef-slurm.toml` lists the same keys for people.
"""

from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.load import find, load
from ef_slurm.siteconfig.tables import SiteConfig

__all__ = ["SiteConfig", "SiteConfigError", "find", "load"]
