"""Who has arrived, as the price of GPU time remembers it (`planner.prices`)."""

from __future__ import annotations

from ef_slurm.model import Arrival, Arrivals
from ef_slurm.queue.database import Database


class ArrivalTable:
    """The table of arrivals: as many as the planner remembers, and no more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Arrivals:
        """Those that are remembered, in order of arrival."""
        rows = self._database.query("SELECT * FROM arrivals ORDER BY at, job_id")
        return tuple(
            Arrival(row["job_id"], row["at"], row["window"], row["gpu_seconds"], row["weight"])
            for row in rows
        )

    def replace(self, before: Arrivals, after: Arrivals) -> None:
        """Remember others; where nothing has changed, nothing is written.

        Args:
            before: what the table holds.
            after: what it is to hold.
        """
        known = set(before)
        gone = {one.job_id for one in before} - {one.job_id for one in after}
        new = [one for one in after if one not in known]
        if not gone and not new:
            return
        with self._database.transaction():
            for job_id in sorted(gone):
                self._database.execute("DELETE FROM arrivals WHERE job_id = ?", (job_id,))
            for one in new:
                self._database.execute(
                    "INSERT OR REPLACE INTO arrivals (job_id, at, window, gpu_seconds, weight)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (one.job_id, one.at, one.window, one.gpu_seconds, one.weight),
                )
