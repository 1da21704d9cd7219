"""The queue: one SQLite file with jobs, promises, plans, intents, events, profiles."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from ef_slurm.queue.arrivals import ArrivalTable
from ef_slurm.queue.companions import Companions
from ef_slurm.queue.database import Database
from ef_slurm.queue.events import Events
from ef_slurm.queue.history import History
from ef_slurm.queue.intents import Intents
from ef_slurm.queue.jobs import Jobs
from ef_slurm.queue.notices import Notices
from ef_slurm.queue.owner import Owner
from ef_slurm.queue.past import Past
from ef_slurm.queue.plans import Plans
from ef_slurm.queue.profiles import Profiles
from ef_slurm.queue.promises import Promises
from ef_slurm.queue.restore import Restore
from ef_slurm.queue.retention import Retention


class Queue:
    """An open queue. Each thread opens its own.

    Every write is on disk when its method returns, unless it is inside `transaction`: then
    everything there is written together or not at all.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.events = Events(database)
        self.jobs = Jobs(database, self.events)
        self.promises = Promises(database, self.events, self.jobs)
        self.plans = Plans(database)
        self.intents = Intents(database, self.events)
        self.companions = Companions(database, self.events)
        self.notices = Notices(database)
        self.owner = Owner(database)
        self.profiles = Profiles(database)
        self.arrivals = ArrivalTable(database)
        self.retention = Retention(database)
        self.history = History(database)
        self.past = Past(database)
        self.restore = Restore(database, self.events)

    @classmethod
    def open(
        cls, path: Path, *, create: bool = True, read_only: bool = False, timeout: float = 5.0
    ) -> Queue:
        """Open the queue at `path`, migrating it to this version's schema.

        Args:
            create: make it if it is missing.
            read_only: for those who only look.
            timeout: seconds to wait for another writer.

        Raises:
            QueueMissingError: there is none and `create` is False.
            QueueOnNetworkFilesystemError: the path is not on a local disk.
            QueueTooNewError, QueueCorruptError, QueueLockedError, QueueFullError: as the names
                say.
        """
        return cls(Database(path, create=create, read_only=read_only, timeout=timeout))

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Everything inside is written together or not at all.

        Nests: an error undoes the innermost one that it leaves, and the outermost commits.

        Args:
            durable: on disk before it returns. Without, a power cut (not a kill) may lose the
                latest such transactions, whole. The outermost one's word counts.
        """
        return self._database.transaction(durable=durable)

    def data_version(self) -> int:
        """A number that changes when another connection has written. Costs next to nothing."""
        row = self._database.one("PRAGMA data_version")
        assert row is not None
        version: int = row[0]
        return version

    def writes(self) -> tuple[int, int]:
        """Two numbers, one of which changes when anybody has written, this connection included."""
        return self.data_version(), self._database.total_changes

    def identity(self) -> str:
        """Which queue this is; one that is rebuilt is another one."""
        row = self._database.one("SELECT id FROM identity")
        assert row is not None
        identity: str = row["id"]
        return identity

    def become_another(self) -> None:
        """It is no longer the queue that it was copied from."""
        self._database.execute("UPDATE identity SET id = lower(hex(randomblob(16)))")

    def settle(self) -> None:
        """Bring all into the one file, which can be moved once this queue is closed."""
        self._database.query("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the queue."""
        self._database.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
