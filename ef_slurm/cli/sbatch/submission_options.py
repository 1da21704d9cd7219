"""The options of command line and script, checked and typed."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path
from signal import Signals

from ef_slurm.cli.common.options import Option, ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.mail_options import parse_mail_types, parse_mail_user
from ef_slurm.cli.sbatch.options import LAUNCH_NAMES, PASSED_NAMES, REFUSED, TREATED
from ef_slurm.cli.sbatch.sbatch_table import Handling
from ef_slurm.cli.sbatch.size_options import PerGpuOptions, Size, per_gpu_options, size_of
from ef_slurm.cli.sbatch.values import Values, layered
from ef_slurm.formats.arrays import Tasks, parse_tasks
from ef_slurm.formats.costs import parse_cost_or_costs
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.formats.durations import (
    parse_finite_duration,
    parse_limit,
    whole_minutes,
)
from ef_slurm.formats.memory import parse_memory
from ef_slurm.formats.numbers import parse_amount, parse_number
from ef_slurm.formats.times import format_instant
from ef_slurm.formats.when import When, read_begin, read_when
from ef_slurm.model import (
    Dependency,
    IfInfeasible,
    JobKind,
    ModelError,
    NoticeKind,
    PerGpu,
    check_name,
)
from ef_slurm.slurm.comments import check_words

MOST_EPOCHS = 1e9
DEFAULT_GRACE_SHARE = 0.25
"""Grace of `--soft` without one, as a part of the time until the deadline."""


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
        dependency: what has to be so before.
        array: the members of an array; None for one job. `together`: all are promised, or none.
        account, qos, reservation, licenses, directory: of sbatch's options, which get them too.
        signal: what Slurm sends before the end of the time limit, by name.
        on_first_node: whether what is no training script runs once, on the first node; None: if it
            calls srun.
        temporary_disk: MiB that a node must have of it.
        constraint, exclude, nodelist, nodefile: which nodes it may have.
        size: how many GPUs and nodes at most, by sbatch's options or by ours.
        with_gpu: what is to come with each GPU.
        on_command_line: sbatch's options of command line and environment, to be passed on.
        in_script: those of `#SBATCH` lines.
        launch: how the command is to be started, over the site's settings: options of the script
            and of the command line, what counts most last.
        comment: the owner's words in Slurm's.
        mail_types: what ef-slurm is to tell; `slurm_mail` what Slurm is.
        notes: for the owner: what was made of some options.
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
    overhead: Mapping[str, float]
    max_batch_per_gpu: int | None
    on_first_node: bool | None
    state_dir: Path | None
    job_name: str | None
    partition: str | None
    time_limit: float | None
    begin: float | None
    dependency: Dependency
    array: Tasks | None
    together: bool
    account: str | None
    qos: str | None
    reservation: str | None
    licenses: str | None
    directory: str | None
    comment: str
    mail_types: tuple[NoticeKind, ...]
    mail_user: str
    slurm_mail: tuple[str, ...]
    signal: str | None
    temporary_disk: float | None
    constraint: str | None
    exclude: str | None
    nodelist: str | None
    nodefile: str | None
    size: Size
    with_gpu: PerGpuOptions
    on_command_line: tuple[str, ...]
    in_script: tuple[str, ...]
    launch: tuple[ParsedOption, ...]
    notes: tuple[str, ...] = ()

    @property
    def max_gpus(self) -> int | None:
        """At most so many GPUs; None for as many as ef-slurm chooses."""
        return self.size.max_gpus


def per_gpu_of(requested: SubmissionOptions) -> PerGpu:
    """The CPUs and the memory that are asked for with each GPU."""
    asked = requested.with_gpu
    cpus = float(asked.cpus or 0)
    memory = asked.memory
    if memory is None and asked.memory_per_cpu is not None:
        memory = asked.memory_per_cpu * max(1.0, cpus)
    return PerGpu(cpus, memory or 0.0)


def submission_options(
    command_line: Sequence[ParsedOption],
    script: Sequence[ParsedOption],
    now: float,
    zone: tzinfo,
    *,
    environment: Sequence[ParsedOption] = (),
    problems: Problems | None = None,
) -> SubmissionOptions:
    """The submission that the options ask for.

    Args:
        command_line, environment, script: as they were read; the first counts most.
        problems: takes all that is wrong; what cannot be used then counts as not given.

    Raises:
        UsageError: options of sbatch that ef-slurm owns, wrong or missing values, or options
            that exclude each other; the text says where each stands. Not with `problems`.
    """
    found = Problems() if problems is None else problems
    for option in (*script, *command_line):
        refused = REFUSED.get(option.option.name)
        if refused is not None:
            found.add(f"{option.where}: {option.option.flag}: {refused}")
    below, middle, above = layered([script, environment, command_line])
    values = Values((*below, *middle, *above), found)
    requested = _typed(values, (*middle, *above), below, now, zone)
    if problems is None:
        found.tell()
    return requested


def _typed(
    values: Values,
    given: Sequence[ParsedOption],
    script: Sequence[ParsedOption],
    now: float,
    zone: tzinfo,
) -> SubmissionOptions:
    when = values.parsed("deadline", lambda text: read_when(text, now, zone))
    kind, deadline, grace = _kind(values, when, now)
    began = values.parsed("begin", lambda text: read_begin(text, now, zone))
    begin = None if began is None or began.instant <= now else began.instant
    if begin is not None and deadline is not None and begin >= deadline:
        values.problems.add(
            f"--begin={values.text('begin')} is {format_instant(begin, zone)}: not before the "
            f"deadline {format_instant(deadline, zone)}"
        )
    throughputs, profile = _curve(values)
    mail_types, slurm_mail = values.parsed("mail-type", parse_mail_types) or ((), ())
    state_dir = values.text("state-dir")
    if state_dir is not None and not Path(state_dir).is_absolute():
        values.problems.add(f"--state-dir={state_dir}: expected an absolute path")
    size, with_gpu = size_of(values), per_gpu_options(values)
    gpu_type = values.text("gpu-type")
    if gpu_type is not None and size.gpu_type not in (None, gpu_type):
        values.problems.add(f"--gpu-type={gpu_type}, and GPUs of type {size.gpu_type}: give one")
    if values.text("open-mode") not in (None, "a", "append"):
        values.wrong("open-mode", "logs are always appended to, over all restarts: use append")
    return SubmissionOptions(
        kind=kind,
        deadline=deadline,
        grace=grace,
        if_infeasible=_if_infeasible(values),
        iterations=values.whole("iterations"),
        epochs=_epochs(values),
        global_batch_size=values.whole("global-batch-size"),
        throughputs=throughputs,
        profile=profile,
        model_name=_name(values, "model-name"),
        precision=_name(values, "precision"),
        gpu_type=size.gpu_type if gpu_type is None else gpu_type,
        overhead=values.parsed("overhead", parse_cost_or_costs) or {},
        max_batch_per_gpu=values.whole("max-batch-per-gpu"),
        on_first_node=values.parsed("script-on", _on_first_node),
        state_dir=None if state_dir is None else Path(state_dir),
        job_name=values.text("job-name"),
        partition=values.text("partition"),
        time_limit=values.parsed("time", _time_limit),
        begin=begin,
        dependency=_dependency(values),
        array=values.parsed("array", parse_tasks),
        together=_together(values, kind),
        account=values.text("account"),
        qos=values.text("qos"),
        reservation=values.text("reservation"),
        licenses=values.text("licenses"),
        directory=values.text("chdir"),
        comment=values.parsed("comment", _comment) or "",
        mail_types=mail_types,
        mail_user=values.parsed("mail-user", parse_mail_user) or "",
        slurm_mail=slurm_mail,
        signal=values.parsed("signal", _signal),
        temporary_disk=values.parsed("tmp", parse_memory),
        constraint=values.text("constraint"),
        exclude=values.text("exclude"),
        nodelist=values.text("nodelist"),
        nodefile=values.text("nodefile"),
        size=size,
        with_gpu=with_gpu,
        on_command_line=_passed(given),
        in_script=_passed(script),
        launch=(
            *(option for option in values.all if option.option.name in LAUNCH_NAMES),
            *_for_srun(values),
        ),
        notes=(
            *_read_as("deadline", when),
            *_read_as("begin", began),
            *_without_effect(values),
            *size.notes,
            *with_gpu.notes,
        ),
    )


FOR_SRUN = ("cpu-freq", "gpu-freq", "mem-bind")
"""Of sbatch's options those that sbatch tells srun of by variables, which no launch has."""


