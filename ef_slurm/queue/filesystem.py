"""Whether a path is on a file system whose locks SQLite can trust."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ef_slurm.queue.errors import QueueOnNetworkFilesystemError

NETWORK_FILESYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "ceph-fuse",
        "cifs",
        "coda",
        "daos",
        "fhgfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "juicefs",
        "lizardfs",
        "lustre",
        "mfs",
        "moosefs",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "quobyte",
        "s3fs",
        "saunafs",
        "smb3",
        "smbfs",
        "sshfs",
        "virtiofs",
        "weka",
        "wekafs",
    }
)
"""Types as in /proc/self/mountinfo; "fuse." before one of them counts too."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


def filesystem_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds `path`; "" where mountinfo does not tell.

    Args:
        path: absolute, without symbolic links. Need not exist.
        mountinfo: the text of /proc/self/mountinfo (proc(5)).
    """
    best, found, name = -1, "", str(path)
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5 or not after.split():
            continue
        mount_point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4]).rstrip("/")
        # Of two mounts on one point the later line covers the earlier.
        if len(mount_point) >= best and f"{name}/".startswith(f"{mount_point}/"):
            best, found = len(mount_point), after.split()[0]
    return found


def refuse_network_filesystem(path: Path) -> None:
    """Raise if `path` is, or would be, on a network file system.

    Raises:
        QueueOnNetworkFilesystemError: it is.
    """
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # not Linux: SQLite's own errors must do
    kind = filesystem_of(Path(os.path.realpath(path)), mountinfo)
    if kind.removeprefix("fuse.") in NETWORK_FILESYSTEMS:
        raise QueueOnNetworkFilesystemError(path, kind)
