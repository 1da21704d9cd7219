"""What the daemon counts as it goes, for `GET /metrics` (docs/operations.md lists it).

No label has a value that users could choose: their number is bounded by this program, and nothing
private is told. Counting costs a microsecond; what costs more is computed when somebody asks
(`serve/exposition.py`), from what the last tick left here.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from ef_slurm.model import QueueJob
from ef_slurm.slurm.errors import (
    NoSuchJobError,
    NotPermittedError,
    RefusedError,
    SlurmError,
    SlurmTimeoutError,
    SlurmUnavailableError,
    UnexpectedOutputError,
)

STEP_SECONDS = 1.0
"""By how much the clock must have left the time that has passed, to have been set."""

_INSTANT = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
_COMMANDS = frozenset({"squeue", "sbatch", "scancel", "sacctmgr", "sshare", "sprio", "sinfo"})
_SCONTROL = frozenset({"show", "update", "hold", "release", "requeuehold", "requeue", "uhold"})
OTHER = "other"
"""The label of what has none of its own."""

# The more special ones first.
_REASONS: tuple[tuple[type[SlurmError], str], ...] = (
    (SlurmTimeoutError, "timeout"),
    (SlurmUnavailableError, "unavailable"),
    (NoSuchJobError, "no-such-job"),
    (NotPermittedError, "not-permitted"),
    (RefusedError, "refused"),
    (UnexpectedOutputError, "unexpected-output"),
)


class GpuUse(enum.Enum):
    """What a GPU of the partition is used for."""

    PROMISED = "promised"  # trains, and was promised a deadline
    BEST_EFFORT = "best-effort"  # trains without a promise
    MEASURING = "measuring"  # trains, and is not judged yet
    CHANGES = "changes"  # held by a job that starts, stops or moves
    STRANGERS = "strangers"  # of jobs that are not in ef-slurm's queue
    IDLE = "idle"
    UNAVAILABLE = "unavailable"  # of nodes that are down or drained


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last tick left.

    Args:
        jobs: the rows of the active jobs.
        at: monotonic seconds.
    """

    jobs: tuple[QueueJob, ...] = ()
    at: float = -math.inf


