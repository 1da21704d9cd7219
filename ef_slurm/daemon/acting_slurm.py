"""A Slurm that does what this daemon wants only as long as no other daemon has taken over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ef_slurm.slurm.accounting_types import Accounting
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmLicense, SlurmPartition
from ef_slurm.slurm.types import (
    HoldKind,
    JobUpdate,
    Observation,
    SignalTarget,
    SlurmJob,
    SlurmNode,
    Submission,
    Submitted,
)


class ActingSlurm:
    """Asks before everything that changes something.

    Args:
        slurm: the real one.
        check: raises where this daemon may not act.
    """

    def __init__(self, slurm: Slurm, check: Callable[[], None]) -> None:
        self._slurm = slurm
        self._check = check

    def observe(self) -> Observation:
        """As the real one."""
        return self._slurm.observe()

    def job(self, job_id: int) -> SlurmJob:
        """As the real one."""
        return self._slurm.job(job_id)

    def jobs(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """As the real one."""
        return self._slurm.jobs(job_ids)

    def ended(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """As the real one."""
        return self._slurm.ended(job_ids)

    def step_nodes(self, job_id: int) -> frozenset[str]:
        """As the real one."""
        return self._slurm.step_nodes(job_id)

    def configuration(self) -> SlurmConfiguration:
        """As the real one."""
        return self._slurm.configuration()

    def nodes(self) -> tuple[SlurmNode, ...]:
        """As the real one."""
        return self._slurm.nodes()

    def partitions(self) -> tuple[SlurmPartition, ...]:
        """As the real one."""
        return self._slurm.partitions()

    def licenses(self) -> tuple[SlurmLicense, ...]:
        """As the real one."""
        return self._slurm.licenses()

    def accounting(self, users: Collection[str]) -> Accounting:
        """As the real one."""
        return self._slurm.accounting(users)

    def test(self, submission: Submission) -> None:
        """As the real one."""
        self._slurm.test(submission)

    def submit(self, submission: Submission) -> Submitted:
        """If this daemon may."""
        self._check()
        return self._slurm.submit(submission)

    def hold(self, job_id: int, *, foreign: Collection[HoldKind] = ()) -> None:
        """If this daemon may."""
        self._check()
        self._slurm.hold(job_id, foreign=foreign)

    def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
        """If this daemon may."""
        self._check()
        return self._slurm.update(job_id, update)

    def release(self, job_id: int) -> None:
        """If this daemon may."""
        self._check()
        self._slurm.release(job_id)

    def resize(self, job_id: int, nodes: Sequence[str]) -> SlurmJob:
        """If this daemon may."""
        self._check()
        return self._slurm.resize(job_id, nodes)

    def requeue(
        self, job_id: int, *, ended: bool = False, foreign: Collection[HoldKind] = ()
    ) -> None:
        """If this daemon may."""
        self._check()
        self._slurm.requeue(job_id, ended=ended, foreign=foreign)

    def signal(self, job_id: int, signal: str, target: SignalTarget) -> None:
        """If this daemon may."""
        self._check()
        self._slurm.signal(job_id, signal, target)

    def cancel(self, job_id: int) -> None:
        """If this daemon may."""
        self._check()
        self._slurm.cancel(job_id)
