"""A submission leaves nothing half-done, whatever fails."""

import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ef_slurm.api.client import FailureError, UnreachableError
from ef_slurm.api.messages import (
    Await,
    Failure,
    FailureCode,
    Register,
    Registered,
    Request,
    Response,
    Until,
    Withdraw,
)
from ef_slurm.cli.common.errors import CommandError, UsageError
from ef_slurm.cli.common.state_dirs import REQUEST_NAME
from ef_slurm.cli.sbatch.command import _answer
from ef_slurm.cli.sbatch.output_options import OutputOptions
from ef_slurm.cli.sbatch.prepare import Prepared
from ef_slurm.cli.sbatch.submit import ForgottenError, Patience, resume, submit
from ef_slurm.model import (
    JobDetail,
    JobKind,
    JobRequest,
    JobState,
    JobView,
    Measuring,
    Outcome,
    Reason,
    ReasonCode,
    StoredVerdict,
    ThroughputCurve,
)
from ef_slurm.slurm.errors import NoSuchJobError, NotPermittedError, RefusedError, SlurmError
from ef_slurm.slurm.types import HoldKind, JobBaseState, Submission, Submitted
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm

NOW = 1_700_000_000.0
Make = Callable[..., JobView]


@dataclass
class Daemon:
    """Answers registrations with one outcome, or fails as it is told."""

    view: JobView
    outcome: Outcome | None = Outcome.PROMISED
    fail: dict[type, BaseException] = field(default_factory=dict)
    submission_options: list[Request] = field(default_factory=list)
    measured_for: int = 0
    """How often it says that the job is measured before it has a verdict."""

    def ask(self, request: Request) -> Response:
        self.submission_options.append(request)
        error = self.fail.get(type(request))
        if error is not None:
            raise error
        if isinstance(request, Register):
            return Registered(request.job.slurm_job_id, created=True)
        assert isinstance(request, Await)
        verdict = None
        state = JobState.NEW
        if self.outcome is not None:
            rejected = self.outcome is Outcome.REJECTED
            state = JobState.REJECTED if rejected else JobState.ADMITTED
            verdict = StoredVerdict(1, 1, NOW, self.outcome, Reason(ReasonCode.STARTED), 1)
        view = replace(self.view, state=state, verdict=verdict)
        if self.measured_for:
            self.measured_for -= 1
            measuring = Measuring(NOW, "gpu", (4, 1))
            view = replace(view, state=JobState.RUNNING, verdict=None, measuring=measuring)
        return JobDetail(view)

    def close(self) -> None:
        pass


class World:
    def __init__(self, tmp_path: Path, view: JobView) -> None:
        self.cluster = MemoryCluster({"n1": 4})
        self.slurm = MemorySlurm(self.cluster, lambda: NOW, user="alice", operator=False)
        self.daemon = Daemon(view)
        self.prepared = Prepared(
            Submission("#!/bin/sh\n", ("--partition=ef",)),
            JobRequest(
                slurm_job_id=0,
                owner="alice",
                uid=1,
                name="bert",
                submitted=NOW,
                kind=JobKind.DEADLINE,
                iterations=100,
                global_batch_size=8,
                curves=(("gpu", ThroughputCurve.of({1: 1.0})),),
                state_dir=str(tmp_path / "jobs" / "x"),
                deadline=NOW + 100,
            ),
            tmp_path / "jobs" / "x",
            ("script", "#!/bin/sh\ntrue\n"),
        )

    def jobs(self) -> list[JobBaseState]:
        return [job.state for job in self.cluster.jobs.values()]


@pytest.fixture
def world(tmp_path: Path, job: Make) -> World:
    return World(tmp_path, job())


def test_a_promise(world: World) -> None:
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert answer.outcome is Outcome.PROMISED
    (slurm_job,) = world.cluster.jobs.values()
    assert slurm_job.hold is HoldKind.USER
    assert answer.request.slurm_job_id == slurm_job.job_id
    script = world.prepared.state_dir / "script"
    assert script.read_text() == "#!/bin/sh\ntrue\n"
    assert script.stat().st_mode & 0o700 == 0o700
    registered = world.daemon.submission_options[0]
    assert isinstance(registered, Register)
    assert registered.job.slurm_job_id == slurm_job.job_id
    assert registered.script.options == ("--partition=ef",)


