"""What `ef-profile run` is told: its own options, and those that a submission takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import Option, OptionGroup, Options, ParsedOption, Takes
from ef_slurm.cli.sbatch import own_options
from ef_slurm.cli.sbatch.options import FOR_NODES_AND_GPUS, GROUPS, PASSED
from ef_slurm.cli.sbatch.script import Script
from ef_slurm.formats.durations import (
    format_duration,
    parse_finite_duration,
    parse_seconds,
    whole_minutes,
)
from ef_slurm.formats.numbers import parse_amount, parse_count
from ef_slurm.model import is_power_of_two

ITERATIONS = 10_000_000
"""Of a training that is only measured: more than it can do before its time is up."""

MAX_SECONDS = 600.0
SECONDS_PER_SIZE = 30.0

SLACK_SECONDS = 60.0
"""After this much more than its time Slurm itself ends the job, whoever has died."""

_WHERE = "ef-profile run"

_COST = (
    Option(
        "max-time",
        metavar="T",
        help="From its start: 90s, 10m, 1h (default: 10m); then what is known counts.",
    ),
    Option(
        "max-gpu-time",
        metavar="T",
        help="The same times the GPUs of the largest size (default: no more than that).",
    ),
)
_MEASURED = (
    Option(
        "gpus", metavar="N[,N...]", help="Powers of two (default: 1, 2, 4, ... up to a whole node)."
    ),
    Option("seconds-per-size", metavar="N", help="Of training at each, at least (default: 30)."),
)
_KNOWN = {option.name: option for each in GROUPS for option in each.options}


def _of_a_submission(*names: str) -> tuple[Option, ...]:
    return tuple(_KNOWN[name] for name in names)


RUN_GROUPS = (
    OptionGroup(
        "What to measure",
        (
            *_MEASURED,
            *_of_a_submission("iterations", "global-batch-size", "max-batch-per-gpu"),
            *_of_a_submission("model-name", "precision", "gpu-type", "state-dir"),
        ),
    ),
    OptionGroup("What it may cost", _COST),
    OptionGroup("What is shown", (Option("json", "", Takes.NOTHING, help="The result as JSON."),)),
    own_options.LAUNCH,
    OptionGroup(
        "As in ef-sbatch",
        (*FOR_NODES_AND_GPUS, *_of_a_submission("job-name", "wrap", "config", "help")),
    ),
    OptionGroup("Options of sbatch's that pass through, see sbatch(1)", PASSED),
)
"""What may stand before the script, under the headings of help and manual."""

RUN_OPTIONS = tuple(option for each in RUN_GROUPS for option in each.options)

_OPTIONS = Options(RUN_OPTIONS)
_OWN_NAMES = frozenset(option.name for option in (*_MEASURED, *_COST))

_OF_A_PROMISE = frozenset({"if-infeasible", "max-gpus", "verdict-timeout"})
"""Options of `#EF` lines that say nothing about a job that is only measured."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to measure, and within which bounds.

    Args:
        sizes: GPUs, powers of two, ascending; empty: all up to one whole node.
        seconds: of wall-clock time from the first start of the job.
        gpu_seconds: the same times the GPUs that it holds; infinite for no bound of its own.
        seconds_per_size: of training at each size, at least.
        submission: the options of the submission.
        words: the script and its arguments.
    """

    sizes: tuple[int, ...]
    seconds: float
    gpu_seconds: float
    seconds_per_size: float
    submission: tuple[ParsedOption, ...]
    words: tuple[str, ...]

    @property
    def limit(self) -> float:
        """Seconds that the job may last on the largest of its sizes."""
        return min(self.seconds, self.gpu_seconds / self.sizes[-1])

    @property
    def json(self) -> bool:
        """Whether the answer is for a program."""
        return self._text("json") is not None

    @property
    def config(self) -> Path | None:
        """The configuration file that was named."""
        option = self._text("config")
        return None if option is None or option.value is None else Path(option.value)

    @property
    def wrap(self) -> str | None:
        """The command of `--wrap`."""
        option = self._text("wrap")
        return None if option is None else option.value or ""

    def _text(self, name: str) -> ParsedOption | None:
        found = [option for option in self.submission if option.option.name == name]
        return found[-1] if found else None

    def on(self, sizes: Sequence[int]) -> RunOptions:
        """The same with sizes where none were given."""
        return self if self.sizes else replace(self, sizes=tuple(sizes))


def run_options(words: Sequence[str]) -> RunOptions:
    """The options as a person wrote them.

    Raises:
        UsageError: an unknown option, or a wrong value.
    """
    parsed, rest = _OPTIONS.parse(words, "command line")
    own = {option.option.name: option for option in parsed if option.option.name in _OWN_NAMES}
    return RunOptions(
        sizes=_sizes(own.get("gpus")),
        seconds=_number(own, "max-time", parse_finite_duration, MAX_SECONDS),
        gpu_seconds=_number(own, "max-gpu-time", parse_finite_duration, math.inf),
        seconds_per_size=_number(own, "seconds-per-size", parse_seconds, SECONDS_PER_SIZE),
        submission=tuple(option for option in parsed if option.option.name not in _OWN_NAMES),
        words=tuple(rest),
    )


def submitted_as(options: RunOptions, script: Script) -> tuple[list[ParsedOption], Script]:
    """The options of the job that is measured, and its script, as `ef-sbatch` takes them.

    It asks for the largest size and no other, for as long as it may last. How fast it is nobody
    knows yet: its curve says no more than that its time is then up.
    """
    limit, largest = options.limit, options.sizes[-1]

    def option(name: str, value: str | None) -> ParsedOption:
        takes = Takes.NOTHING if value is None else Takes.VALUE
        return ParsedOption(Option(name, takes=takes), value, _WHERE)

    names = {given.option.name for given in (*options.submission, *script.options)}
    added = [
        option("best-effort", None),
        option("throughput", f"{largest}:{_iterations(options) / limit:.6g}"),
        option("max-gpus", str(largest)),
        option("time", format_duration(whole_minutes(limit) + SLACK_SECONDS)),
    ]
    if "iterations" not in names:
        added.append(option("iterations", str(ITERATIONS)))
    kept = tuple(one for one in script.options if one.option.name not in _OF_A_PROMISE)
    return [*options.submission, *added], replace(script, options=kept)


def _iterations(options: RunOptions) -> int:
    given = [one.value for one in options.submission if one.option.name == "iterations"]
    try:
        return parse_amount(given[-1] or "") if given else ITERATIONS
    except ValueError:
        return ITERATIONS  # what is wrong with it is told with the rest


def _sizes(option: ParsedOption | None) -> tuple[int, ...]:
    if option is None:
        return ()
    sizes = [parse_count(text.strip()) for text in (option.value or "").split(",")]
    if not all(size and is_power_of_two(size) for size in sizes):
        raise UsageError(
            f"--gpus={option.value}: expected numbers of GPUs that are powers of two, "
            "separated by commas: 1,2,4,8"
        )
    return tuple(sorted({size for size in sizes if size}))


def _number(
    own: Mapping[str, ParsedOption], name: str, parse: Callable[[str], float], default: float
) -> float:
    option = own.get(name)
    if option is None:
        return default
    try:
        value = parse(option.value or "")
    except ValueError as error:
        raise UsageError(f"--{name}: {error}") from None
    if value <= 0:
        raise UsageError(f"--{name}={option.value}: expected more than 0")
    return value
