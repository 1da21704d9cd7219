"""ef-slurm's Debian packages on hosts of a mini-Slurm, in the place of its installed checkout."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mini.client import MiniSlurm

HOSTS = {"ctl": ("ef-slurm", "ef-schedd"), "login": ("ef-slurm",)}
"""What a site has where: the daemon's host, and a login host."""

_HIDE = """
for file in /usr/local/bin/ef-* /usr/local/lib/python3*/dist-packages/ef_slurm*; do
    mv "$file" "$file.hidden"
done
"""
_SHOW = """
for file in /usr/local/bin/*.hidden /usr/local/lib/python3*/dist-packages/*.hidden; do
    mv "$file" "${file%.hidden}"
done
"""


def deb(directory: Path, name: str) -> Path:
    """A package among what was built."""
    (found,) = directory.glob(f"{name}_*_all.deb")
    return found


@contextmanager
def by_packages(cluster: MiniSlurm) -> Iterator[None]:
    """The checkout is out of the way meanwhile; packages that were put there are removed."""
    for host in HOSTS:
        cluster.run(_HIDE, on=host)
    try:
        yield
    finally:
        for host, names in HOSTS.items():
            cluster.run(f"dpkg --remove {' '.join(reversed(names))}", on=host, check=False)
            cluster.run(_SHOW, on=host)


def put(cluster: MiniSlurm, built: Path, host: str) -> None:
    """Install a host's packages, or upgrade to them."""
    files = []
    for name in HOSTS[host]:
        file = f"/tmp/{name}.deb"
        text = base64.b64encode(deb(built, name).read_bytes()).decode()
        cluster.run(f"base64 -d > {file}", on=host, stdin=text)
        files.append(file)
    cluster.run(f"dpkg --install {' '.join(files)}", on=host)
