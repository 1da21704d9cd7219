"""The submission of an array: all of its jobs, or none.

Each member is a job of its own, submitted as any other one (`submit`). What holds them together:

1. Which members there are is written down in the first one's state directory, before anything else.
2. All of them are submitted, held, and each writes its row down in its own directory.
3. All of them are registered. The daemon starts none before all are there, and gives those that are
   there up if the rest does not come.

What fails in between takes all of them back. Whoever is killed in the midst of it leaves held jobs
and no half of an array that runs; `ef-sbatch --register=DIR` with the first directory goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.api.client import Client, FailureError, UnreachableError
from ef_slurm.api.messages import Register, Withdraw
from ef_slurm.cli.common.errors import CommandError, UsageError
from ef_slurm.cli.common.interrupts import uninterrupted
from ef_slurm.cli.sbatch.prepare import Prepared
from ef_slurm.cli.sbatch.submit import (
    Answer,
    ForgottenError,
    Patience,
    await_verdict,
    hold_in_slurm,
    measured,
    read_registration,
    tell,
    undo,
)
from ef_slurm.contract import write_atomic
from ef_slurm.formats.arrays import Tasks, format_tasks
from ef_slurm.formats.codec import DecodeError, decode, pretty
from ef_slurm.formats.numbers import parse_count
from ef_slurm.model import ArrayMember, JobRequest
from ef_slurm.queue.errors import QueueError
from ef_slurm.slurm.interface import Slurm

ARRAY_NAME = "array.json"
"""In the first member's state directory: which members there are."""


@dataclass(frozen=True, slots=True)
class Members:
    """What an array is made of.

    Args:
        together: whether all are promised, or none.
        base: state directories are named after it.
    """

    tasks: Tasks
    together: bool
    base: Path

    def directory(self, task: int) -> Path:
        """The state directory of a member."""
        return self.base.with_name(f"{self.base.name}_{task}")

    def member(self, task: int, job_id: int) -> ArrayMember:
        """Which one it is.

        Args:
            job_id: what the array is called; 0 before that is known.
        """
        numbers = self.tasks.numbers
        return ArrayMember(
            job_id,
            task,
            len(numbers),
            numbers[0],
            numbers[-1],
            self.tasks.step,
            self.tasks.most,
            self.together,
        )


@dataclass(frozen=True, slots=True)
class PreparedMembers(Members):
    """Members that can be submitted.

    Args:
        prepare: makes the submission of one, by its state directory and which one it is.
    """

    prepare: Callable[[Path, ArrayMember | None], Prepared]

    def one(self, task: int, job_id: int) -> Prepared:
        """A member's submission; `job_id` as of `member`."""
        return self.prepare(self.directory(task), self.member(task, job_id))


@dataclass(frozen=True, slots=True)
class _Written:
    """What is written down of an array.

    Args:
        directories: of its members, by number.
    """

    directories: tuple[str, ...]


def check_array(members: PreparedMembers, slurm: Slurm) -> None:
    """Refuse an array that the site, or what is known of the training, does not allow.

    Raises:
        UsageError: a number is beyond Slurm's MaxArraySize; or all are to be promised together,
            and nobody knows how fast they train.
    """
    largest = members.tasks.numbers[-1]
    most = parse_count(slurm.configuration().settings.get("MaxArraySize", ""))
    if most is not None and largest >= most:
        raise UsageError(
            f"--array: task {largest}: numbers below {most} (Slurm's MaxArraySize) are allowed here"
        )
    if members.together and not members.one(largest, 0).request.complete:
        raise UsageError(
            "--array-promise=all: nobody knows yet how fast it trains, so the jobs cannot be "
            "judged together: give --throughput and --iterations, or measure it first (ef-profile)"
        )


