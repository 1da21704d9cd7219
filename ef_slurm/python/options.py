"""Keywords as options of ef-sbatch: `max_gpus=8` is `--max-gpus=8`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from ef_slurm.cli.common.errors import UsageError

WHERE = "submit()"
"""Where an option stands, in errors."""

_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "wait": "call job.wait()",
        "register": "run ef-sbatch --register=DIR",
        "continue": "give continue_from=",
        "array": "call it once for each job, or run ef-sbatch --array",
        "dry_run": "run ef-sbatch --dry-run",
        "test_only": "run ef-sbatch --test-only",
        **dict.fromkeys(("help", "usage", "version"), "run ef-sbatch"),
        **dict.fromkeys(("json", "parsable", "quiet"), "nothing is printed here"),
    }
)
_SHELL_WORDS = frozenset({"srun_options", "torchrun_options"})


def option_words(options: Mapping[str, object]) -> tuple[str, ...]:
    """The words of a command line with these options.

    >>> option_words({"max_gpus": 8, "best_effort": True, "throughput": {1: 2.5, 2: 4}})
    ('--max-gpus=8', '--best-effort', '--throughput=1:2.5,2:4')

    Raises:
        UsageError: an option that is of the command only, or a value that cannot be written.
    """
    return tuple(word for name, value in options.items() for word in _words(name, value))


def _words(name: str, value: object) -> Iterator[str]:
    if value is None or value is False:
        return
    if name in _ELSEWHERE:
        raise UsageError(f"{WHERE}: {name}= is none of its options: {_ELSEWHERE[name]}")
    flag = "--" + name.replace("_", "-")
    if value is True:
        yield flag
    elif name == "throughput" and isinstance(value, Mapping):
        yield from (f"{flag}={text}" for text in _curves(value))
    elif isinstance(value, Mapping):
        yield from (f"{flag}={key}={_text(name, part)}" for key, part in value.items())
    elif isinstance(value, list | tuple) and name in _SHELL_WORDS:
        yield f"{flag}={shlex.join(str(part) for part in value)}"
    elif isinstance(value, list | tuple):
        yield f"{flag}={','.join(_text(name, part) for part in value)}"
    else:
        yield f"{flag}={_text(name, value)}"


def _curves(value: Mapping[object, object]) -> Iterator[str]:
    """`{1: 12.5, 2: 23.0}`, or one such curve for each GPU type."""
    of_types = {key: curve for key, curve in value.items() if isinstance(curve, Mapping)}
    if len(of_types) == len(value):
        for key, curve in of_types.items():
            yield f"{key}=" + ",".join(f"{gpus}:{rate}" for gpus, rate in curve.items())
    else:
        yield ",".join(f"{gpus}:{rate}" for gpus, rate in value.items())


def _text(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case os.PathLike():
            return str(os.fspath(value))
        case datetime():
            return f"@{round(value.timestamp())}"
        case timedelta():
            seconds = round(value.total_seconds())
            return f"+{seconds}s" if name == "deadline" else f"{seconds}s"
        case int() | float() if name == "deadline":
            return f"uts{round(value)}"
        case int() | float():
            return str(value)
    raise UsageError(f"{WHERE}: {name}={value!r}: a {type(value).__name__} is no value of it")
