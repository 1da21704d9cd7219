"""A job that trains at one size after the other, inside of the allocation that it holds.

The daemon measures, as it does of any job, and puts what it believes into the profile library; the
launches follow each other in place, or one launch changes its size while it trains
(docs/protocol.md). This only says which size is next, and looks whether its rate is known. So no
start, stop, requeue or failure counts as training, and whatever ends the job, what was measured
before is kept.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.api.client import Client, FailureError, UnreachableError, expect
from ef_slurm.api.messages import Await, FailureCode, ListRates, Rates, TrainOn, TrainsOn, Until
from ef_slurm.contract import ContractError, Launch, LaunchState, Phase, Progress, StateDir
from ef_slurm.model import FINAL, JobDetail, JobRequest, JobState, JobView

LOOK_SECONDS = 1.0
"""Between two looks at the job."""

ASK_AGAIN_SECONDS = 20.0
"""After which a size that is not there yet is asked for once more."""

RELAUNCH_SECONDS = 180.0
"""In which a launch has to stop, and the next one to begin; or to change its size live."""

UNSTEADY_SECONDS = 90.0
"""Of further training in which a rate must become steady enough to be believed."""

SILENCE_SECONDS = 120.0
"""For which the daemon may be gone before the job is given up."""


class Stage(enum.Enum):
    """Where the job is with the present size."""

    WAITING = "waiting"  # for GPUs
    STARTING = "starting"
    TRAINING = "training"


@dataclass(frozen=True, slots=True)
class Look:
    """How far the job has come.

    Args:
        gpus: the present size.
        seconds: of training at it.
    """

    gpus: int
    stage: Stage
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SizeResult:
    """What came of one size: iterations/s, or None and why not."""

    gpus: int
    rate: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reports:
    """The job's own files, as far as they can be read."""

    launch: Launch | None = None
    progress: Progress | None = None

    @property
    def gpus(self) -> int:
        """GPUs that the launch that runs trains on now; 0 if none is known to run."""
        launch = self.launch
        if launch is None or launch.state is not LaunchState.RUNNING:
            return 0
        return launch.gpus(self.progress) or 0

    @property
    def trains(self) -> Progress | None:
        """What the launch that runs says of its training; None before its first iteration."""
        progress, launch = self.progress, self.launch
        if progress is None or launch is None or progress.generation != launch.generation:
            return None
        if progress.phase is not Phase.RUNNING or progress.first_iteration_at is None:
            return None
        return progress


def read_reports(state_dir: str) -> Reports:
    """The files of one's own job; what cannot be read now is None."""
    directory = StateDir(Path(state_dir))
    try:
        return Reports(directory.read_launch(), directory.read_progress())
    except (ContractError, OSError):
        return Reports()


def order_of(sizes: Sequence[int]) -> tuple[int, ...]:
    """The largest first, as the job begins on it; then the least: the two tell most."""
    falling = sorted(sizes, reverse=True)
    return tuple(dict.fromkeys((falling[0], falling[-1], *falling)))


class _Training:
    """For how long the job has trained as it does: since its launch, or its last live change."""

    def __init__(self) -> None:
        self._as: tuple[int, int, int] | None = None
        self._since = 0.0

    def seconds(self, reports: Reports) -> float | None:
        """Of training at the present size; None where it does not train. Asked with each look."""
        launch, progress = reports.launch, reports.trains
        if launch is None or progress is None or progress.first_iteration_at is None:
            return None
        trains_as = progress.generation, progress.change, reports.gpus
        if trains_as != self._as:
            begun = self._as is None or self._as[0] != progress.generation
            anew = begun and progress.change == launch.change
            self._as = trains_as
            self._since = progress.first_iteration_at if anew else progress.updated_at
        return max(0.0, progress.updated_at - self._since)


