"""How a command ends: documented exit codes, one line per error, never a traceback."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of ef-sbatch, ef-squeue, ef-scancel, ef-profile and ef-schedd."""

    OK = 0  # done; ef-sbatch: promised, or taken as --best-effort or --if-infeasible asked
    SLURM = 1  # Slurm refused; its own message is shown
    USAGE = 2  # an option, a script or a configuration file is wrong; nothing was submitted
    INFEASIBLE = 3  # ef-sbatch: the deadline cannot be promised; nothing stays in Slurm
    INCOMPLETE = 3  # ef-profile run: some sizes are not measured; what was is kept
    NO_ANSWER = 4  # the daemon did not answer (in time); ef-sbatch: the job stays held
    DENIED = 5  # the job belongs to somebody else, or the daemon does not trust who asks
    INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """The message with which the command ends, and its exit code."""

    code = ExitCode.SLURM

    def __init__(self, message: str, code: ExitCode | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class UsageError(CommandError):
    """An option, an argument or a file of the user is wrong."""

    code = ExitCode.USAGE
