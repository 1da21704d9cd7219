"""A fork server of `multiprocessing` that imports this ignores TERM, and so does what it forks.

Python 3.14 starts the workers of a data loader from one. Slurm sends TERM to every process of a
job, and workers end when their server has. In any other process the import does nothing.
"""

import signal
import sys
from multiprocessing import forkserver

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def by_fork_servers() -> None:
    """Have the fork server of this process, which starts with the first worker, import this."""
    server = getattr(forkserver, "_forkserver", None)
    modules = list(getattr(server, "_preload_modules", ["__main__"]))
    if __name__ not in modules:
        forkserver.set_forkserver_preload([__name__, *modules])
