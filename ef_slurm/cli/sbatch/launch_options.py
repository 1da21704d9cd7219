"""ef-sbatch's options of how the command is started, over the site's `[launch]` table.

The order that counts: the command line, then the script's `#EF` lines, then the site's
configuration, then what is built in. A single value is replaced; variables of the environment are
replaced one by one; mounts, modules to preload, options of srun and torchrun come behind the
site's; environment modules, and
where Python comes from, are replaced as a whole.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.options import LAUNCH_GROUPS
from ef_slurm.formats.durations import parse_finite_duration
from ef_slurm.formats.numbers import parse_amount
from ef_slurm.model import Launcher, LaunchSettings, ModelError, StopSignal


@dataclass(frozen=True, slots=True)
class LaunchOption:
    """What one option does to a setting.

    Args:
        field: of `LaunchSettings`; also its key in the site's `[launch]` table.
        combine: from the value so far and the option's text to the new value; raises ValueError
            with what would be valid.
    """

    field: str
    combine: Callable[[Any, str], Any]


def _replace(_old: str, text: str) -> str:
    return text


def _directory(_old: Path | None, text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _add_names(old: tuple[str, ...], text: str) -> tuple[str, ...]:
    return (*old, *(text.split(",") if text else ()))


def _add_words(old: tuple[str, ...], text: str) -> tuple[str, ...]:
    try:
        return (*old, *shlex.split(text))
    except ValueError as error:
        raise ValueError(f"options, quoted as the shell does: {error}") from None


def _set_variable(old: Mapping[str, str], text: str) -> Mapping[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("NAME=VALUE")
    return {**old, name: value}


def _number(_old: int, text: str) -> int:
    try:
        return parse_amount(text)
    except ValueError:
        raise ValueError("a whole number of 1 or more") from None


def _span(_old: float, text: str) -> float:
    return parse_finite_duration(text)


def _signal(_old: StopSignal, text: str) -> StopSignal:
    valid = {signal.value: signal for signal in StopSignal}
    name = text.upper().removeprefix("SIG")
    if name not in valid:
        raise ValueError("one of " + ", ".join(valid))
    return valid[name]


def _launcher(_old: Launcher, text: str) -> Launcher:
    valid = {launcher.value: launcher for launcher in Launcher}
    if text not in valid:
        raise ValueError("one of " + ", ".join(valid))
    return valid[text]


LAUNCH_OPTIONS: Mapping[str, LaunchOption] = MappingProxyType(
    {
        "launcher": LaunchOption("launcher", _launcher),
        "preload": LaunchOption("preload", _add_names),
        "python": LaunchOption("python", _replace),
        "module": LaunchOption("modules", _add_names),
        "conda-env": LaunchOption("conda_env", _replace),
        "venv": LaunchOption("venv", _directory),
        "container-image": LaunchOption("container_image", _replace),
        "container-mounts": LaunchOption("container_mounts", _add_names),
        "env": LaunchOption("environment", _set_variable),
        "srun-options": LaunchOption("srun_options", _add_words),
        "torchrun-options": LaunchOption("torchrun_options", _add_words),
        "checkpoint-interval": LaunchOption("checkpoint_interval", _span),
        "keep-checkpoints": LaunchOption("keep_checkpoints", _number),
        "stop-signal": LaunchOption("stop_signal", _signal),
    }
)
"""What each option sets, by its name without `--`."""

ONLY_THE_SITES = frozenset({"template", "container_runtime", "decision_wait"})
"""Settings that no option changes: they are about the site, not about a job."""

_EMPTY: Mapping[str, Any] = MappingProxyType(
    {"conda_env": "", "venv": None, "container_image": "", "modules": ()}
)


def launch_settings(options: Sequence[ParsedOption], site: LaunchSettings) -> LaunchSettings:
    """The site's settings as the options change them.

    Args:
        options: of script and command line, what counts most last; others than `LAUNCH_OPTIONS`
            are left alone.
        site: the site's.

    Raises:
        UsageError: wrong values, all of them; the text says where each stands and what would be
            valid.
    """
    problems = Problems()
    names = {option.option.name for option in options}
    settings = site
    for group in LAUNCH_GROUPS:
        if names & group:
            fields = {LAUNCH_OPTIONS[name].field for name in group}
            settings = replace(settings, **{field: _EMPTY[field] for field in fields})
    for option in options:
        if option.option.name in LAUNCH_OPTIONS:
            with problems.collecting():
                settings = _changed(settings, option)
    if "container-mounts" in names and not settings.container_image:
        problems.add(
            "--container-mounts means nothing without a container; give --container-image=IMAGE"
        )
    problems.tell()
    return settings


def _changed(settings: LaunchSettings, option: ParsedOption) -> LaunchSettings:
    known = LAUNCH_OPTIONS[option.option.name]
    text = option.value or ""
    place = f"{option.where}: {option.option.flag}"
    try:
        value = known.combine(getattr(settings, known.field), text)
    except ValueError as error:
        raise UsageError(f"{place}: {text!r} is not valid: {error}") from None
    try:
        return replace(settings, **{known.field: value})
    except ModelError as error:
        raise UsageError(f"{place}: {error.value!r} is not valid: {error.wanted}") from None
