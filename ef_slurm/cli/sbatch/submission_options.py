"""The options of command line and script, checked and typed."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TypeVar

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.sbatch.options import LAUNCH_GROUPS, LAUNCH_NAMES, PASSED_NAMES, REFUSED
from ef_slurm.formats.durations import (
    parse_finite_duration,
    parse_limit,
    parse_seconds,
    whole_minutes,
)
from ef_slurm.formats.memory import parse_memory
from ef_slurm.formats.numbers import parse_count
from ef_slurm.formats.times import format_instant
from ef_slurm.formats.when import When, parse_begin, read_when
from ef_slurm.model import IfInfeasible, JobKind, ModelError, PerGpu, check_name
from ef_slurm.slurm.comments import check_words

MOST_EPOCHS = 1e9
DEFAULT_GRACE_SHARE = 0.25
"""Grace of `--soft` without one, as a part of the time until the deadline."""

_KIND_OPTIONS = frozenset({"deadline", "soft", "best-effort"})
_COUNTS = frozenset({"iterations", "epochs"})


class Mode(enum.Enum):
    """How far to go."""

    SUBMIT = "submit"
    TEST_ONLY = "test-only"
    DRY_RUN = "dry-run"


@dataclass(frozen=True, slots=True)
class SubmissionOptions:
    """One submission. Times are UTC epoch seconds, durations seconds.

    Args:
        iterations, global_batch_size: None where the script says them.
        epochs: instead of iterations; None where they are counted otherwise.
        throughputs: (`[TYPE=]curve`, where it stands).
        time_limit: of `--time`, in whole minutes as Slurm keeps it; `inf` for UNLIMITED and 0, as
            in Slurm; None where it is not given.
        begin: before when it may not start; None for at once.
        account, qos, reservation, licenses, directory: of sbatch's options, which get them too.
        on_command_line: sbatch's options of the command line, to be passed on.
        in_script: those of `#SBATCH` lines.
        launch: how the command is to be started, over the site's settings: options of the script
            and of the command line, what counts most last.
        comment: the owner's words in Slurm's.
        notes: how values were read that people may have meant otherwise.
    """

    kind: JobKind
    deadline: float | None
    grace: float
    if_infeasible: IfInfeasible
    iterations: int | None
    epochs: float | None
    global_batch_size: int | None
    throughputs: tuple[tuple[str, str], ...]
    profile: str | None
    model_name: str | None
    precision: str | None
    gpu_type: str | None
    max_gpus: int | None
    overhead: float | None
    max_batch_per_gpu: int | None
    state_dir: Path | None
    job_name: str | None
    partition: str | None
    time_limit: float | None
    begin: float | None
    account: str | None
    qos: str | None
    reservation: str | None
    licenses: str | None
    directory: str | None
    comment: str
    cpus_per_gpu: int | None
    memory_per_gpu: float | None
    memory_per_cpu: float | None
    on_command_line: tuple[str, ...]
    in_script: tuple[str, ...]
    launch: tuple[ParsedOption, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What ef-sbatch does and prints."""

    mode: Mode = Mode.SUBMIT
    json: bool = False
    parsable: bool = False
    quiet: bool = False
    wait: bool = False
    wait_verdict: bool = False
    verdict_timeout: float | None = None
    config: Path | None = None


T = TypeVar("T")


class _Values:
    """The last value of each option."""

    def __init__(self, options: Iterable[ParsedOption]) -> None:
        self._last: dict[str, ParsedOption] = {}
        self.all = tuple(options)
        for option in self.all:
            self._last[option.option.name] = option

    def has(self, name: str) -> bool:
        return name in self._last

    def text(self, name: str) -> str | None:
        option = self._last.get(name)
        return None if option is None else option.value

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        option = self._last.get(name)
        if option is None or option.value is None:
            return None
        try:
            return parse(option.value)
        except ValueError as error:
            raise UsageError(f"{option.where}: {option.option.flag}: {error}") from None

    def whole(self, name: str) -> int | None:
        number = self.parsed(name, _whole)
        return None if number is None else int(number)


