"""An array is submitted whole or not at all, whatever fails, and answered job by job."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.api.client import FailureError, UnreachableError
from ef_slurm.api.messages import Failure, FailureCode, Register, Withdraw
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.sbatch.array_answer import answer_array
from ef_slurm.cli.sbatch.array_logs import log_options
from ef_slurm.cli.sbatch.array_submit import (
    PreparedMembers,
    array_name,
    resume_array,
    submit_array,
)
from ef_slurm.cli.sbatch.output_options import OutputOptions
from ef_slurm.cli.sbatch.prepare import Prepared
from ef_slurm.cli.sbatch.submit import Answer, Patience
from ef_slurm.formats.arrays import parse_tasks
from ef_slurm.launch import LaunchRequest, render
from ef_slurm.model import ArrayMember, JobView, Outcome
from ef_slurm.slurm.errors import RefusedError
from ef_slurm.slurm.types import HoldKind, JobBaseState, Submission, Submitted
from tests.unit.cli.sbatch.test_submit import World

Make = Callable[..., JobView]
PATIENCE = Patience(1.0)


class KilledError(BaseException):
    """kill -9, as far as code can see it: nothing of the process runs after it."""


class Array:
    """An array of three on a world with one cluster."""

    def __init__(self, world: World, tmp_path: Path) -> None:
        self.world = world
        self.tasks = parse_tasks("0-4:2%2")
        self.base = tmp_path / "jobs" / "x"
        self.members = PreparedMembers(self.tasks, False, self.base, self.prepare)
        self.refuse_from = 99

    def prepare(self, state_dir: Path, array: ArrayMember | None) -> Prepared:
        assert array is not None
        partition = "no" if array.task >= self.refuse_from else "ef"
        prepared = self.world.prepared
        return replace(
            prepared,
            request=replace(prepared.request, state_dir=str(state_dir), array=array),
            state_dir=state_dir,
            submission=Submission("#!/bin/sh\n", (f"--partition={partition}",)),
        )

    def submit(self) -> tuple[Answer, ...]:
        return submit_array(self.members, self.world.daemon, self.world.slurm, PATIENCE)

    def resume(self, task: int = 0) -> tuple[Answer, ...] | None:
        directory = self.members.directory(task)
        return resume_array(directory, self.world.daemon, self.world.slurm, PATIENCE)

    def registered(self) -> list[Register]:
        sent = self.world.daemon.submission_options
        return [one for one in sent if isinstance(one, Register)]


@pytest.fixture
def array(tmp_path: Path, job: Make) -> Array:
    return Array(World(tmp_path, job()), tmp_path)


@pytest.fixture
def killed(array: Array, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the process killed at the nth submission, with nothing tidied up."""
    submit = array.world.slurm.submit
    count = 0

    def arm(at: int) -> None:
        def deadly(submission: Submission) -> Submitted:
            nonlocal count
            count += 1
            if count == at:
                raise KilledError
            return submit(submission)

        monkeypatch.setattr(array.world.slurm, "submit", deadly)
        nothing = lambda *_args, **_more: None  # noqa: E731
        monkeypatch.setattr("ef_slurm.cli.sbatch.array_submit._take_back", nothing)
        monkeypatch.setattr("ef_slurm.cli.sbatch.submit.shutil.rmtree", nothing)

    return arm


def test_all_are_held_and_registered_under_the_name_of_the_first(array: Array) -> None:
    answers = array.submit()
    assert [answer.outcome for answer in answers] == [Outcome.PROMISED] * 3
    slurm_jobs = list(array.world.cluster.jobs.values())
    assert {job.hold for job in slurm_jobs} == {HoldKind.USER}
    first = slurm_jobs[0].job_id
    told = [one.job.array for one in array.registered()]
    assert told == [ArrayMember(first, task, 3, 0, 4, 2, 2) for task in (0, 2, 4)]
    directories = [one.job.state_dir for one in array.registered()]
    assert directories == [f"{array.base}_{task}" for task in (0, 2, 4)]
    assert array_name(answers[0].request) == f"{first}_[0-4:2%2]"


def test_slurm_refuses_one_and_nothing_is_left(array: Array) -> None:
    array.refuse_from = 4
    with pytest.raises(RefusedError):
        array.submit()
    assert array.world.jobs() == [JobBaseState.CANCELLED] * 2
    assert array.registered() == []
    assert not any(array.members.directory(task).exists() for task in (0, 2, 4))


def test_the_daemon_refuses_one_and_nothing_is_left(array: Array) -> None:
    array.world.daemon.fail[Register] = FailureError(Failure(FailureCode.DENIED, "not yours"))
    array.world.daemon.fail[Withdraw] = FailureError(Failure(FailureCode.UNKNOWN_JOB, "unknown"))
    with pytest.raises(FailureError, match="not yours"):
        array.submit()
    assert array.world.jobs() == [JobBaseState.CANCELLED] * 3
    assert not any(array.members.directory(task).exists() for task in (0, 2, 4))


