"""A job of ef-slurm's queue: what it was promised, where it is, and what its owner can do."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import (
    ActOnJob,
    Cancel,
    Cancelled,
    ChangeJob,
    JobActedOn,
    JobChanged,
    ListJobs,
)
from ef_slurm.cli.common.cancelling import cancel_in_slurm
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import configuration
from ef_slurm.cli.sbatch.submit import await_end
from ef_slurm.cli.scontrol.changes import offer_of, parse_update
from ef_slurm.formats.times import to_datetime
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import (
    FINAL,
    ChangeOutcome,
    JobAction,
    JobList,
    JobState,
    JobView,
    PromiseOutcome,
    PromiseState,
)
from ef_slurm.python.errors import NotPromisedError, SlurmRefusedError, UnknownJobError, translated
from ef_slurm.python.options import option_words
from ef_slurm.siteconfig.tables import SiteConfig

T = TypeVar("T")


def local_time(at: float | None) -> datetime | None:
    """UTC epoch seconds as a point in local time; None, and what never comes, stay None."""
    if at is None or math.isinf(at):
        return None
    return to_datetime(at, local_zone())


@dataclass(frozen=True, slots=True)
class GivenPromise:
    """What a job was promised, and how that stands.

    Attributes:
        deadline: the one that was promised.
        grace: by how much that may be missed.
        finish: predicted by the latest plan; when it ended, once it has.
        share: GPUs that are enough.
        state: what the latest plan says while the promise is open.
        outcome: how it ended.
    """

    deadline: datetime
    grace: timedelta
    finish: datetime | None
    share: int
    state: PromiseState
    outcome: PromiseOutcome

    @property
    def slack(self) -> timedelta | None:
        """From the predicted finish to the deadline."""
        return None if self.finish is None else self.deadline - self.finish


@dataclass(frozen=True, slots=True)
class Job:
    """A job, by Slurm's id of it; what is told of it is asked for at that moment.

    Attributes:
        id: Slurm's.
        notes: what was good to know when it was submitted.
        config: the site's configuration, unless it is where ef-sbatch looks.
    """

    id: int
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)
    config: Path | None = field(default=None, repr=False)

    @property
    def status(self) -> JobView:
        """All that the queue knows of it; times are UTC epoch seconds.

        Raises:
            UnknownJobError: it is not in the queue, or not any more.
            NoAnswerError: the daemon cannot be reached.
        """
        wanted = ListJobs(job_ids=(self.id,))
        found = self._ask(lambda client: expect(JobList, client.ask(wanted)).jobs)
        if not found:
            raise UnknownJobError(f"job {self.id} is not in ef-slurm's queue, or not any more")
        return found[0]

    @property
    def state(self) -> JobState:
        """Where it is."""
        return self.status.state

    @property
    def done(self) -> bool:
        """Whether it has ended, however it did."""
        return self.state in FINAL

    @property
    def deadline(self) -> datetime | None:
        """When it must be finished; None for best effort."""
        return local_time(self.status.deadline)

    @property
    def promise(self) -> GivenPromise | None:
        """What it is promised; None while it has not been judged, and where it was not promised."""
        view = self.status
        deadline = local_time(view.deadline)
        if view.promise_outcome is None or deadline is None:
            return None
        return GivenPromise(
            deadline,
            timedelta(seconds=view.grace),
            local_time(view.finish if view.ended is None else view.ended),
            view.share if view.verdict is None else view.verdict.share,
            view.promise,
            view.promise_outcome,
        )

    def wait(self, timeout: float | timedelta | None = None) -> JobState:
        """Wait until it has ended, however often it is moved and the daemon restarts meanwhile.

        Args:
            timeout: seconds, or a length of time; None for as long as it takes.

        Returns:
            How it ended.

        Raises:
            TimeoutError: it goes on; nothing was done to it.
        """
        if isinstance(timeout, timedelta):
            timeout = timeout.total_seconds()
        seconds = math.inf if timeout is None else timeout
        state = self._ask(lambda client: await_end(client, self.id, seconds)).job.state
        if state not in FINAL:
            raise TimeoutError(f"job {self.id} is {state.value} after {seconds:g} s")
        return state

    def cancel(self) -> None:
        """Cancel it, as ef-scancel does. One that runs saves a checkpoint first.

        Raises:
            NotAllowedError: it is somebody else's.
        """

        def cancel(client: Client, site: SiteConfig) -> Cancelled:
            cancel_in_slurm(slurm_of(site), self.id)
            return expect(Cancelled, client.ask(Cancel((self.id,))))

        with translated(), self._connected() as (client, site):
            answer = cancel(client, site)
        for refusal in answer.refused:
            raise SlurmRefusedError(f"job {self.id}: {refusal.why}")

    def update(
        self,
        *,
        deadline: str | datetime | timedelta | float | None = None,
        iterations: int | None = None,
        max_gpus: int | None = None,
        best_effort: bool | None = None,
    ) -> str:
        """Let it be otherwise, as `ef-scontrol update` does.

        Args:
            deadline: as `submit` takes it. Later is granted at once; earlier is judged like a new
                job.
            iterations: of the whole training.
            max_gpus: the largest share; 0 for any.
            best_effort: True gives the deadline up, False asks for its promise again.

        Returns:
            What was changed, in a sentence, and how a deadline was read that could mean another.

        Raises:
            NotPromisedError: it cannot be promised so: nothing was changed, the promise before
                stands.
            WrongOptionError: a value is wrong, or the job has ended.
        """
        asked = {"deadline": deadline, "iterations": iterations, "max_gpus": max_gpus}
        heard: list[str] = []
        with translated():
            words = [word.removeprefix("--") for word in option_words(asked)]
            if best_effort is not None:
                words.append(f"best_effort={'yes' if best_effort else 'no'}")
            words, zone = [str(self.id), *words], local_zone()
            _, change = parse_update(words, time.time(), zone, heard.append)
        wanted = ChangeJob(self.id, change)
        answer = self._ask(lambda client: expect(JobChanged, client.ask(wanted)))
        if answer.outcome is ChangeOutcome.REFUSED:
            raise NotPromisedError(
                f"job {self.id}: {answer.explanation}; nothing was changed",
                local_time(offer_of(answer)),
            )
        return "\n".join((answer.explanation, *heard))

    def hold(self) -> str:
        """Keep it from running; one that runs saves a checkpoint and leaves its GPUs."""
        return self._act(JobAction.HOLD)

    def release(self) -> str:
        """Let it go on after a hold; it is judged anew where it has no promise."""
        return self._act(JobAction.RELEASE)

    def requeue(self) -> str:
        """Let it save a checkpoint and start anew, as with a changed training script."""
        return self._act(JobAction.REQUEUE)

    def _act(self, action: JobAction) -> str:
        wanted = ActOnJob(self.id, action)
        return self._ask(lambda client: expect(JobActedOn, client.ask(wanted))).explanation

    @contextmanager
    def _connected(self) -> Iterator[tuple[Client, SiteConfig]]:
        site = configuration(self.config)
        with closing(connect(site, lambda: slurm_of(site))) as client:
            yield client, site

    def _ask(self, question: Callable[[Client], T]) -> T:
        with translated(), self._connected() as (client, _):
            return question(client)


def job(job_id: int, *, config: str | os.PathLike[str] | None = None) -> Job:
    """A job that was submitted before, here or with ef-sbatch.

    Raises:
        UnknownJobError: it is not in the queue, or not any more.
    """
    found = Job(job_id, config=None if config is None else Path(config))
    _ = found.status
    return found