def output_options(command_line: Sequence[ParsedOption]) -> OutputOptions:
    """The behaviour that the command line asks for.

    Raises:
        UsageError: options that exclude each other, or a wrong value.
    """
    values = _Values(command_line)
    if values.has("test-only") and values.has("dry-run"):
        raise UsageError("--test-only and --dry-run: give one of them")
    if values.has("json") and values.has("parsable"):
        raise UsageError("--json and --parsable: give one of them")
    mode = Mode.SUBMIT
    if values.has("test-only"):
        mode = Mode.TEST_ONLY
    elif values.has("dry-run"):
        mode = Mode.DRY_RUN
    config = values.text("config")
    return OutputOptions(
        mode=mode,
        json=values.has("json"),
        parsable=values.has("parsable"),
        quiet=values.has("quiet"),
        wait=values.has("wait"),
        wait_verdict=values.has("wait-verdict") or values.has("wait"),
        verdict_timeout=values.parsed("verdict-timeout", parse_seconds),
        config=None if config is None else Path(config),
    )


def per_gpu_of(requested: SubmissionOptions) -> PerGpu:
    """The CPUs and the memory that are asked for with each GPU."""
    cpus = float(requested.cpus_per_gpu or 0)
    memory = requested.memory_per_gpu
    if memory is None and requested.memory_per_cpu is not None:
        memory = requested.memory_per_cpu * max(1.0, cpus)
    return PerGpu(cpus, memory or 0.0)


def submission_options(
    command_line: Sequence[ParsedOption], script: Sequence[ParsedOption], now: float, zone: tzinfo
) -> SubmissionOptions:
    """The submission that the options ask for; those of the command line win.

    Raises:
        UsageError: an option of sbatch that ef-slurm owns, a wrong or missing value, or options
            that exclude each other; the text says where it stands.
    """
    for option in (*script, *command_line):
        refused = REFUSED.get(option.option.name)
        if refused is not None:
            raise UsageError(f"{option.where}: {option.option.flag}: {refused[1]}")
    values = _Values((*_not_overridden(script, command_line), *command_line))
    when = values.parsed("deadline", lambda text: read_when(text, now, zone))
    kind, deadline, grace = _kind(values, when, now)
    begin = values.parsed("begin", lambda text: parse_begin(text, now, zone))
    if begin is not None and deadline is not None and begin >= deadline:
        raise UsageError(
            f"--begin={values.text('begin')} is {format_instant(begin, zone)}: not before the "
            f"deadline {format_instant(deadline, zone)}"
        )
    throughputs, profile = _curve(values)
    state_dir = values.text("state-dir")
    if state_dir is not None and not Path(state_dir).is_absolute():
        raise UsageError(f"--state-dir={state_dir}: expected an absolute path")
    return SubmissionOptions(
        kind=kind,
        deadline=deadline,
        grace=grace,
        if_infeasible=_if_infeasible(values, kind),
        iterations=values.whole("iterations"),
        epochs=_epochs(values),
        global_batch_size=values.whole("global-batch-size"),
        throughputs=throughputs,
        profile=profile,
        model_name=_name(values, "model-name"),
        precision=_name(values, "precision"),
        gpu_type=values.text("gpu-type"),
        max_gpus=values.whole("max-gpus"),
        overhead=values.parsed("overhead", parse_seconds),
        max_batch_per_gpu=values.whole("max-batch-per-gpu"),
        state_dir=None if state_dir is None else Path(state_dir),
        job_name=values.text("job-name"),
        partition=values.text("partition"),
        time_limit=values.parsed("time", _time_limit),
        begin=begin,
        account=values.text("account"),
        qos=values.text("qos"),
        reservation=values.text("reservation"),
        licenses=values.text("licenses"),
        directory=values.text("chdir"),
        comment=values.parsed("comment", _comment) or "",
        cpus_per_gpu=values.whole("cpus-per-gpu"),
        memory_per_gpu=values.parsed("mem-per-gpu", parse_memory),
        memory_per_cpu=values.parsed("mem-per-cpu", parse_memory),
        on_command_line=_passed(command_line),
        in_script=_passed(script),
        launch=tuple(option for option in values.all if option.option.name in LAUNCH_NAMES),
        notes=() if when is None else tuple(f"--deadline: {note}" for note in when.notes),
    )


