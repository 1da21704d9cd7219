"""`--continue=JOB|DIR`: a new job that goes on from the checkpoints of one that has ended.

The new job has a state directory of its own. The checkpoints in it are the same files under other
names (hard links; copies on another file system), which nobody changes once they are there: the old
directory may be purged, and no two jobs ever write into one.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import ListJobs, Register
from ef_slurm.cli.common.errors import CommandError, UsageError
from ef_slurm.cli.common.job_names import parse_job_ids
from ef_slurm.cli.common.state_dirs import REQUEST_NAME
from ef_slurm.contract import StateDir, write_atomic
from ef_slurm.formats.codec import DecodeError, decode
from ef_slurm.model import FINAL, JobList
from ef_slurm.slurm.errors import NoSuchJobError
from ef_slurm.slurm.interface import Slurm

COMMAND_NAME = "command.json"
"""The words of the command line and where they were typed, in the same place."""
NEWS_SECONDS = 60.0
"""How long ef-schedd may take to hear that Slurm ends a job."""
LEAVING_SECONDS = 150.0
"""How long a job that was ended just now may take to save its last checkpoint."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is gone on from.

    Args:
        directory: the state directory of the job before.
        iterations: of its checkpoints, the newest last.
        words: what its ef-sbatch was given; None where that is not known.
        typed_in: the directory in which that was.
    """

    directory: Path
    iterations: tuple[int, ...]
    words: tuple[str, ...] | None = None
    typed_in: Path | None = None

    @property
    def done(self) -> int:
        """Iterations that need not be done again."""
        return self.iterations[-1]


def find_source(text: str, client: Client, slurm: Slurm, say: Callable[[str], None]) -> Source:
    """The job, or the state directory, of `--continue=`.

    Args:
        say: tells whoever waits for a job that is just being ended.

    Raises:
        UsageError: there is no such job or directory, it is not the caller's, it still goes on, or
            there is no checkpoint in it.
    """
    if text.isascii() and text.isdecimal():
        (number,) = parse_job_ids((text,))
        directory = _of_job(number, client, slurm)
        job_id: int | None = number
    else:
        directory = Path(text).absolute()
        job_id = _registered(directory)
        if job_id is not None:
            _refuse_if_it_goes_on(job_id, directory, client)
    _refuse_what_is_not_ours(directory)
    if job_id is not None:
        _await_its_end(job_id, slurm, say)
    iterations = _checkpoints(directory)
    if not iterations:
        raise UsageError(f"--continue={text}: there is no checkpoint in {directory}")
    words, typed_in = _command_of(directory)
    return Source(directory, iterations, words, typed_in)


def refuse_what_is_done(source: Source, iterations: int | None) -> None:
    """GPUs are not promised to a training that has nothing left to do.

    Args:
        iterations: of the whole training, as its owner says; None where they do not.

    Raises:
        UsageError: the checkpoint is of as many.
    """
    if iterations is not None and source.done >= iterations:
        raise UsageError(
            f"--iterations={iterations}: the checkpoint in {source.directory} is of iteration "
            f"{source.done}, so nothing is left to do: give more, --iterations=N counts from the "
            "beginning"
        )


def take_over(source: Source, state_dir: Path) -> None:
    """Give a new state directory the checkpoints of the source.

    Raises:
        OSError: they cannot be read, linked or copied.
    """
    here, there = StateDir(state_dir).checkpoints, StateDir(source.directory).checkpoints
    here.mkdir(mode=0o700)
    for iteration in source.iterations:
        aside = here / f".{iteration}.continued.tmp"
        shutil.copytree(there / str(iteration), aside, copy_function=_link)
        aside.rename(here / str(iteration))


def remember_command(words: tuple[str, ...], state_dir: Path) -> None:
    """Note what was typed, for a later `--continue` without a script.

    Raises:
        OSError: it cannot be written.
    """
    noted = {"words": list(words), "directory": str(Path.cwd())}
    write_atomic(state_dir / COMMAND_NAME, json.dumps(noted, indent=1) + "\n")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _of_job(job_id: int, client: Client, slurm: Slurm) -> Path:
    end = time.monotonic() + NEWS_SECONDS
    while True:
        answer = expect(JobList, client.ask(ListJobs(job_ids=(job_id,))))
        if not any(job.state not in FINAL for job in answer.jobs):
            break
        if time.monotonic() >= end or not _is_being_ended(job_id, slurm):
            break
        time.sleep(0.5)  # the daemon hears of it with its next look at Slurm
    if not answer.jobs:
        raise UsageError(
            f"--continue={job_id}: ef-slurm's queue has no such job, or not any more: give its "
            "state directory, --continue=DIR"
        )
    (job,) = answer.jobs
    if job.state not in FINAL:
        raise _goes_on(job_id, job.state.value)
    return Path(job.state_dir)


def _is_being_ended(job_id: int, slurm: Slurm) -> bool:
    try:
        job = slurm.job(job_id)
    except NoSuchJobError:
        return True
    return job.is_final or job.may_be_cancelled


def _refuse_if_it_goes_on(job_id: int, directory: Path, client: Client) -> None:
    answer = expect(JobList, client.ask(ListJobs(job_ids=(job_id,))))
    for job in answer.jobs:
        if job.state not in FINAL and Path(job.state_dir) == directory:
            raise _goes_on(job_id, job.state.value)


def _goes_on(job_id: int, state: str) -> UsageError:
    return UsageError(
        f"--continue: job {job_id} is {state}: change it with ef-scontrol update {job_id} …, or "
        f"end it with ef-scancel {job_id} first"
    )


def _registered(directory: Path) -> int | None:
    """The Slurm job that the directory was made for; None where nothing says so."""
    file = directory / REQUEST_NAME
    try:
        return decode(Register, file.read_bytes(), str(file)).job.slurm_job_id
    except (OSError, DecodeError):
        return None


def _refuse_what_is_not_ours(directory: Path) -> None:
    try:
        found = directory.lstat()
    except OSError as error:
        raise UsageError(f"--continue: {directory}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"--continue: {directory} is no directory")
    if found.st_uid != os.geteuid():
        raise UsageError(
            f"--continue: {directory} belongs to uid {found.st_uid}: copy its checkpoint into a "
            "directory of your own"
        )


def _await_its_end(job_id: int, slurm: Slurm, say: Callable[[str], None]) -> None:
    """A job that was cancelled a moment ago may still be saving."""
    end, told = time.monotonic() + LEAVING_SECONDS, False
    while True:
        try:
            job = slurm.job(job_id)
        except NoSuchJobError:
            return
        if not job.holds_nodes:
            return
        if time.monotonic() >= end:
            raise CommandError(f"job {job_id} still holds {', '.join(job.nodes)}: try again later")
        if not told:
            say(f"Waiting for job {job_id} to save its checkpoint")
            told = True
        time.sleep(0.5)


def _checkpoints(directory: Path) -> tuple[int, ...]:
    found: list[int] = []
    with suppress(FileNotFoundError), os.scandir(StateDir(directory).checkpoints) as entries:
        for entry in entries:
            if entry.name.isdecimal() and entry.is_dir(follow_symlinks=False):
                found.append(int(entry.name))
    return tuple(sorted(found))


def _command_of(directory: Path) -> tuple[tuple[str, ...] | None, Path | None]:
    try:
        noted = json.loads((directory / COMMAND_NAME).read_text(encoding="utf-8"))
        words = tuple(str(word) for word in noted["words"])
        return words, Path(str(noted["directory"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
