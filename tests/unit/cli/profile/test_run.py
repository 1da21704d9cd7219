"""`ef-profile run` as a person meets it: Slurm in memory, a daemon that answers what it is told."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ef_slurm.api.client import UnreachableError
from ef_slurm.api.messages import (
    Await,
    Cancel,
    Cancelled,
    FindCurves,
    KnownCurves,
    Ping,
    Pong,
    Register,
    Registered,
    Request,
    Response,
)
from ef_slurm.cli.common.errors import CommandError, ExitCode
from ef_slurm.cli.profile import command, run
from ef_slurm.cli.profile.run_display import RunDisplay
from ef_slurm.cli.profile.size_run import Look, SizeResult, SizeRun, Stage
from ef_slurm.model import (
    JobDetail,
    JobKind,
    JobRequest,
    JobState,
    JobView,
    KnownCurve,
    Outcome,
    ProfileLevel,
    Reason,
    ReasonCode,
    StoredVerdict,
    ThroughputCurve,
)
from ef_slurm.siteconfig.tables import JobsTable, SiteConfig
from ef_slurm.slurm.types import JobBaseState
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm

NOW = 1_700_000_000.0
CURVE = KnownCurve(
    "gpu",
    promised=ThroughputCurve.of({1: 10.0, 4: 36.0}),
    expected=ThroughputCurve.of({1: 10.0, 4: 36.0}),
    measured=((1, 10.0), (4, 36.0)),
    level=ProfileLevel.OWN,
    last=NOW,
)
Steps = tuple[Look | SizeResult | BaseException, ...]


@dataclass
class Daemon:
    view: JobView
    outcome: Outcome | None = Outcome.BEST_EFFORT
    asked: list[Request] = field(default_factory=list)
    registered: JobRequest | None = None

    def ask(self, request: Request) -> Response:
        self.asked.append(request)
        match request:
            case Ping():
                return Pong("1", "c", 1, "ef", False, NOW, NOW, ("gpu",))
            case Register(job, _):
                self.registered = job
                return Registered(job.slurm_job_id, created=True)
            case Await():
                return JobDetail(self._judged())
            case FindCurves("train", 32, "bf16"):
                return KnownCurves((CURVE, replace(CURVE, gpu_type="other")))
            case Cancel(ids):
                return Cancelled(ids)
        raise AssertionError(request)

    def _judged(self) -> JobView:
        if self.outcome is None:
            raise UnreachableError("it went away")
        reason = Reason(ReasonCode.STARTED)
        verdict = StoredVerdict(1, 1, NOW, self.outcome, reason, explanation="no GPUs for it")
        rejected = self.outcome is Outcome.REJECTED
        state = JobState.REJECTED if rejected else JobState.ADMITTED
        return replace(self.view, state=state, verdict=verdict)

    def close(self) -> None:
        pass


@dataclass
class World:
    cluster: MemoryCluster
    daemon: Daemon
    jobs: Path
    script: Path
    steps: list[Look | SizeResult | BaseException | signal.Signals] = field(default_factory=list)

    def run(self, *options: str) -> Result:
        words = ("run", *options, str(self.script), "--lr", "0.1")
        return CliRunner().invoke(command._command, words, standalone_mode=False)

    @property
    def states(self) -> list[JobBaseState]:
        return [job.state for job in self.cluster.jobs.values()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Callable[..., JobView]) -> World:
    script = tmp_path / "train.py"
    script.write_text("import torch\n")
    cluster = MemoryCluster({"n1": 4, "n2": 4})
    slurm = MemorySlurm(cluster, lambda: NOW, user="alice", operator=False)
    found = World(cluster, Daemon(job()), tmp_path / "jobs", script)
    site = replace(SiteConfig(), jobs=replace(JobsTable(), state_root=found.jobs))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "configuration", lambda _: site)
    monkeypatch.setattr(run, "slurm_of", lambda _: slurm)
    monkeypatch.setattr(run, "connect", lambda _site, _slurm: found.daemon)

    def follow(self: SizeRun) -> Iterator[Look | SizeResult]:
        self.batch = 32
        for step in found.steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, signal.Signals):
                os.kill(os.getpid(), step)
            else:
                yield step

    monkeypatch.setattr(SizeRun, "follow", follow)
    return found


TRAINING = Look(4, Stage.TRAINING, 10.0)
FOUR, ONE = SizeResult(4, 36.0), SizeResult(1, 10.0)
OPTIONS = ("--gpus=1,4", "--precision=bf16", "--max-time=100s")


def test_a_curve(world: World) -> None:
    world.steps = [Look(4, Stage.WAITING), TRAINING, TRAINING, FOUR, Look(1, Stage.STARTING), ONE]
    result = world.run(*OPTIONS)
    assert result.return_value is ExitCode.OK
    assert result.stdout.startswith("gpu, measured: 2 sizes")
    assert "other" not in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0].startswith("Submitted batch job ")
    assert lines[1] == "At most 1:40 on 4 GPUs; Ctrl-C ends it"
    assert lines[2:] == [
        "waiting for its GPUs",
        "4 GPUs: training",
        "4 GPUs: 36 iterations/s",
        "1 GPU: starting",
        "1 GPU: 10 iterations/s",
    ]
    asked = world.daemon.registered
    assert asked is not None
    assert (asked.kind, asked.max_gpus, asked.model_name) == (JobKind.BEST_EFFORT, 4, "train")
    assert [dict(curve.points).keys() for _, curve in asked.curves] == [{4}]
    # Nothing is left but what was measured.
    assert world.states == [JobBaseState.CANCELLED]
    assert Cancel((asked.slurm_job_id,)) in world.daemon.asked
    assert not list(world.jobs.iterdir())


def test_json(world: World) -> None:
    world.steps = [TRAINING, FOUR, SizeResult(1, None, "the training failed on it")]
    result = world.run(*OPTIONS, "--json")
    assert result.return_value is ExitCode.INCOMPLETE
    answer = json.loads(result.stdout)
    assert answer["sizes"] == [
        {"gpus": 4, "rate": 36.0, "why": ""},
        {"gpus": 1, "rate": None, "why": "the training failed on it"},
    ]
    assert (answer["global_batch_size"], answer["precision"]) == (32, "bf16")
    assert "1 GPU: not measured: the training failed on it" in result.stderr


def test_ctrl_c_keeps_what_was_measured(world: World) -> None:
    world.steps = [TRAINING, FOUR, KeyboardInterrupt()]
    result = world.run(*OPTIONS)
    assert result.return_value is ExitCode.INTERRUPTED
    assert result.stdout.startswith("gpu, measured")
    assert "interrupted: what was measured is kept" in result.stderr
    assert world.states == [JobBaseState.CANCELLED]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_lost_terminal_leaves_no_job_that_trains_for_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A shell passes its own SIGHUP on, so that it comes twice, as an impatient Ctrl-C does."""

    def lost(slurm: MemorySlurm, job_id: int) -> None:
        os.kill(os.getpid(), number)
        cancel(slurm, job_id)

    cancel = MemorySlurm.cancel
    monkeypatch.setattr(MemorySlurm, "cancel", lost)
    world.steps = [TRAINING, FOUR, number]
    assert isinstance(world.run(*OPTIONS).exception, click.Abort)
    assert world.states == [JobBaseState.CANCELLED]
    assert any(isinstance(request, Cancel) for request in world.daemon.asked)


