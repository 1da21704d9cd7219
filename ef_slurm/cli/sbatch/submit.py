"""A submission, step by step, so that nothing half-done is left behind.

1. The state directory is made, with a copy of the batch script.
2. sbatch takes the script, held, as the user. Nothing can start it now but ef-slurm.
3. The row is written down in the state directory, then registered in the queue.
4. The verdict is awaited. A rejected job's Slurm job is cancelled.

What fails before 3 leaves nothing behind. If the queue cannot be reached in 3 or 4 the job stays
held, and `resume` goes on from what was written down.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.api.client import (
    Client,
    FailureError,
    UnreachableError,
    await_status,
    expect,
)
from ef_slurm.api.messages import FailureCode, Register, Registered, Until, Withdraw
from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.interrupts import ended_by_hangup, uninterrupted
from ef_slurm.cli.common.state_dirs import REQUEST_NAME
from ef_slurm.cli.sbatch.continuation import remember_command, take_over
from ef_slurm.cli.sbatch.prepare import Prepared
from ef_slurm.contract import write_atomic
from ef_slurm.formats.codec import DecodeError, decode, pretty
from ef_slurm.model import FINAL, BatchScript, JobDetail, JobRequest, Outcome
from ef_slurm.queue.errors import QueueError
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.slurm.errors import (
    NoSuchJobError,
    NotPermittedError,
    SlurmError,
    SlurmTimeoutError,
)
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import Submission, Submitted

RETRY_SECONDS = 5.0
"""Between two attempts to reach the daemon while a job's end is awaited."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a submission ended.

    Args:
        request: with the Slurm job's id.
        status: what the queue says; None where it could not be reached.
        problem: why there is no verdict, in a sentence; "" where there is one.
        messages: what sbatch said beside the job's id.
        warning: why the daemon will not see the job train; "" where it will.
    """

    request: JobRequest
    status: JobDetail | None
    problem: str = ""
    messages: str = ""
    warning: str = ""

    @property
    def outcome(self) -> Outcome | None:
        """The verdict's, or None without one."""
        if self.status is None or self.status.job.verdict is None:
            return None
        return self.status.job.verdict.outcome


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds to wait for the verdict, and for one that has to be measured first.

    Args:
        nobody: why no verdict will come; "" where somebody is there to judge.
    """

    verdict: float
    measured: float = 0.0
    nobody: str = ""


class ForgottenError(CommandError):
    """Slurm has forgotten a submission, and its id is that of another job, which is left alone."""

    def __init__(self, message: str, request: JobRequest) -> None:
        super().__init__(message)
        self.request = request


def submit(prepared: Prepared, client: Client, slurm: Slurm, patience: Patience) -> Answer:
    """Submit, register, and await the verdict.

    Raises:
        SlurmError: Slurm refused; nothing is left behind.
        FailureError: the daemon refused; the Slurm job is cancelled.
        ForgottenError: Slurm has the job no more; nothing is left behind.
        OSError: the state directory cannot be made; nothing was submitted.
    """
    registration, warning, messages = hold_in_slurm(prepared, slurm)
    try:
        answer = _register(registration, client, slurm, patience)
    except ForgottenError:
        shutil.rmtree(registration.job.state_dir, ignore_errors=True)
        raise
    except BaseException:
        undo(registration.job, slurm)
        raise
    answer = measured(answer, client, slurm, patience.measured)
    return replace(answer, messages=messages, warning=warning)


def hold_in_slurm(
    prepared: Prepared, slurm: Slurm, before: Callable[[], None] | None = None
) -> tuple[Register, str, str]:
    """Submit a held job, and write its row down in its state directory.

    Args:
        before: what to do once the directory is there, and nothing is submitted yet.

    Returns:
        What the daemon is to be told, why it will not see the job train ("" where it will), and
        what sbatch said beside the job's id.

    Raises:
        SlurmError: Slurm refused; nothing is left behind.
        OSError: the state directory cannot be made; nothing was submitted.
    """
    _make_state_dir(prepared)
    warning = _unseen(prepared)
    submitted: Submitted | None = None
    try:
        if before is not None:
            before()
        # Slurm may have the job already while sbatch waits for its word.
        with ended_by_hangup(), uninterrupted():
            submitted = slurm.submit(prepared.submission)
    except SlurmTimeoutError as error:
        raise CommandError(
            f"{error.message}; whether Slurm has taken the job is not known: look with "
            "squeue --me, and cancel it there if it is held (its state directory is "
            f"{prepared.state_dir})"
        ) from None
    except BaseException:
        if submitted is None:
            shutil.rmtree(prepared.state_dir, ignore_errors=True)
        else:
            undo(replace(prepared.request, slurm_job_id=submitted.job_id), slurm)
        raise
    array = prepared.request.array
    if array is not None and not array.job_id:
        array = replace(array, job_id=submitted.job_id)
    request = replace(
        prepared.request,
        slurm_job_id=submitted.job_id,
        cluster=submitted.cluster or prepared.request.cluster,
        array=array,
    )
    try:
        request = replace(request, account=slurm.job(submitted.job_id).account)
        registration = Register(request, _batch_script(prepared.submission))
        write_atomic(prepared.state_dir / REQUEST_NAME, pretty(registration) + "\n")
    except BaseException:
        undo(request, slurm)
        raise
    return registration, warning, submitted.messages


def resume(state_dir: Path, client: Client, slurm: Slurm, patience: Patience) -> Answer:
    """Go on with a submission that could not be registered.

    Raises:
        UsageError: `state_dir` holds none.
    """
    answer = _register(read_registration(state_dir), client, slurm, patience)
    return measured(answer, client, slurm, patience.measured)


def read_registration(state_dir: Path) -> Register:
    """What was written down of a submission.

    Raises:
        UsageError: nothing was.
    """
    file = state_dir / REQUEST_NAME
    try:
        return decode(Register, file.read_bytes(), str(file))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}: no submission to go on with") from None
    except DecodeError as error:
        raise UsageError(str(error)) from None


def _batch_script(submission: Submission) -> BatchScript:
    return BatchScript(
        submission.script, submission.options, submission.arguments, submission.directory or ""
    )


def _make_state_dir(prepared: Prepared) -> None:
    # The directory inherits the group of the state root, whose members (the daemon) may read the
    # reports in it. A chmod by its owner would take the set-group-id bit away.
    before = os.umask(0o027)
    try:
        prepared.state_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            prepared.state_dir.mkdir(mode=0o750)
        except FileExistsError:
            raise UsageError(
                f"--state-dir={prepared.state_dir}: it exists already, and the checkpoints in it "
                "would be continued; give a new one"
            ) from None
        if prepared.copy is not None:
            name, text = prepared.copy
            copy = prepared.state_dir / name
            copy.write_text(text, encoding="utf-8")
            copy.chmod(0o750)
        remember_command(prepared.words, prepared.state_dir)
        if prepared.source is not None:
            take_over(prepared.source, prepared.state_dir)
    except OSError:
        shutil.rmtree(prepared.state_dir, ignore_errors=True)
        raise
    finally:
        os.umask(before)


def _unseen(prepared: Prepared) -> str:
    """Why the site's daemon cannot read what the job reports; "" where it can."""
    directory, daemon = prepared.state_dir, Account.named(prepared.read_by)
    if daemon is None:
        return ""
    try:
        stopped = daemon.stopped_at(directory)
        if stopped is None and daemon.may(directory.stat(), os.R_OK | os.X_OK):
            return ""
    except OSError:
        return ""  # nothing is known of what this user may not see
    return (
        f"ef-slurm (user {daemon.name}) cannot read {stopped or directory}: it does not see this "
        "job train, and takes its GPUs away without a checkpoint. Leave --state-dir out; if it was "
        "not given, [jobs] state_root must have the group "
        f"{daemon.name} and mode 3777 (an administrator's `ef-schedd check` says so)"
    )