class Metrics:
    """Counters, and what is counted when somebody asks. Any thread may count.

    Args:
        version: of ef-slurm.
        clock: monotonic seconds.
    """

    def __init__(self, version: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._seen = Seen()
        self._looked_at = self._started = clock()
        self._clock_error: float | None = None
        registry = self.registry
        Info("ef_slurm", "This ef-schedd.", registry=registry).info({"version": version})
        ProcessCollector(registry=registry)
        self.tick_seconds = Histogram(
            "ef_slurm_tick_seconds", "One tick.", buckets=_INSTANT, registry=registry
        )
        self.plan_seconds = Histogram(
            "ef_slurm_plan_seconds", "One plan.", buckets=_INSTANT, registry=registry
        )
        self.what_if_seconds = Histogram(
            "ef_slurm_what_if_seconds",
            "From a question for a verdict, or a change, to its answer.",
            buckets=_INSTANT,
            registry=registry,
        )
        self.reports_refused = Counter(
            "ef_slurm_reports_refused_total",
            "Jobs of which a report was not taken as it was.",
            registry=registry,
        )
        self._commands = Histogram(
            "ef_slurm_slurm_command_seconds",
            "One command of Slurm's.",
            ["command"],
            buckets=_INSTANT,
            registry=registry,
        )
        self._failures = Counter(
            "ef_slurm_slurm_command_failures_total",
            "Commands of Slurm's that failed.",
            ["command", "reason"],
            registry=registry,
        )
        self._requests = Counter(
            "ef_slurm_http_requests_total",
            "Requests that were answered.",
            ["route", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "ef_slurm_http_request_seconds",
            "From a whole request to its answer; `await` waits for as long as it was asked to.",
            ["route"],
            buckets=(0.01, 0.1, 1.0, 10.0),
            registry=registry,
        )
        self._gpu_seconds = Counter(
            "ef_slurm_gpu_seconds_total", "GPU-seconds by use.", ["use"], registry=registry
        )
        self._gpus = Gauge("ef_slurm_gpus", "GPUs by use now.", ["use"], registry=registry)
        self._steps = Counter(
            "ef_slurm_clock_steps_total",
            f"Times that the clock was set by {STEP_SECONDS:g} s or more.",
            ["direction"],
            registry=registry,
        )
        self._add_what_is_known_before()

    def _add_what_is_known_before(self) -> None:
        """Series that are 0 and not missing until something happens; ages, which need no count."""
        for use in GpuUse:
            self._gpu_seconds.labels(use.value)
            self._gpus.labels(use.value)
        for direction in ("forward", "back"):
            self._steps.labels(direction)
        for command in ("squeue", "scontrol show", "scontrol update", "scontrol release"):
            self._commands.labels(command)
            for _, reason in _REASONS:
                self._failures.labels(command, reason)
        ages = (
            ("ef_slurm_since_tick_seconds", "Since a tick was last done.", self._since_tick),
            ("ef_slurm_since_look_seconds", "Since Slurm last answered a look.", self._since_look),
        )
        for name, words, age in ages:
            Gauge(name, words, registry=self.registry).set_function(age)

    # The scheduler's thread

    @property
    def seen(self) -> Seen:
        """What the last tick left. Any thread may ask."""
        return self._seen

    def ticked(self, jobs: tuple[QueueJob, ...]) -> None:
        """A tick is done; these are the active jobs."""
        self._seen = Seen(jobs, self._clock())

    def looked(self) -> None:
        """Slurm has answered."""
        self._looked_at = self._clock()

    def gpus_used(self, use: GpuUse, gpus: int, seconds: float) -> None:
        """So many GPUs are used for that now, and those of before were for so many GPU-seconds."""
        self._gpus.labels(use.value).set(gpus)
        self._gpu_seconds.labels(use.value).inc(seconds)

    def clock_is(self, now: float) -> None:
        """What the clock shows, UTC epoch seconds; called often, it notices that it was set."""
        error, before = now - self._clock(), self._clock_error
        self._clock_error = error
        if before is not None and abs(error - before) >= STEP_SECONDS:
            self._steps.labels("forward" if error > before else "back").inc()

    # Any thread

    def slurm_command(
        self, command: Sequence[str], seconds: float, error: SlurmError | None
    ) -> None:
        """A command of Slurm's has ended."""
        name = command_name(command)
        self._commands.labels(name).observe(seconds)
        if error is not None:
            self._failures.labels(name, failure_name(error)).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request has its answer.

        Args:
            route: the name of one; "none" for what is none.
        """
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    @property
    def seconds_since_look(self) -> float:
        """Since Slurm last answered, or since the daemon started. Any thread may ask."""
        return self._since_look()

    def _since_tick(self) -> float:
        return self._clock() - max(self._seen.at, self._started)

    def _since_look(self) -> float:
        return self._clock() - self._looked_at


def command_name(command: Sequence[str]) -> str:
    """What a command counts as.

    >>> command_name(["scontrol", "--oneliner", "show", "nodes"]), command_name(["/bin/true"])
    ('scontrol show', 'other')

    Without arguments `scontrol` is given several commands to do.
    """
    program = command[0]
    if program != "scontrol":
        return program if program in _COMMANDS else OTHER
    if len(command) == 1:
        return "scontrol several"
    word = next((each for each in command[1:] if not each.startswith("-")), "")
    return f"scontrol {word}" if word in _SCONTROL else OTHER


def failure_name(error: SlurmError) -> str:
    """The kind of an error in a word."""
    return next((name for kind, name in _REASONS if isinstance(error, kind)), OTHER)
