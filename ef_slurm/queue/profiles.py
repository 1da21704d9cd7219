"""The profile library: what was measured, by whom, and who may be told."""

from __future__ import annotations

from collections.abc import Collection
from sqlite3 import Row

from ef_slurm.model import MeasuredRate, ProfileKey
from ef_slurm.queue import codec
from ef_slurm.queue.database import Database

MOST_OF_AN_OWNER = 5000
"""Rates that are kept of one owner; of more the oldest go."""
MOST_OF_A_KEY = 5000
"""Rates of one key that are looked at, the latest first."""

_ON_OWN_KEY = """
    owner = :owner AND (:model_name IS NULL OR model_name = :model_name)
    AND (:global_batch_size IS NULL OR global_batch_size = :global_batch_size)
    AND (:precision IS NULL OR precision = :precision)
    AND (:gpu_type IS NULL OR gpu_type = :gpu_type)
"""


class Profiles:
    """The table of measured rates. Of one key, size and owner the latest is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rate: MeasuredRate, *, durable: bool = True) -> None:
        """Remember a rate, in the place of an older one.

        Args:
            durable: False for what another run would measure again.
        """
        columns = {
            "model_name": rate.key.model_name,
            "global_batch_size": rate.key.global_batch_size,
            "precision": rate.key.precision,
            "gpu_type": rate.key.gpu_type,
            "gpus": rate.gpus,
            "owner": rate.owner,
            "gpus_per_node": rate.gpus_per_node,
            "rate": rate.rate,
            "seconds": rate.seconds,
            "account": rate.account,
            "at": rate.at,
            "cluster": rate.cluster,
            "job_id": rate.job_id,
            "source": rate.source,
            "software": rate.software,
        }
        marks = ", ".join(f":{name}" for name in columns)
        with self._database.transaction(durable=durable):
            self._database.execute(
                f"INSERT OR REPLACE INTO profiles ({', '.join(columns)})"  # noqa: S608 - values are bound
                f" VALUES ({marks})",
                columns,
            )
            self._database.execute(
                "DELETE FROM profiles WHERE id IN (SELECT id FROM profiles WHERE owner = ?"  # noqa: S608 - values are bound
                f" ORDER BY at DESC LIMIT -1 OFFSET {MOST_OF_AN_OWNER})",
                (rate.owner,),
            )

    def rates_for(
        self, key: ProfileKey, owner: str, accounts: Collection[str]
    ) -> tuple[MeasuredRate, ...]:
        """What is known of a key: the owner's own, their accounts', and everybody's.

        Imports of others are not among them: nobody saw those trainings.
        """
        rows = self._database.query(
            "SELECT * FROM profiles WHERE model_name = ? AND global_batch_size = ?"  # noqa: S608 - values are bound
            " AND precision = ? AND gpu_type = ? AND (owner = ? OR job_id IS NOT NULL)"
            " ORDER BY owner = ? DESC, account IN (SELECT value FROM json_each(?)) DESC, at DESC"
            f" LIMIT {MOST_OF_A_KEY}",
            (
                *(key.model_name, key.global_batch_size, key.precision, key.gpu_type),
                *(owner, owner, codec.dump_strings(accounts)),
            ),
        )
        return tuple(_rate(row) for row in rows)

    def gpu_types(self, model_name: str, global_batch_size: int, precision: str) -> tuple[str, ...]:
        """The GPU types on which anything was measured."""
        rows = self._database.query(
            "SELECT DISTINCT gpu_type FROM profiles WHERE model_name = ? AND global_batch_size = ?"
            " AND precision = ? ORDER BY gpu_type",
            (model_name, global_batch_size, precision),
        )
        return tuple(row["gpu_type"] for row in rows)

    def accounts_of(self, uid: int) -> tuple[str, ...]:
        """The accounts under which jobs of that user are in the queue, by Slurm's word."""
        rows = self._database.query("SELECT DISTINCT account FROM jobs WHERE uid = ?", (uid,))
        return tuple(sorted(row["account"] for row in rows if row["account"]))

    def list(
        self,
        owner: str,
        *,
        model_name: str | None = None,
        global_batch_size: int | None = None,
        precision: str | None = None,
        gpu_type: str | None = None,
    ) -> tuple[MeasuredRate, ...]:
        """The rates of an owner, of all keys or of those that have what is given."""
        rows = self._database.query(
            f"SELECT * FROM profiles WHERE {_ON_OWN_KEY}"  # noqa: S608 - values are bound
            " ORDER BY model_name, global_batch_size, precision, gpu_type, gpus",
            _wanted(owner, model_name, global_batch_size, precision, gpu_type),
        )
        return tuple(_rate(row) for row in rows)

    def delete(
        self,
        owner: str,
        *,
        model_name: str | None = None,
        global_batch_size: int | None = None,
        precision: str | None = None,
        gpu_type: str | None = None,
    ) -> int:
        """Forget rates of an owner, and nobody else's; returns how many."""
        return self._database.execute(
            f"DELETE FROM profiles WHERE {_ON_OWN_KEY}",  # noqa: S608 - values are bound
            _wanted(owner, model_name, global_batch_size, precision, gpu_type),
        )

    def prune(self, before: float, *, limit: int) -> int:
        """Forget some of what was measured before a moment (UTC epoch seconds), the oldest first.

        Where there is nothing to forget, nothing is written.
        """
        if self._database.one("SELECT 1 FROM profiles WHERE at < ? LIMIT 1", (before,)) is None:
            return 0
        with self._database.transaction(durable=False):
            return self._database.execute(
                "DELETE FROM profiles WHERE id IN"
                " (SELECT id FROM profiles WHERE at < ? ORDER BY at LIMIT ?)",
                (before, limit),
            )


def _wanted(
    owner: str,
    model_name: str | None,
    global_batch_size: int | None,
    precision: str | None,
    gpu_type: str | None,
) -> dict[str, str | int | None]:
    return {
        "owner": owner,
        "model_name": model_name,
        "global_batch_size": global_batch_size,
        "precision": precision,
        "gpu_type": gpu_type,
    }


def _rate(row: Row) -> MeasuredRate:
    return MeasuredRate(
        key=ProfileKey(
            row["model_name"], row["global_batch_size"], row["precision"], row["gpu_type"]
        ),
        gpus=row["gpus"],
        gpus_per_node=row["gpus_per_node"],
        rate=row["rate"],
        seconds=row["seconds"],
        owner=row["owner"],
        account=row["account"],
        at=row["at"],
        cluster=row["cluster"],
        job_id=row["job_id"],
        source=row["source"],
        software=row["software"],
    )