def test_nothing_measured(world: World) -> None:
    world.steps = [TRAINING, UnreachableError("the daemon is gone")]
    result = world.run(*OPTIONS)
    assert result.return_value is ExitCode.SLURM
    assert result.stdout == ""
    assert "the daemon is gone: nothing was measured" in result.stderr
    assert world.states == [JobBaseState.CANCELLED]


def test_a_fault_of_ours_leaves_no_job_behind(world: World) -> None:
    world.steps = [TRAINING, ZeroDivisionError("a bug")]
    assert isinstance(world.run(*OPTIONS).exception, ZeroDivisionError)
    assert world.states == [JobBaseState.CANCELLED]


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Outcome.REJECTED, ExitCode.SLURM, "no GPUs for it"),
        (None, ExitCode.NO_ANSWER, "it went away"),
    ],
)
def test_what_is_not_taken_is_not_left_held(
    world: World, outcome: Outcome | None, code: ExitCode, said: str
) -> None:
    world.daemon.outcome = outcome
    error = world.run(*OPTIONS).exception
    assert isinstance(error, CommandError)
    assert (error.code, said in str(error)) == (code, True)
    assert world.states == [JobBaseState.CANCELLED]


def test_sizes_of_a_node_unless_said(world: World) -> None:
    world.steps = [SizeResult(size, 1.0) for size in (4, 1, 2)]
    assert world.run("--precision=bf16").return_value is ExitCode.OK


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gpus=16",), "16 are more than the partition"),
        (("--gpu-type=h100",), "GPUs of type 'h100'"),
        (("--wrap=true",), "--wrap and a script"),
        (("--frobnicate",), "no option --frobnicate"),
    ],
)
def test_wrong_options_submit_nothing(world: World, options: tuple[str, ...], said: str) -> None:
    error = world.run(*options).exception
    assert isinstance(error, CommandError)
    assert (error.code, said in str(error)) == (ExitCode.USAGE, True), str(error)
    assert not world.states


def test_help_has_examples_and_exit_codes() -> None:
    result = CliRunner().invoke(command._command, ["run", "--help"], standalone_mode=False)
    assert result.exit_code == 0
    for word in ("Examples:", "Exit codes:", "--max-gpu-time", "--seconds-per-size"):
        assert word in result.stdout
    listed = CliRunner().invoke(command._command, ["--help"], standalone_mode=False)
    assert "run " in listed.stdout


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full when all sizes are done, never before, and never runs over."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with RunDisplay(2, 30.0, bar=True) as display:
        bar = display._bar
        for step in (Look(4, Stage.WAITING), Look(4, Stage.TRAINING, 10.4), FOUR):
            display.show(step)
        assert (bar.pos, bar.length) == (30, 60)
        display.show(Look(1, Stage.TRAINING, 95.0))
        assert bar.pos == 60
        display.show(SizeResult(1, None, "no steady rate"))
        assert bar.pos == 60
