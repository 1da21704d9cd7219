"""The site's configuration: one TOML file, checked on load (`site-config/ef-slurm.toml`)."""

from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.load import find, load
from ef_slurm.siteconfig.tables import SiteConfig

__all__ = ["SiteConfig", "SiteConfigError", "find", "load"]