def test_control_c_again_while_they_are_taken_back_leaves_none(
    array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    array.world.daemon.fail[Register] = KeyboardInterrupt()
    array.world.daemon.fail[Withdraw] = UnreachableError("busy")
    cancel = array.world.slurm.cancel

    def impatient(job_id: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        cancel(job_id)

    monkeypatch.setattr(array.world.slurm, "cancel", impatient)
    with pytest.raises(KeyboardInterrupt):
        array.submit()
    assert array.world.jobs() == [JobBaseState.CANCELLED] * 3


def test_nobody_answers_and_it_goes_on_later(array: Array) -> None:
    array.world.daemon.fail[Register] = UnreachableError("nobody")
    answers = array.submit()
    assert [answer.problem for answer in answers] == ["nobody"] * 3
    assert array.world.jobs() == [JobBaseState.PENDING] * 3
    array.world.daemon.fail.clear()
    again = array.resume()
    assert again is not None
    assert [answer.outcome for answer in again] == [Outcome.PROMISED] * 3
    assert array.world.jobs() == [JobBaseState.PENDING] * 3
    assert array.resume(2) is None  # only the first one knows of the others


@pytest.mark.parametrize("at", [1, 2, 3])
def test_killed_between_two_jobs_nothing_is_in_the_queue(
    array: Array, killed: Callable[[int], None], at: int
) -> None:
    killed(at)
    with pytest.raises(KilledError):
        array.submit()
    assert array.registered() == []
    assert array.world.jobs() == [JobBaseState.PENDING] * (at - 1)
    assert {job.hold for job in array.world.cluster.jobs.values()} <= {HoldKind.USER}
    words = f"{4 - at} of 3 jobs were not submitted"
    with pytest.raises(UsageError, match=words) as caught:
        array.resume()
    assert ("scancel" in str(caught.value)) is (at > 1)


def test_a_line_for_each(array: Array, capsys: pytest.CaptureFixture[str]) -> None:
    answers = array.submit()
    code = answer_array(answers, OutputOptions(), array.world.daemon)
    told = capsys.readouterr().out.splitlines()
    first = answers[0].request.slurm_job_id
    assert code is ExitCode.OK
    assert told[0] == f"Submitted batch job {first}"
    assert told[1] == f"{first}_[0-4:2%2]: 3 promised"
    assert [line.split()[:2] for line in told[2:]] == [
        [f"{first}_{task}", "promised,"] for task in (0, 2, 4)
    ]
    assert answer_array(answers, OutputOptions(parsable=True), array.world.daemon) is ExitCode.OK
    told = capsys.readouterr().out.splitlines()
    assert told == [str(first)]


def test_none_is_promised(array: Array, capsys: pytest.CaptureFixture[str]) -> None:
    array.world.daemon.outcome = Outcome.REJECTED
    code = answer_array(array.submit(), OutputOptions(), array.world.daemon)
    captured = capsys.readouterr()
    assert (code, captured.out) == (ExitCode.INFEASIBLE, "")
    assert "3 not promised" in captured.err


@pytest.mark.parametrize(
    ("options", "in_script", "expected"),
    [
        ((), (), ("--output=slurm-100_7.out",)),
        (("--output=x-%a",), (), ("--output=x-7",)),
        (("--error=e-%A-%3a-%j-%%a",), ("--output=o",), ("--error=e-100-007-%j-%%a",)),
        (("--account=%a",), ("--output=o",), ("--account=%a",)),
    ],
)
def test_names_of_logs(
    options: tuple[str, ...], in_script: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    member = ArrayMember(100, 7, 10, 0, 9)
    assert log_options(options, in_script, member) == expected
    assert log_options(options, in_script, None) == options


def test_the_first_ones_own_id_is_the_arrays(tmp_path: Path) -> None:
    first = ArrayMember(0, 0, 10, 0, 9)
    assert log_options(("--output=x-%A_%a",), (), first) == ("--output=x-%j_0",)
    request = LaunchRequest(("train.py",), str(tmp_path), str(tmp_path / "o"), 9, 8, array=first)
    assert "EF_SET_SLURM_ARRAY_JOB_ID=$EF_JOB_ID\n" in render(request)
    other = replace(request, array=ArrayMember(100, 3, 10, 0, 9))
    script = render(other)
    for name, value in {"JOB_ID": 100, "TASK_ID": 3, "TASK_COUNT": 10, "TASK_MAX": 9}.items():
        assert f"export EF_SET_SLURM_ARRAY_{name}={value}\n" in script
    assert "SLURM_ARRAY" not in render(replace(request, array=None))
