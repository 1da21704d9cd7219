"""The one interface to Slurm. `commands` and `memory` implement it and pass the same tests.

Rules for callers, all measured on Slurm 22.05, 24.11 and 26.05:

- A running job gets other nodes of its own only by `requeue`, `is_pending`, `update`, `release`.
- Never `release` after an `update` that raised: the job would start in a half-changed shape.
- Release a requeued job no earlier than `earliest_release` of when its last run was killed.
- `JobUpdate.start_now` works only on a job that is pending.
- A time-out says nothing about what happened: `observe` (or `job`) before acting again. Acting
  twice is harmless.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ef_slurm.slurm.accounting_types import Accounting
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


def earliest_release(killed_by: float) -> float:
    """When a requeued job may be released: when the second is over in which its run was killed.

    Started again on the same node within that second, a job is refused by the node ("already
    killed, do not launch batch job") and fails. It is a second of slurmctld's clock, of which
    nobody else knows when it begins.

    Args:
        killed_by: when that was at the latest: when the requeue was answered, or, where somebody
            else had the job requeued, when it was seen pending. UTC epoch seconds.

    >>> earliest_release(100.25)
    101.25
    """
    return killed_by + 1.0


class Slurm(Protocol):
    """What ef-slurm does with Slurm.

    Every method raises `SlurmUnavailableError` (or its `SlurmTimeoutError`) when Slurm cannot be
    reached, `NoSuchJobError` and `NotPermittedError` where a job is named, and `RefusedError` with
    Slurm's own message.
    """

    def observe(self) -> Observation:
        """The whole cluster: one query for jobs, one for nodes, one for reservations."""
        ...

    def job(self, job_id: int) -> SlurmJob:
        """One job, read again.

        Raises:
            NoSuchJobError: Slurm does not know it (any more).
        """
        ...

    def jobs(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """Some jobs, read again with one query; those that Slurm does not know are left out."""
        ...

    def ended(self, job_ids: Collection[int]) -> Mapping[int, SlurmJob]:
        """How jobs ended that Slurm may have forgotten, as its accounting says.

        It tells whose they were, when they ran and how they ended, and nothing of what they asked
        for nor how often they were requeued. What has not ended, or ended only in that slurmctld
        lost it, is left out.

        Raises:
            SlurmError: there is no accounting, or it does not answer.
        """
        ...

    def step_nodes(self, job_id: int) -> frozenset[str]:
        """Nodes on which steps of a job run, its batch script not counted.

        A step is on all of its nodes until it ends, also on those where its processes have ended.
        """
        ...

    def configuration(self) -> SlurmConfiguration:
        """Slurm's version and settings."""
        ...

    def nodes(self) -> tuple[SlurmNode, ...]:
        """Every node, in Slurm's order."""
        ...

    def partitions(self) -> tuple[SlurmPartition, ...]:
        """Every partition."""
        ...

    def licenses(self) -> tuple[SlurmLicense, ...]:
        """Every licence that Slurm counts."""
        ...

    def accounting(self, users: Collection[str]) -> Accounting:
        """What accounting limits: every QOS and account, and these users."""
        ...

    def test(self, submission: Submission) -> None:
        """Ask whether a submission would be taken, as `submit` would be answered.

        Raises:
            RefusedError: sbatch's message.
        """
        ...

    def submit(self, submission: Submission) -> Submitted:
        """Submit a batch script, held, as the calling user.

        Raises:
            RefusedError: sbatch's message (limits, partition, account, options).
        """
        ...

    def hold(self, job_id: int, *, foreign: Collection[HoldKind] = ()) -> None:
        """Keep a pending job from starting, and a running one from starting again.

        By an operator the owner cannot release it (JobHeldAdmin). A held job stays as it is,
        except that an operator's hold replaces a user's.

        Args:
            foreign: as of `requeue`, of a job that was not held when it was seen.

        Raises:
            HeldFirstError: it had such a hold already, which stays.
        """
        ...

    def update(self, job_id: int, update: JobUpdate) -> SlurmJob:
        """Change a job and read it back.

        Returns:
            The job as it is after the update.

        Raises:
            UpdateIncompleteError: some field does not hold what was asked for.
            RefusedError: a shape for a job that is not pending; nothing was changed.
        """
        ...

    def release(self, job_id: int) -> None:
        """End a hold. A job that is not held stays as it is."""
        ...

    def resize(self, job_id: int, nodes: Sequence[str]) -> SlurmJob:
        """Shrink a running job to some of its nodes. GPUs per node stay.

        Stop its steps first (`step_nodes`): those on the nodes that go are killed, and a live step
        may drain a node. The batch host must stay.

        Returns:
            The job as it is afterwards.

        Raises:
            RefusedError: Slurm or the way it was submitted does not allow it: requeue instead.
        """
        ...

    def requeue(
        self, job_id: int, *, ended: bool = False, foreign: Collection[HoldKind] = ()
    ) -> None:
        """End a job's run and put it back, held. Its processes get TERM, and KILL after KillWait.

        It is `is_pending` some time later. A job that is already pending is only held.

        Args:
            ended: put it back also where it has ended, as long as Slurm remembers it (MinJobAge).
            foreign: holds that none of the caller's doing can have left. Where the caller is the
                job's owner there are none: Slurm shows the same of both.

        Raises:
            HeldFirstError: it pended with such a hold before, which stays. Who dies while it puts
                back a job that has ended may leave one of its own.
            RefusedError: the job has ended, or may not be requeued.
        """
        ...

    def signal(self, job_id: int, signal: str, target: SignalTarget) -> None:
        """Send a signal ("USR2", "TERM", …) to a running job's processes.

        Raises:
            RefusedError: the job is not running.
        """
        ...

    def cancel(self, job_id: int) -> None:
        """Cancel a job. One that has ended or is unknown stays as it is."""
        ...