def submit_array(
    members: PreparedMembers, client: Client, slurm: Slurm, patience: Patience
) -> tuple[Answer, ...]:
    """Submit and register all of an array, and await the verdicts.

    Raises:
        SlurmError: Slurm refused one of them; nothing is left behind.
        FailureError: the daemon refused one; all are cancelled.
        OSError: a state directory cannot be made; nothing was submitted.
    """
    held: list[Register] = []
    told = 0
    warnings: list[str] = []
    numbers = members.tasks.numbers
    try:
        for task in numbers:
            name = held[0].job.slurm_job_id if held else 0
            prepared = members.one(task, name)
            before = None if held else (lambda: _write_down(members))
            registration, warning, messages = hold_in_slurm(prepared, slurm, before)
            held.append(registration)
            warnings += [line for line in (warning, *messages.splitlines()) if line]
        told = len(held)
        answers = _register_all(held, client, slurm, patience)
    except ForgottenError as error:
        shutil.rmtree(error.request.state_dir, ignore_errors=True)
        others = [one for one in held if one.job != error.request]
        _take_back(others, told, client, slurm)
        raise
    except BaseException:
        _take_back(held, told, client, slurm)
        raise
    first = replace(answers[0], messages="\n".join(dict.fromkeys(warnings)))
    return (first, *answers[1:])


def resume_array(
    state_dir: Path, client: Client, slurm: Slurm, patience: Patience
) -> tuple[Answer, ...] | None:
    """Go on with an array that could not be registered; None where the directory has none.

    Raises:
        UsageError: it was not submitted to the end.
    """
    file = state_dir / ARRAY_NAME
    try:
        written = decode(_Written, file.read_bytes(), str(file))
    except OSError:
        return None
    except DecodeError as error:
        raise UsageError(str(error)) from None
    held, missing = [], 0
    for directory in written.directories:
        try:
            held.append(read_registration(Path(directory)))
        except UsageError:
            missing += 1
    if missing:
        ids = " ".join(str(one.job.slurm_job_id) for one in held)
        raise UsageError(
            f"{file}: {missing} of {len(written.directories)} jobs were not submitted: give the "
            f"others up and submit the array anew{f': scancel {ids}' if ids else ''}"
        )
    return _register_all(held, client, slurm, patience)


def _write_down(members: Members) -> None:
    numbers = members.tasks.numbers
    written = _Written(tuple(str(members.directory(number)) for number in numbers))
    write_atomic(members.directory(numbers[0]) / ARRAY_NAME, pretty(written) + "\n")


def _register_all(
    held: Sequence[Register], client: Client, slurm: Slurm, patience: Patience
) -> tuple[Answer, ...]:
    for registration in held:
        try:
            tell(registration, client)
        except (UnreachableError, QueueError) as error:
            return tuple(Answer(one.job, None, str(error)) for one in held)
    return tuple(_answers(held, client, slurm, patience))


def _answers(
    held: Sequence[Register], client: Client, slurm: Slurm, patience: Patience
) -> Iterator[Answer]:
    for registration in held:
        answer = await_verdict(registration.job, client, slurm, patience)
        yield measured(answer, client, slurm, patience.measured)


def _take_back(held: Sequence[Register], told: int, client: Client, slurm: Slurm) -> None:
    """Leave nothing of an array in Slurm, however often Ctrl-C comes; what stays is told.

    Args:
        told: how many of them, from the first, the daemon knows of.
    """
    left = []
    with uninterrupted():
        for registration in held[:told]:
            with suppress(FailureError, UnreachableError, QueueError):
                client.ask(Withdraw(registration.job.slurm_job_id))
        for registration in held:
            try:
                undo(registration.job, slurm)
            except CommandError:
                left.append(registration.job.slurm_job_id)
    if left:
        jobs = " ".join(str(job_id) for job_id in left)
        raise CommandError(f"Slurm jobs of the array stay held: cancel them with scancel {jobs}")


def array_name(request: JobRequest) -> str:
    """`100_[0-9%4]` of a member."""
    array = request.array
    assert array is not None
    numbers = range(array.low, array.high + 1, array.step)
    whole = array.size == len(numbers)
    tasks = format_tasks(numbers) if whole else f"{array.low}-{array.high}"
    if whole and array.step > 1:
        tasks = f"{array.low}-{array.high}:{array.step}"
    return f"{array.job_id}_[{tasks}{f'%{array.most}' if array.most else ''}]"
