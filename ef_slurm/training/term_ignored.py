"""Imported by a fork server of `multiprocessing`: it ignores TERM then, and so does what it forks.

Python 3.14 starts the workers of a data loader from one. Slurm sends TERM to every process of a
job, and workers end when their server has. In any other process this does nothing.
"""

import signal
import sys

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
