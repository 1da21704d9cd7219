"""The records beside the queue, in memory. The daemon may die at each, and the disk be full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ef_slurm.daemon.observe.record_files import FoundRecords
from ef_slurm.formats.codec import decode, encode
from ef_slurm.model import JobRecord
from tests.simulation.faults import Faults, Point


class MemoryRecords:
    """The daemon's `Records`, as bytes."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._files: dict[int, bytes] = {}
        self.missing: set[int] = set()
        """Jobs that nothing is recorded of: the disk was full then, or the daemon died first."""

    @property
    def path(self) -> Path:
        return Path("/records")

    def write(self, records: Sequence[JobRecord]) -> Mapping[int, str]:
        self.missing |= {record.job.id for record in records} - self._files.keys()
        if self._faults.orders_fail:
            return {record.job.id: "No space left on device" for record in records}
        for record in records:
            self._faults.around(Point.ORDER, partial(self._write, record))
        return {}

    def _write(self, record: JobRecord) -> None:
        self._files[record.job.id] = encode(record)
        self.missing.discard(record.job.id)

    def forget(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            self._files.pop(job_id, None)

    def read(self, *, ended: bool = True) -> FoundRecords:  # noqa: ARG002 - all lie together
        found = {job_id: self.of(job_id) for job_id in self._files}
        return FoundRecords(found, {}, latest=max(found, default=0))

    def has(self, job_id: int) -> bool:
        """Whether anything is recorded of a job."""
        return job_id in self._files

    def of(self, job_id: int) -> JobRecord:
        """The record of one job."""
        return decode(JobRecord, self._files[job_id])