def _register(registration: Register, client: Client, slurm: Slurm, patience: Patience) -> Answer:
    request = registration.job
    try:
        tell(registration, client)
    except (UnreachableError, QueueError) as error:
        return Answer(request, None, str(error))
    return await_verdict(request, client, slurm, patience)


def tell(registration: Register, client: Client) -> None:
    """Tell the daemon of a held job.

    Raises:
        ForgottenError: the job of that id is another submission.
        FailureError, UnreachableError, QueueError: as `Client.ask` does.
    """
    try:
        expect(Registered, client.ask(registration))
    except FailureError as error:
        if error.code is FailureCode.UNKNOWN_JOB:
            raise ForgottenError(str(error), registration.job) from None
        raise


def await_verdict(request: JobRequest, client: Client, slurm: Slurm, patience: Patience) -> Answer:
    """Await the verdict on a job that is registered; a rejected one leaves Slurm."""
    try:
        status = await_status(client, request.slurm_job_id, Until.MEASURING, patience.verdict)
    except (UnreachableError, QueueError) as error:
        return Answer(request, None, str(error))
    except KeyboardInterrupt:
        # Given up. The caller cancels the Slurm job; if that is too late for the daemon to forget
        # it quietly, it sees the cancellation.
        with suppress(FailureError, UnreachableError):
            client.ask(Withdraw(request.slurm_job_id))
        raise
    answer = Answer(request, status)
    unknown = answer.outcome is None and status.job.state not in FINAL
    if unknown and status.job.measuring is None and not status.job.set_apart:
        late = f"no verdict within {patience.verdict:.0f} s: is ef-schedd running?"
        problem = patience.nobody or late
        return replace(answer, problem=problem)
    if answer.outcome is Outcome.REJECTED:
        undo(request, slurm)
    return answer