def _not_overridden(
    script: Sequence[ParsedOption], command_line: Sequence[ParsedOption]
) -> list[ParsedOption]:
    """The script's options but those that the command line replaces as a group."""
    names = {option.option.name for option in command_line}
    replaced: set[str] = set()
    if names & {"deadline", "best-effort"}:
        replaced |= _KIND_OPTIONS
    if names & {"throughput", "profile"}:
        replaced |= {"throughput", "profile"}
    for group in (*LAUNCH_GROUPS, _COUNTS):
        if names & group:
            replaced |= group
    return [option for option in script if option.option.name not in replaced]


def _kind(values: _Values, when: When | None, now: float) -> tuple[JobKind, float | None, float]:
    if values.has("best-effort"):
        for name in ("deadline", "soft"):
            if values.has(name):
                raise UsageError(f"--best-effort and --{name}: give one of them")
        return JobKind.BEST_EFFORT, None, 0.0
    if when is None:
        raise UsageError(
            "when must it be finished? Give --deadline=WHEN (for example 6h, 18:00, "
            "2026-12-24T12:00), or --best-effort"
        )
    deadline = when.instant
    if not values.has("soft"):
        return JobKind.DEADLINE, deadline, 0.0
    grace = values.parsed("soft", parse_finite_duration)
    if grace is None:
        grace = DEFAULT_GRACE_SHARE * (deadline - now)
    return JobKind.SOFT_DEADLINE, deadline, grace


def _epochs(values: _Values) -> float | None:
    if values.has("epochs") and values.has("iterations"):
        raise UsageError("--epochs and --iterations: give one of them")
    return values.parsed("epochs", _positive)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < MOST_EPOCHS:
        raise ValueError(f"{text!r} is not a positive number")
    return number


def _if_infeasible(values: _Values, kind: JobKind) -> IfInfeasible:
    text = values.text("if-infeasible")
    if text is None:
        return IfInfeasible.REJECT
    choices = {choice.value: choice for choice in IfInfeasible}
    if text not in choices:
        raise UsageError(f"--if-infeasible={text}: expected one of {', '.join(choices)}")
    if kind is JobKind.BEST_EFFORT:
        raise UsageError("--if-infeasible means nothing for a --best-effort job; leave it out")
    return choices[text]


def _curve(values: _Values) -> tuple[tuple[tuple[str, str], ...], str | None]:
    texts = tuple(
        (option.value or "", f"{option.where}: --throughput")
        for option in values.all
        if option.option.name == "throughput"
    )
    profile = values.text("profile")
    if texts and profile is not None:
        raise UsageError(
            "--throughput, --profile: give one of them, or none for what was measured before"
        )
    return texts, profile


def _name(values: _Values, option: str) -> str | None:
    text = values.text(option)
    if text is not None:
        try:
            check_name(option, text)
        except ModelError as error:
            raise UsageError(f"--{option}={text}: expected {error.wanted}") from None
    return text


def _passed(options: Sequence[ParsedOption]) -> tuple[str, ...]:
    return tuple(option.text for option in options if option.option.name in PASSED_NAMES)


def _time_limit(text: str) -> float:
    """Seconds of a limit as sbatch takes it."""
    return whole_minutes(parse_limit(text)) or math.inf


def _comment(text: str) -> str:
    check_words(text)
    return text


def _whole(text: str) -> int:
    number = parse_count(text)
    if not number:
        raise ValueError(f"{text!r} is not a whole number of 1 or more")
    return number
