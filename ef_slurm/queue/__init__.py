"""The queue: SQLite on a local disk of the daemon's host (DESIGN section 9)."""

from ef_slurm.queue.owner import DaemonLock
from ef_slurm.queue.store import Queue

__all__ = ["DaemonLock", "Queue"]