def _for_srun(values: Values) -> Iterator[ParsedOption]:
    for option in values.given(*FOR_SRUN):
        yield replace(option, option=Option("srun-options"), value=shlex.quote(option.text))


def _without_effect(values: Values) -> Iterator[str]:
    """A note for each option that is accepted and means nothing here."""
    for option in values.all:
        name = option.option.name
        # A variable may be there for all of a site's jobs: it ends nothing.
        ignored = name in REFUSED and option.where.startswith("$")
        if ignored or (name in TREATED and TREATED[name].handling is Handling.DROPPED):
            yield f"{option.where}: {option.option.flag} has no effect: {TREATED[name].words}"


_SIGNAL = re.compile(r"([RB]{1,2}:)?(?:SIG)?([A-Z]{2,6}[12]?|\d{1,2})(?:@(\d{1,5}))?", re.A | re.I)


def _signal(text: str) -> str:
    """The name of a signal before the end, which is checked as sbatch does.

    >>> _signal("B:USR1@60"), _signal("10"), _signal("sigterm@0")
    ('USR1', 'USR1', 'TERM')
    """
    found = _SIGNAL.fullmatch(text)
    if found is None or int(found[3] or 0) > 65535:
        raise ValueError(
            f"{text!r} is not [B:]SIGNAL[@SECONDS]: a signal's name or number, and 0 to 65535"
        )
    name = found[2].upper()
    if name.isdecimal():
        known = {signal.value: signal.name for signal in Signals}
        name = known.get(int(name), name).removeprefix("SIG")
    return name