def measured(answer: Answer, client: Client, slurm: Slurm, seconds: float) -> Answer:
    """The answer once its speed is known, however often the daemon restarts.

    What is measured is taken: it trains, whoever waits for it. Its directory stays whatever the
    answer is, for the checkpoints in it.
    """
    if seconds <= 0 or answer.status is None:
        return answer
    if answer.status.job.measuring is None and not answer.status.job.set_apart:
        return answer
    request = answer.request
    end = time.monotonic() + seconds
    while True:
        left = max(0.0, end - time.monotonic())
        try:
            status = await_status(client, request.slurm_job_id, Until.VERDICT, left)
        except UnreachableError as error:
            if left <= RETRY_SECONDS:
                return replace(answer, problem=str(error))
            time.sleep(RETRY_SECONDS)
            continue
        answer = replace(answer, status=status)
        if answer.outcome is Outcome.REJECTED:
            with suppress(SlurmError):  # else the daemon does it
                slurm.cancel(request.slurm_job_id)
        if answer.outcome is None and status.job.state not in FINAL:
            return replace(answer, problem=f"not judged within {seconds:.0f} s")
        return answer


def undo(request: JobRequest, slurm: Slurm) -> None:
    """Take the held job out of Slurm again, and its state directory away."""
    try:
        with uninterrupted():
            slurm.cancel(request.slurm_job_id)
    except (NoSuchJobError, NotPermittedError):
        pass  # Slurm has forgotten it, and may have given its id to somebody else's job
    except SlurmError as error:
        raise CommandError(
            f"{error.message}; Slurm job {request.slurm_job_id} stays held: cancel it with "
            f"scancel {request.slurm_job_id}",
            ExitCode.SLURM,
        ) from None
    shutil.rmtree(request.state_dir, ignore_errors=True)


def await_end(client: Client, job_id: int, seconds: float = math.inf) -> JobDetail:
    """The job when it has ended, however often the daemon restarts; after `seconds` as it then is.

    Raises:
        UnreachableError: the daemon is not there when the time is up.
    """
    end = time.monotonic() + seconds
    while True:
        left = max(0.0, end - time.monotonic())
        try:
            return await_status(client, job_id, Until.END, left)
        except UnreachableError:
            if left <= RETRY_SECONDS:
                raise
            time.sleep(RETRY_SECONDS)
