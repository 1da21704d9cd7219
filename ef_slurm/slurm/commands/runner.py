"""Running one of Slurm's commands, and telling its errors apart."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ef_slurm.slurm.errors import (
    NoSuchJobError,
    NotPermittedError,
    RefusedError,
    SlurmError,
    SlurmTimeoutError,
    SlurmUnavailableError,
)

# What Slurm says (slurm_errno.c and the commands' own texts) → what it means to us. First match.
_MEANINGS: tuple[tuple[re.Pattern[str], type[SlurmError]], ...] = (
    (
        re.compile(r"Socket timed out|Connection timed out|operation timed out", re.I),
        SlurmTimeoutError,
    ),
    (
        re.compile(
            r"Unable to contact slurm controller|Connection refused|Zero Bytes were transmitted"
            r"|authentication error|munge|auth_g_create|standby mode|Network is unreachable"
            r"|Could not establish a configuration source|Unable to establish control machine"
            r"|No route to host|Connection reset|Temporary failure in name resolution"
            r"|Resource temporarily unavailable|temporarily unable",
            re.I,
        ),
        SlurmUnavailableError,
    ),
    (re.compile(r"Invalid job id", re.I), NoSuchJobError),
    (re.compile(r"permission denied|Invalid user id|Access denied", re.I), NotPermittedError),
)
# Variables of Slurm that say where it is; all others change what the commands print or do.
_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})
_PREFIX = re.compile(
    r"^(?:(?:scontrol|squeue|sbatch|scancel|sacctmgr|slurm_\w+):?\s*(?:(?:error|fatal):\s*)?)?"
    # Of sbatch, and of `sbatch --test-only`, before the reason, which is the same for both.
    r"(?:Batch job submission failed:\s*|allocation failure:\s*)?",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command that succeeded wrote."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class Runner:
    """Runs commands with a time-out.

    Args:
        timeout: seconds for one command.
        directory: where the commands are; None to search PATH.
        watch: told of each command when it has ended: the seconds, and what it failed with.
    """

    timeout: float = 10.0
    directory: Path | None = None
    watch: Callable[[Sequence[str], float, SlurmError | None], None] | None = None

    def query(self, command: Sequence[str], text: str = "") -> Result:
        """Run a command whose answer must not depend on the caller's SLURM_* variables.

        Its standard input is `text`. It runs in a directory of its own: `scontrol update` of a
        running job leaves files behind.

        Raises:
            SlurmError: by what it says.
        """
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or not re.match(r"SLURM_|SQUEUE_|SCANCEL_|SCONTROL_", name)
        }
        environment.update(SLURM_TIME_FORMAT="%s", LC_ALL="C.UTF-8")
        with _own_directory() as directory:
            return self.run(command, environment=environment, directory=directory, text=text)

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        text: str = "",
    ) -> Result:
        """Run a command with `text` on its standard input.

        Raises:
            SlurmError: by what it says.
        """
        began, error = time.monotonic(), None
        try:
            return self._run(command, environment, directory, text)
        except SlurmError as failed:
            error = failed
            raise
        finally:
            if self.watch is not None:
                self.watch(command, time.monotonic() - began, error)

    def _run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        directory: str | None,
        text: str,
    ) -> Result:
        program = command[0] if self.directory is None else str(self.directory / command[0])
        try:
            done = subprocess.run(  # noqa: S603 - words, no shell
                [program, *command[1:]],
                input=text.encode(errors="replace"),
                capture_output=True,
                timeout=self.timeout,
                env=environment,
                cwd=directory,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = _last_words(error.stderr or b"")
            raise SlurmTimeoutError(
                f"{command[0]} gave no answer within {self.timeout:g} s{said}", command=command
            ) from None
        except OSError as error:
            named = error.filename or program
            raise SlurmUnavailableError(
                f"{named}: {error.strerror}: is Slurm installed, and its commands in PATH?",
                command=command,
            ) from error
        # Not by subprocess, to which a carriage return in somebody's words begins a line.
        stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if done.returncode:
            raise failure(command, done.returncode, stdout, stderr)
        return Result(stdout, stderr)


@contextmanager
def _own_directory() -> Iterator[str]:
    """For what a command leaves behind.

    Where none can be made, "/": who fills /tmp does not keep the daemon from asking Slurm.
    """
    try:
        own = TemporaryDirectory(prefix="ef-slurm-", ignore_cleanup_errors=True)
    except OSError:
        yield "/"
        return
    with own as path:
        yield path


def _last_words(stderr: bytes) -> str:
    """What a command that was given up had said at last; Slurm's try again and again, of munge."""
    lines = [_PREFIX.sub("", line).strip() for line in stderr.decode(errors="replace").splitlines()]
    return next((f": {line}" for line in reversed(lines) if line), "")


def failure(command: Sequence[str], returncode: int, stdout: str, stderr: str) -> SlurmError:
    """The error that a command's words mean; without words, that it failed."""
    said = stderr.strip() or stdout.strip()
    lines: list[str] = []
    for line in said.splitlines():
        text = _PREFIX.sub("", line).strip()
        # scontrol says everything twice, the first time with the job's id.
        if text and not any(text in before for before in lines):
            lines.append(text)
    message = "; ".join(lines) or f"{command[0]} exited {returncode}"
    for pattern, kind in _MEANINGS:
        if pattern.search(said):
            return kind(message, command=command, returncode=returncode)
    return RefusedError(message, command=command, returncode=returncode)
