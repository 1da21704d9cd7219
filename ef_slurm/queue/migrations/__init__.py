"""The tables of the queue and the migrations that lead to them.

A migration takes a `sqlite_utils.Database` inside a transaction that its caller opened and ends:
whoever is killed in the midst of one leaves the file as it was. Use of sqlite-utils what executes
single statements (`add_column`, `create_index`, `create_view`, `execute`); its `transform`,
`insert` and the like commit by themselves in older versions. What it has no words for (STRICT,
CHECK, triggers, partial indices) is plain SQL.

A migration that has been released is never edited: add another one at the end. The number of
migrations applied is SQLite's `user_version`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ef_slurm.queue.migrations.eighth import eighth
from ef_slurm.queue.migrations.eleventh import eleventh
from ef_slurm.queue.migrations.fifteenth import fifteenth
from ef_slurm.queue.migrations.fifth import fifth
from ef_slurm.queue.migrations.first import first
from ef_slurm.queue.migrations.fourteenth import fourteenth
from ef_slurm.queue.migrations.fourth import fourth
from ef_slurm.queue.migrations.ninth import ninth
from ef_slurm.queue.migrations.second import second
from ef_slurm.queue.migrations.seventeenth import seventeenth
from ef_slurm.queue.migrations.seventh import seventh
from ef_slurm.queue.migrations.sixteenth import sixteenth
from ef_slurm.queue.migrations.sixth import sixth
from ef_slurm.queue.migrations.tenth import tenth
from ef_slurm.queue.migrations.third import third
from ef_slurm.queue.migrations.thirteenth import thirteenth
from ef_slurm.queue.migrations.twelfth import twelfth

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x65665351
"""Marks the file as ours (`PRAGMA application_id`)."""

BACKUP_ID = 0x65665342
"""Marks a copy (`ef-schedd backup`), which is older than the records and no queue by itself."""

MIGRATIONS: tuple[Callable[[Database], None], ...] = (
    first,
    second,
    third,
    fourth,
    fifth,
    sixth,
    seventh,
    eighth,
    ninth,
    tenth,
    eleventh,
    twelfth,
    thirteenth,
    fourteenth,
    fifteenth,
    sixteenth,
    seventeenth,
)
"""The migrations, in order."""
