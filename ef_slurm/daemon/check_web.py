"""`ef-schedd check`: where the page for browsers is, and whether it has charts."""

from __future__ import annotations

import pwd
from collections.abc import Iterator

from ef_slurm.charts import library
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.siteconfig.tables import SiteConfig


def check_web(config: SiteConfig, host: str) -> Iterator[Finding]:
    """Where somebody finds the page.

    Args:
        host: this one's name.
    """
    web = config.web
    if web.proxy_user:
        try:
            pwd.getpwnam(web.proxy_user)
        except KeyError:
            told = f"there is no user {web.proxy_user!r} on this host: name the proxy's"
            yield Finding(Level.ERROR, "web.proxy_user", told)
    ways = [f"`ssh -L 8080:{config.socket} {host}`, then http://localhost:8080/"]
    if web.host:
        name = f"[{web.host}]" if ":" in web.host else web.host
        ways.insert(0, f"http://{name}:{web.port}/")
    yield Finding(Level.OK, "web", f"the page is at {' and with '.join(ways)}")
    if not library.is_there():
        yield Finding(
            Level.WARNING,
            "web",
            f"it has tables and no charts without the Python package {library.PACKAGE}: install "
            "ef-slurm[web] on the daemon's host",
        )
