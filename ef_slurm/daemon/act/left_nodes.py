"""Whether nodes that a running job is to give up are empty, by Slurm's word.

That its launch has stopped, or is on other nodes, is the word of a script of its owner's. Slurm
kills what runs on nodes that it takes from a job, and now and then drains a node for it
(`docs/slurm.md`): that would be everybody's loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ef_slurm.daemon.act.since import Since
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.formats.hostlist import compress
from ef_slurm.model import Block, QueueJob
from ef_slurm.slurm.errors import NotPermittedError, RefusedError, UnexpectedOutputError

STEP_SECONDS = 5.0
"""Seconds for which steps may still be there of which a job says that they have ended: slurmctld
hears of their end a moment later."""

AGAIN_SECONDS = 0.3
"""After which Slurm is asked again."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Steps run on nodes that are to go.

    Args:
        again: when to ask again, UTC epoch seconds; None where that was long enough.
        words: a sentence.
    """

    again: float | None
    words: str


class LeftNodes:
    """Asks Slurm before nodes are taken from a running job. The scheduler's thread only.

    Args:
        step_nodes: nodes on which steps of a job run, by Slurm's id (`Slurm.step_nodes`).
        clock: UTC epoch seconds.
    """

    def __init__(
        self, step_nodes: Callable[[int], frozenset[str]], clock: Callable[[], float]
    ) -> None:
        self._step_nodes = step_nodes
        self._clock = clock
        self._busy = Since()

    def look(self, job: QueueJob, status: JobStatus, kept: Block) -> Busy | None:
        """What runs on nodes that the job is not to keep; None where nothing does.

        Where Slurm does not say, any step may.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
            NoSuchJobError: it does not know the job any more.
        """
        slurm = status.slurm
        busy = gone = set(slurm.nodes).difference(kept.nodes)
        words = "its script says that nothing runs on {}, and a step of it does"
        try:
            busy = gone & self._step_nodes(slurm.job_id)
        except (RefusedError, NotPermittedError, UnexpectedOutputError):
            words = "Slurm does not say whether a step of it runs on {}"
        if not busy:
            self._busy.forget(job.id)
            return None
        now = self._clock()
        # Of a run: another launch, as the job says, is no reason to wait anew.
        until = self._busy.of(job.id, slurm.restarts, now) + STEP_SECONDS
        again = min(until, now + AGAIN_SECONDS) if now < until else None
        return Busy(again, words.format(compress(sorted(busy))))

    def forget(self, job_id: int) -> None:
        """The job has ended."""
        self._busy.forget(job_id)