def _read_as(name: str, when: When | None) -> tuple[str, ...]:
    return () if when is None else tuple(f"--{name}: {note}" for note in when.notes)


def _kind(values: Values, when: When | None, now: float) -> tuple[JobKind, float | None, float]:
    if values.has("best-effort"):
        for name in ("deadline", "soft"):
            if values.has(name):
                values.problems.add(f"--best-effort and --{name}: give one of them")
        return JobKind.BEST_EFFORT, None, 0.0
    if when is None:
        if not values.has("deadline"):
            values.problems.add(
                "when must it be finished? Give --deadline=WHEN (for example 6h, 18:00, "
                "2026-12-24T12:00), or --best-effort"
            )
        return JobKind.BEST_EFFORT, None, 0.0
    deadline = when.instant
    if not values.has("soft"):
        return JobKind.DEADLINE, deadline, 0.0
    grace = values.parsed("soft", parse_finite_duration)
    if grace is None:
        grace = DEFAULT_GRACE_SHARE * (deadline - now)
    return JobKind.SOFT_DEADLINE, deadline, grace


def _epochs(values: Values) -> float | None:
    if values.has("epochs") and values.has("iterations"):
        values.problems.add("--epochs and --iterations: give one of them")
    return values.parsed("epochs", _positive)


def _positive(text: str) -> float:
    number = parse_number(text)
    if number is None:
        number = float(parse_amount(text))
    if not 0 < number < MOST_EPOCHS:
        raise ValueError(f"{text!r} is not a positive number")
    return number


def _if_infeasible(values: Values) -> IfInfeasible:
    text = values.text("if-infeasible")
    if text is None:
        return IfInfeasible.REJECT
    choices = {choice.value: choice for choice in IfInfeasible}
    if text not in choices:
        values.wrong("if-infeasible", f"{text!r}: expected one of {', '.join(choices)}")
    elif values.has("best-effort"):
        values.problems.add("--if-infeasible means nothing for a --best-effort job; leave it out")
    return choices.get(text, IfInfeasible.REJECT)


def _together(values: Values, kind: JobKind) -> bool:
    text = values.text("array-promise")
    if text is None:
        return False
    if text not in ("each", "all"):
        values.wrong("array-promise", f"{text!r}: expected each or all")
    elif not values.has("array"):
        values.wrong("array-promise", "it says something of an --array, and there is none")
    elif text == "all" and kind is JobKind.BEST_EFFORT:
        values.wrong("array-promise", "a --best-effort job is promised nothing: leave it out")
    elif text == "all" and values.text("if-infeasible") not in (None, "reject"):
        values.wrong("array-promise", "all or none: leave --if-infeasible out")
    return text == "all"


def _dependency(values: Values) -> Dependency:
    dependency = values.parsed("dependency", parse_dependency) or Dependency()
    text = values.text("kill-on-invalid-dep")
    if text is None:
        return dependency
    if text.lower() not in ("yes", "no"):
        values.wrong("kill-on-invalid-dep", f"{text!r}: expected yes or no")
    return replace(dependency, kill=text.lower() == "yes")


def _curve(values: Values) -> tuple[tuple[tuple[str, str], ...], str | None]:
    texts = tuple(
        (option.value or "", f"{option.where}: --throughput")
        for option in values.all
        if option.option.name == "throughput"
    )
    profile = values.text("profile")
    if texts and profile is not None:
        values.problems.add(
            "--throughput, --profile: give one of them, or none for what was measured before"
        )
    return texts, profile


def _name(values: Values, option: str) -> str | None:
    text = values.text(option)
    if text is not None:
        try:
            check_name(option, text)
        except ModelError as error:
            values.problems.add(f"--{option}={text}: expected {error.wanted}")
            return None
    return text


def _passed(options: Sequence[ParsedOption]) -> tuple[str, ...]:
    return tuple(option.text for option in options if option.option.name in PASSED_NAMES)


def _on_first_node(text: str) -> bool:
    if text not in ("first", "each"):
        raise ValueError(f"{text!r} is not first or each")
    return text == "first"


def _time_limit(text: str) -> float:
    """Seconds of a limit as sbatch takes it."""
    return whole_minutes(parse_limit(text)) or math.inf


def _comment(text: str) -> str:
    check_words(text)
    return text