def test_rejected_leaves_nothing(world: World) -> None:
    world.daemon.outcome = Outcome.REJECTED
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert answer.outcome is Outcome.REJECTED
    assert world.jobs() == [JobBaseState.CANCELLED]
    assert not world.prepared.state_dir.exists()


def test_slurm_refuses_and_nothing_is_left(world: World) -> None:
    prepared = replace(world.prepared, submission=Submission("#!/bin/sh\n", ("--partition=no",)))
    with pytest.raises(RefusedError, match="invalid partition"):
        submit(prepared, world.daemon, world.slurm, Patience(1.0))
    assert world.jobs() == []
    assert not world.prepared.state_dir.exists()
    assert world.daemon.submission_options == []


def test_the_daemon_refuses_and_nothing_is_left(world: World) -> None:
    world.daemon.fail[Register] = FailureError(Failure(FailureCode.DENIED, "not yours"))
    with pytest.raises(FailureError, match="not yours"):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert world.jobs() == [JobBaseState.CANCELLED]
    assert not world.prepared.state_dir.exists()


def test_unreachable_the_job_stays_held_and_goes_on_later(world: World) -> None:
    world.daemon.fail[Register] = UnreachableError("ctl: Connection refused")
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert (answer.status, answer.problem) == (None, "ctl: Connection refused")
    assert world.jobs() == [JobBaseState.PENDING]
    world.daemon.fail.clear()
    later = resume(world.prepared.state_dir, world.daemon, world.slurm, Patience(1.0))
    assert later.outcome is Outcome.PROMISED
    assert later.request == answer.request


def test_unreachable_while_waiting(world: World) -> None:
    world.daemon.fail[Await] = UnreachableError("it went away")
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert (answer.outcome, answer.problem) == (None, "it went away")
    assert world.jobs() == [JobBaseState.PENDING]


def test_no_verdict_in_time(world: World) -> None:
    world.daemon.outcome = None
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(0.0))
    assert answer.outcome is None
    assert "no verdict within 0 s" in answer.problem
    assert world.jobs() == [JobBaseState.PENDING]


def test_given_up_with_control_c(world: World) -> None:
    world.daemon.fail[Await] = KeyboardInterrupt()
    world.daemon.fail[Withdraw] = FailureError(Failure(FailureCode.BAD_REQUEST, "too late"))
    with pytest.raises(KeyboardInterrupt):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert isinstance(world.daemon.submission_options[-1], Withdraw)
    assert world.jobs() == [JobBaseState.CANCELLED]
    assert not world.prepared.state_dir.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_control_c_while_sbatch_waits_for_slurms_word(
    world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Slurm has the job by then: it would stay held, and nobody would know of it."""
    sbatch = world.slurm.submit

    def interrupted(submission: Submission) -> Submitted:
        os.kill(os.getpid(), number)
        return sbatch(submission)

    monkeypatch.setattr(world.slurm, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert world.jobs() == [JobBaseState.CANCELLED]
    assert not world.prepared.state_dir.exists()
    assert world.daemon.submission_options == []


def test_what_slurm_has_forgotten_leaves_nothing_and_takes_nobody_along(world: World) -> None:
    """Its id is another submission's of the same owner, in the queue as such."""
    words = "job 1 is another submission of yours"
    world.daemon.fail[Register] = FailureError(Failure(FailureCode.UNKNOWN_JOB, words))
    with pytest.raises(ForgottenError, match=words):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert world.jobs() == [JobBaseState.PENDING]
    assert not world.prepared.state_dir.exists()


def test_a_job_that_the_queue_knows_no_more_is_cancelled(world: World) -> None:
    world.daemon.fail[Await] = FailureError(Failure(FailureCode.UNKNOWN_JOB, "no job 1"))
    with pytest.raises(FailureError, match="no job 1"):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert world.jobs() == [JobBaseState.CANCELLED]


@pytest.mark.parametrize("error", [NoSuchJobError("who?"), NotPermittedError("denied")])
def test_what_is_not_there_to_cancel_is_not_told_of(
    world: World, monkeypatch: pytest.MonkeyPatch, error: SlurmError
) -> None:
    def forgotten(_: int) -> None:
        raise error

    words = "job 1 belongs to somebody else, not to you"
    world.daemon.fail[Register] = FailureError(Failure(FailureCode.DENIED, words))
    monkeypatch.setattr(world.slurm, "cancel", forgotten)
    with pytest.raises(FailureError, match=words):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert not world.prepared.state_dir.exists()


def test_slurm_gone_when_it_is_to_be_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int) -> None:
        raise RefusedError("slurmctld is gone")

    world.daemon.outcome = Outcome.REJECTED
    monkeypatch.setattr(world.slurm, "cancel", gone)
    with pytest.raises(CommandError, match=r"slurmctld is gone; Slurm job \d+ stays held: cancel"):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))


