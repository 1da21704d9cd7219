"""What ef-sbatch is to do and to print."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.values import Values
from ef_slurm.formats.durations import parse_seconds


class Mode(enum.Enum):
    """How far to go."""

    SUBMIT = "submit"
    TEST_ONLY = "test-only"
    DRY_RUN = "dry-run"


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


def output_options(
    command_line: Sequence[ParsedOption], problems: Problems | None = None
) -> OutputOptions:
    """The behaviour that the command line, and below it the environment, ask for.

    Args:
        problems: takes what is wrong.

    Raises:
        UsageError: options that exclude each other, or a wrong value. Not with `problems`.
    """
    found = Problems() if problems is None else problems
    values = Values(command_line, found)
    if values.has("test-only") and values.has("dry-run"):
        found.add("--test-only and --dry-run: give one of them")
    if values.has("json") and values.has("parsable"):
        found.add("--json and --parsable: give one of them")
    mode = Mode.SUBMIT
    if values.has("test-only"):
        mode = Mode.TEST_ONLY
    elif values.has("dry-run"):
        mode = Mode.DRY_RUN
    config = values.text("config")
    timeout = values.parsed("verdict-timeout", parse_seconds)
    if problems is None:
        found.tell()
    return OutputOptions(
        mode=mode,
        json=values.has("json"),
        parsable=values.has("parsable"),
        quiet=values.has("quiet"),
        wait=values.has("wait"),
        wait_verdict=values.has("wait-verdict") or values.has("wait"),
        verdict_timeout=timeout,
        config=None if config is None else Path(config),
    )
