"""Opens a queue of an older version, and is killed while it does. For test_migrations."""

import sys
from pathlib import Path

from ef_slurm.queue.store import Queue

if __name__ == "__main__":
    Queue.open(Path(sys.argv[1])).close()
