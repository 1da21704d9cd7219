"""What every command does around its own work: configuration, errors, colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from ef_slurm.api.client import FailureError, UnreachableError
from ef_slurm.api.messages import FailureCode
from ef_slurm.cli.common.errors import CommandError, ExitCode
from ef_slurm.cli.common.missing import missing_package
from ef_slurm.cli.common.streams import forget_unwritten, lost_output, stand_in_for_closed_streams
from ef_slurm.cli.common.tone import Tone
from ef_slurm.formats.printing import printable
from ef_slurm.formats.times import InstantError
from ef_slurm.model import ModelError
from ef_slurm.queue.errors import QueueError
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.load import load
from ef_slurm.siteconfig.tables import SiteConfig
from ef_slurm.slurm.errors import NotPermittedError, SlurmError

_FAILURES = {
    FailureCode.DENIED: ExitCode.DENIED,
    FailureCode.UNAUTHENTICATED: ExitCode.DENIED,
    FailureCode.REPLAYED: ExitCode.DENIED,
    FailureCode.STALE: ExitCode.DENIED,
    FailureCode.SLURM: ExitCode.SLURM,
    FailureCode.UNKNOWN_JOB: ExitCode.SLURM,
    FailureCode.BAD_REQUEST: ExitCode.USAGE,
    FailureCode.TOO_LARGE: ExitCode.USAGE,
    FailureCode.OTHER_VERSION: ExitCode.NO_ANSWER,
    FailureCode.NO_SUCH_PATH: ExitCode.NO_ANSWER,
    FailureCode.NO_SUCH_METHOD: ExitCode.NO_ANSWER,
    FailureCode.TOO_SLOW: ExitCode.NO_ANSWER,
    FailureCode.TOO_MANY: ExitCode.NO_ANSWER,
    FailureCode.BUSY: ExitCode.NO_ANSWER,
    FailureCode.INTERNAL: ExitCode.NO_ANSWER,
}

_STYLES = {
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "red",
    Tone.DIM: "bright_black",
}


def run(program: str, body: Callable[[], ExitCode | int]) -> NoReturn:
    """Run a command's body and end the process: one line per error, never a traceback."""
    stand_in_for_closed_streams()
    code = _ended(program, body)
    lost = lost_output()
    if lost and code == ExitCode.OK:
        complain(program, f"standard output: {lost}")
        code = ExitCode.SLURM
    forget_unwritten()
    sys.exit(int(code))


def _ended(program: str, body: Callable[[], ExitCode | int]) -> int:
    """Run the body; the exit code."""
    try:
        return int(body())
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `ef-squeue | head`: whoever read is gone
        return ExitCode.SLURM
    except ModuleNotFoundError as error:
        missing = missing_package(program, error)
        if missing is None:
            raise
        complain(program, missing)
        return ExitCode.SLURM
    except Exception as error:
        message = to_command_error(error)
        if message is None:
            raise
        complain(program, str(message))
        return message.code


def run_click(program: str, command: click.Command) -> NoReturn:
    """`run` for a click command, whose own errors look and end as the others do."""
    if f"_{program.replace('-', '_').upper()}_COMPLETE" in os.environ:
        from click.shell_completion import add_completion_class

        from ef_slurm.cli.common.completing import SplitAtEquals

        add_completion_class(SplitAtEquals)

    def body() -> ExitCode | int:
        try:
            result = command.main(prog_name=program, standalone_mode=False)
        except click.exceptions.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            raise CommandError(error.format_message(), ExitCode.USAGE) from None
        return result if isinstance(result, int) else ExitCode.OK

    run(program, body)


def to_command_error(error: Exception) -> CommandError | None:
    """An error of the rooms below as a command tells it, or None for a bug."""
    match error:
        case CommandError():
            return error
        case SiteConfigError() | InstantError() | ModelError():
            return CommandError(str(error), ExitCode.USAGE)
        case UnreachableError():
            return CommandError(f"ef-schedd cannot be reached: {error}", ExitCode.NO_ANSWER)
        case FailureError():
            return CommandError(str(error), _FAILURES[error.code])
        case NotPermittedError():
            return CommandError(error.message, ExitCode.DENIED)
        case SlurmError():
            return CommandError(error.message, ExitCode.SLURM)
        case QueueError():
            return CommandError(str(error), ExitCode.NO_ANSWER)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return CommandError(f"{where}{error.strerror or error}", ExitCode.SLURM)
    return None


def complain(program: str, message: str) -> None:
    """An error as Slurm's commands print it."""
    for line in message.splitlines() or [""]:
        error = click.style("error:", fg="red")
        _tell(f"{program}: {error} {printable(line)}")


def warn(program: str, message: str) -> None:
    """What does not stop the command, but must be known."""
    warning = click.style("warning:", fg="yellow")
    _tell(f"{program}: {warning} {printable(message)}")


def _tell(line: str) -> None:
    """Where nobody can be told, the exit code still says how the command ended."""
    with suppress(OSError):
        click.echo(line, err=True)


def configuration(path: Path | None) -> SiteConfig:
    """The site configuration.

    Raises:
        SiteConfigError: there is none, or a key or value of it is wrong.
    """
    return load(path)


def paint(text: str, tone: Tone) -> str:
    """Text in a tone's colour; `click.echo` takes the colour out again off a terminal."""
    colour = _STYLES.get(tone)
    if colour is None or not text.strip() or "NO_COLOR" in os.environ:
        return text
    return click.style(text, fg=colour)