def test_a_state_directory_that_exists_is_not_touched(world: World) -> None:
    world.prepared.state_dir.mkdir(parents=True)
    (world.prepared.state_dir / "checkpoint").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert (world.prepared.state_dir / "checkpoint").is_dir()
    assert world.jobs() == []


def test_nowhere_to_put_the_state_directory(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    prepared = replace(world.prepared, state_dir=tmp_path / "file" / "x")
    with pytest.raises(FileExistsError):
        submit(prepared, world.daemon, world.slurm, Patience(1.0))
    assert world.jobs() == []


@pytest.mark.parametrize("content", [None, "no json", "{}"])
def test_nothing_to_go_on_with(world: World, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / REQUEST_NAME).write_text(content)
    with pytest.raises(UsageError, match=REQUEST_NAME):
        resume(tmp_path, world.daemon, world.slurm, Patience(1.0))


def test_what_has_to_be_measured_is_not_waited_for(world: World) -> None:
    world.daemon.measured_for = 9
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert (answer.outcome, answer.problem) == (None, "")
    assert answer.status is not None
    assert answer.status.job.measuring is not None
    assert world.jobs() == [JobBaseState.PENDING]
    awaited = [one.until for one in world.daemon.submission_options if isinstance(one, Await)]
    assert set(awaited) == {Until.MEASURING}


@pytest.mark.parametrize("outcome", [Outcome.PROMISED, Outcome.REJECTED])
def test_what_has_to_be_measured_is_waited_for_if_asked(world: World, outcome: Outcome) -> None:
    world.daemon.measured_for, world.daemon.outcome = 3, outcome
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0, math.inf))
    assert answer.outcome is outcome
    # Whatever the answer is, there are checkpoints in its directory.
    assert world.prepared.state_dir.exists()
    gone = outcome is Outcome.REJECTED
    assert world.jobs() == [JobBaseState.CANCELLED if gone else JobBaseState.PENDING]


def test_measuring_that_takes_too_long_to_wait_for_goes_on(world: World) -> None:
    world.daemon.measured_for = 10**9
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0, 0.05))
    assert answer.problem == "not judged within 0 s"
    assert world.jobs() == [JobBaseState.PENDING]


def test_nobody_is_waited_for_who_is_not_there(world: World) -> None:
    world.daemon.outcome = None
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(0.0, nobody="nobody runs"))
    assert answer.problem == "nobody runs"
    assert world.jobs() == [JobBaseState.PENDING]


def test_a_directory_that_the_daemon_cannot_read_is_told(world: World) -> None:
    """Whoever may read all of it, as root, sees nothing wrong."""
    world.prepared.state_dir.parent.parent.chmod(0o700)
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    assert answer.warning == ""
    world.prepared.state_dir.rename(world.prepared.state_dir.with_name("before"))
    hidden = replace(world.prepared, read_by="daemon")
    answer = submit(hidden, world.daemon, world.slurm, Patience(1.0))
    assert "ef-slurm (user daemon) cannot read" in answer.warning
    assert "Leave --state-dir out" in answer.warning


def test_who_cannot_be_told_on_standard_output_learns_that_the_job_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes it for refused submits it again, and has two."""
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    with suppress(OSError), Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        output = OutputOptions(quiet=True, parsable=True)
        with pytest.raises(CommandError, match=r"submitted: 1; .*No space left"):
            _answer([answer], output, world.daemon)


def test_who_has_read_the_first_line_is_told_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `ef-sbatch … | head -1`."""
    answer = submit(world.prepared, world.daemon, world.slurm, Patience(1.0))
    reading, writing = os.pipe()
    os.close(reading)
    with suppress(OSError), os.fdopen(writing, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        with pytest.raises(BrokenPipeError):
            _answer([answer], OutputOptions(quiet=True, parsable=True), world.daemon)