class SizeRun:
    """Follows one job through its sizes.

    Args:
        job: as submitted, on its largest size.
        sizes: GPUs, the largest among them.
        seconds_per_size: of training at each, at least.
        limit: seconds from the job's first start after which it is over.
        reports: reads the job's files.
        clock: UTC epoch seconds.
        pause: sleeps.

    Attributes:
        problem: why it ended before all sizes were tried; "" if it did not.
        batch: the global batch size, once it is known.
    """

    def __init__(
        self,
        client: Client,
        job: JobRequest,
        sizes: Sequence[int],
        *,
        seconds_per_size: float,
        limit: float,
        reports: Callable[[], Reports],
        clock: Callable[[], float],
        pause: Callable[[float], None],
    ) -> None:
        self._client = client
        self._job = job
        self._sizes = order_of(sizes)
        self._seconds = seconds_per_size
        self._limit = limit
        self._reports = reports
        self._clock = clock
        self._pause = pause
        self._reached_at = clock()
        self._training = _Training()
        self.problem = ""
        self.batch = job.global_batch_size

    def follow(self) -> Iterator[Look | SizeResult]:
        """The job's way: looks at it as it goes on, and a result for each size.

        Raises:
            UnreachableError: the daemon was gone for too long.
            FailureError: the daemon refuses.
        """
        for size in self._sizes:
            if self.batch is not None and size > self.batch:
                why = f"a batch has {self.batch} samples: fewer than one for each GPU"
                yield SizeResult(size, None, why)
                continue
            result = yield from self._measure(size)
            if result is None:
                return
            yield result

    def _measure(self, size: int) -> Generator[Look, None, SizeResult | None]:
        """One size: its result, or None if the job is over."""
        request = _Request(self._client, self._job.slurm_job_id, size, size == self._sizes[0])
        while True:
            view = self._view()
            if view is not None and self._is_over(view):
                return None
            reports = self._reports()
            seconds = self._training.seconds(reports)
            trained = seconds if reports.gpus == size else None
            holds = view is not None and view.share > 0
            if trained is not None and holds:
                yield Look(size, Stage.TRAINING, trained)
                if trained >= self._seconds:
                    rate = self._rate(size)
                    if rate is not None:
                        return SizeResult(size, rate)
                if trained >= self._seconds + UNSTEADY_SECONDS:
                    return SizeResult(size, None, f"no steady rate in {trained:.0f} s of training")
                continue
            yield Look(size, Stage.STARTING if holds else Stage.WAITING)
            if not holds:
                request.forget()  # what it held is gone, and with it what was asked
            elif reports.launch is not None and reports.gpus not in (0, size):
                why = request.look(reports.launch, self._clock())
                if why:
                    return SizeResult(size, None, why)

    def _view(self) -> JobView | None:
        """The job as the daemon has it, a moment later; None while the daemon is away."""
        try:
            wanted = Await(self._job.slurm_job_id, Until.END, LOOK_SECONDS)
            view = expect(JobDetail, self._client.ask(wanted)).job
        except UnreachableError:
            if self._clock() - self._reached_at > SILENCE_SECONDS:
                raise
            self._pause(LOOK_SECONDS)
            return None
        self._reached_at = self._clock()
        return view

    def _is_over(self, view: JobView) -> bool:
        if view.state is JobState.COMPLETED:
            self.problem = "the training was complete before all sizes were measured"
        elif view.state in FINAL:
            note = f": {view.note}" if view.note else ""
            self.problem = f"the job is {view.state.value}{note}"
        elif view.started is not None and self._clock() - view.started >= self._limit:
            self.problem = f"its {self._limit:.0f} s were over"
        return bool(self.problem)

    def _rate(self, size: int) -> float | None:
        """What the daemon has measured of this job at this size."""
        wanted = ListRates(model_name=self._job.model_name, precision=self._job.precision)
        rates = [
            rate
            for rate in expect(Rates, self._client.ask(wanted)).rates
            if rate.job_id == self._job.slurm_job_id and rate.gpus == size
        ]
        if not rates:
            return None
        newest = max(rates, key=lambda rate: rate.at)
        self.batch = newest.key.global_batch_size
        return newest.rate


class _Request:
    """A size that was asked for, and when."""

    def __init__(self, client: Client, job_id: int, size: int, is_all: bool) -> None:
        self._client = client
        self._ask = TrainOn(job_id, None if is_all else size)
        self.forget()

    def forget(self) -> None:
        """Nothing was asked for in what the job holds now."""
        self._first: float | None = None
        self._last = 0.0
        self._generation = self._run = 0
        self._refusal = ""

    def look(self, launch: Launch, now: float) -> str:
        """Ask if it is time to; why the size will not come, or ""."""
        if self._first is not None and launch.restart_count != self._run:
            self.forget()  # it was requeued
        if self._first is not None and launch.generation >= self._generation + 2:
            return "the training failed on it (see the job's log)"
        if self._first is not None and now - self._first >= RELAUNCH_SECONDS:
            waited = f"it was not launched on it within {RELAUNCH_SECONDS:.0f} s"
            return f"{waited}: {self._refusal}" if self._refusal else waited
        if self._first is not None and now - self._last < ASK_AGAIN_SECONDS:
            return ""
        if self._first is None:
            self._first, self._generation, self._run = now, launch.generation, launch.restart_count
        self._last = now
        try:
            expect(TrainsOn, self._client.ask(self._ask))
            self._refusal = ""
        except FailureError as error:
            if error.code is not FailureCode.BAD_REQUEST:
                raise
            self._refusal = str(error)
        except UnreachableError as error:
            self._refusal = str(error)
        return ""
