"""Imported for what it does: from then on this process, and what it forks, ignores TERM.

For the fork server of `multiprocessing`, from which Python 3.14 starts the workers of a data
loader: Slurm sends TERM to every process of a job, and workers end when their server has.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
