"""A job that is followed through its sizes, by a daemon and a batch script that are played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ef_slurm.api.client import FailureError, UnreachableError
from ef_slurm.api.messages import (
    Await,
    Failure,
    FailureCode,
    ListRates,
    Rates,
    Request,
    Response,
    TrainOn,
    TrainsOn,
)
from ef_slurm.cli.profile.size_run import (
    RELAUNCH_SECONDS,
    SILENCE_SECONDS,
    UNSTEADY_SECONDS,
    Look,
    Reports,
    SizeResult,
    SizeRun,
    Stage,
    order_of,
    read_reports,
)
from ef_slurm.contract import Launch, LaunchState, Phase, Progress, StateDir
from ef_slurm.model import (
    JobDetail,
    JobKind,
    JobRequest,
    JobState,
    JobView,
    MeasuredRate,
    ProfileKey,
    ThroughputCurve,
)

NOW = 1_700_000_000.0
BOOT = 5.0
KEY = ProfileKey("m", 32, "bf16", "gpu")
REQUEST = JobRequest(
    slurm_job_id=7,
    owner="me",
    uid=1,
    name="m",
    submitted=NOW,
    kind=JobKind.BEST_EFFORT,
    iterations=10**7,
    global_batch_size=None,
    curves=(("gpu", ThroughputCurve.of({8: 1.0})),),
    state_dir="/nowhere",
    model_name="m",
    precision="bf16",
)


@dataclass
class Played:
    """One job on 8 GPUs in two nodes; a second passes with every look at it."""

    view: JobView
    now: float = NOW
    starts_at: float = NOW + 3.0
    generation: int = 0
    gpus: int = 0
    launched_at: float = 0.0
    restarts: int = 0
    wanted: int = 8
    believed_after: float = 30.0
    fails_on: frozenset[int] = frozenset()
    deaf: bool = False
    live: bool = False
    change: int = 0
    changed_at: float = 0.0
    away: range = range(0)
    ends_at: float = float("inf")
    ends_as: JobState = JobState.FAILED
    refuses: FailureCode | None = None
    rates: dict[int, MeasuredRate] = field(default_factory=dict)
    asked: list[int | None] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def close(self) -> None:
        pass

    def launch(self, gpus: int) -> None:
        self.generation, self.launched_at = self.generation + 1, self.now
        self.gpus, self.change, self.changed_at = gpus, 0, 0.0
        if gpus in self.fails_on:
            self.generation, self.gpus = self.generation + 1, 8

    def resize(self, gpus: int) -> None:
        if self.live:
            self.change, self.gpus, self.changed_at = self.change + 1, gpus, self.now
        else:
            self.launch(gpus)

    def requeue(self) -> None:
        self.restarts, self.wanted = self.restarts + 1, 8
        self.launch(8)

    def ask(self, request: Request) -> Response:
        if int(self.now - NOW) in self.away:
            raise UnreachableError("nobody")
        match request:
            case Await():
                self.now += 1.0
                return JobDetail(self._seen())
            case ListRates(model, _, precision, _):
                assert (model, precision) == ("m", "bf16")
                other = MeasuredRate(KEY, self.gpus, 1, 1.0, 30.0, "me", "", NOW, job_id=6)
                return Rates((other, *self.rates.values()))
            case TrainOn(7, gpus):
                self.asked.append(gpus)
                if self.refuses is not None:
                    raise FailureError(Failure(self.refuses, "no"))
                self.wanted = gpus or 8
                if self.gpus != self.wanted and not self.deaf:
                    self.resize(self.wanted)
                return TrainsOn(7, self.wanted, 8)
        raise AssertionError(request)

    def _seen(self) -> JobView:
        if self.now >= self.ends_at:
            return replace(self.view, state=self.ends_as, share=0, note="see its log")
        if self.now < self.starts_at:
            return replace(self.view, state=JobState.ADMITTED, share=0, started=None)
        if not self.generation:
            self.launch(8)
        return replace(self.view, state=JobState.RUNNING, share=8, started=self.starts_at)

    def reports(self) -> Reports:
        if not self.generation:
            return Reports()
        first = self.launched_at + BOOT
        trained = self.now - first
        if self.now - max(first, self.changed_at) >= self.believed_after:
            self.rates[self.gpus] = MeasuredRate(
                KEY, self.gpus, 1, 10.0 * self.gpus, 30.0, "me", "", self.now, job_id=7
            )
        launched_on = 8 if self.live else self.gpus
        nodes = "n1,n2" if launched_on == 8 else "n1"
        launch = Launch(
            self.generation,
            LaunchState.RUNNING,
            7,
            self.restarts,
            nodes,
            min(4, launched_on),
            15000,
            self.launched_at,
            self.launched_at,
        )
        if trained < 0:
            return Reports(launch)
        progress = Progress(
            self.generation,
            Phase.RUNNING,
            self.gpus,
            1,
            self.now,
            self.launched_at,
            first,
            live=self.live,
            change=self.change,
            change_iteration=1 if self.change else None,
        )
        return Reports(launch, progress)


@pytest.fixture
def played(job: Callable[..., JobView]) -> Played:
    return Played(job())


def run(played: Played, *sizes: int, **changes: Any) -> SizeRun:
    values: dict[str, Any] = {"seconds_per_size": 20.0, "limit": 600.0, **changes}
    return SizeRun(
        played,
        REQUEST,
        sizes,
        reports=played.reports,
        clock=played.clock,
        pause=played.pause,
        **values,
    )


def results(steps: Iterator[Look | SizeResult]) -> dict[int, float | str]:
    found = [step for step in steps if isinstance(step, SizeResult)]
    return {one.gpus: one.why if one.rate is None else one.rate for one in found}


def test_the_largest_and_the_least_first() -> None:
    assert order_of((1, 2, 4, 8)) == (8, 1, 4, 2)
    assert order_of((2, 4)) == (4, 2)
    assert order_of((4,)) == (4,)


def test_every_size_in_turn(played: Played) -> None:
    following = run(played, 1, 2, 8)
    steps = list(following.follow())
    assert results(iter(steps)) == {8: 80.0, 1: 10.0, 2: 20.0}
    assert played.asked == [1, 2]
    assert (following.problem, following.batch) == ("", 32)
    looks = [step for step in steps if isinstance(step, Look)]
    assert [one.stage for one in looks[:2]] == [Stage.WAITING] * 2
    assert {(one.gpus, one.stage) for one in looks if one.gpus == 2} == {
        (2, Stage.STARTING),
        (2, Stage.TRAINING),
    }


def test_a_launch_that_changes_its_size_while_it_trains(played: Played) -> None:
    """The batch script's report stays as it was: the training says on what it goes on."""
    played.live, played.believed_after = True, 5.0
    following = run(played, 1, 2, 8)
    steps = list(following.follow())
    assert results(iter(steps)) == {8: 80.0, 1: 10.0, 2: 20.0}
    assert (played.asked, played.generation, following.problem) == ([1, 2], 1, "")
    for size in (8, 1, 2):
        seconds = [
            step.seconds
            for step in steps
            if isinstance(step, Look) and (step.gpus, step.stage) == (size, Stage.TRAINING)
        ]
        assert seconds[0] <= 1.0
        assert 20.0 <= seconds[-1] <= 21.0  # of this size alone


def test_a_live_launch_that_is_requeued_in_between(played: Played) -> None:
    played.live = True
    following = run(played, 1, 2, 8)
    found, requeued = {}, False
    for step in following.follow():
        if isinstance(step, SizeResult):
            found[step.gpus] = step.rate
        elif step.gpus == 1 and step.stage is Stage.TRAINING and not requeued:
            played.requeue()
            requeued = True
    assert (requeued, found) == (True, {8: 80.0, 1: 10.0, 2: 20.0})
    assert played.asked == [1, 1, 2]


def test_it_trains_as_long_as_wanted_even_if_its_rate_is_known_before(played: Played) -> None:
    played.believed_after = 5.0
    steps = list(run(played, 8, seconds_per_size=60.0).follow())
    assert max(step.seconds for step in steps if isinstance(step, Look)) >= 59.0


def test_a_rate_that_is_never_steady_is_none(played: Played) -> None:
    played.believed_after = float("inf")
    found = results(run(played, 8).follow())
    assert found == {8: f"no steady rate in {20 + UNSTEADY_SECONDS:.0f} s of training"}


def test_a_size_on_which_it_fails(played: Played) -> None:
    played.fails_on = frozenset({1})
    found = results(run(played, 1, 2, 8).follow())
    assert found == {8: 80.0, 1: "the training failed on it (see the job's log)", 2: 20.0}


def test_a_job_that_does_not_obey(played: Played) -> None:
    played.deaf = True
    found = results(run(played, 1, 8).follow())
    assert found[1] == f"it was not launched on it within {RELAUNCH_SECONDS:.0f} s"
    assert len(played.asked) > 1  # an answer may be lost


def test_a_daemon_that_refuses_is_quoted_but_another_no_ends_it(played: Played) -> None:
    played.refuses = FailureCode.BAD_REQUEST
    assert str(results(run(played, 1, 8).follow())[1]).endswith(" s: no")
    played.refuses = FailureCode.DENIED
    with pytest.raises(FailureError):
        list(run(played, 1, 8).follow())


def test_its_time_is_up(played: Played) -> None:
    following = run(played, 1, 2, 4, 8, limit=100.0)
    assert results(following.follow()) == {8: 80.0, 1: 10.0}
    assert following.problem == "its 100 s were over"
    assert played.now <= played.starts_at + 102.0


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (JobState.FAILED, "the job is failed: see its log"),
        (JobState.CANCELLED, "the job is cancelled: see its log"),
        (JobState.COMPLETED, "the training was complete before all sizes were measured"),
    ],
)
def test_the_job_ends_by_itself(played: Played, state: JobState, said: str) -> None:
    played.ends_at, played.ends_as = NOW + 50.0, state
    following = run(played, 1, 8)
    assert results(following.follow()) == {8: 80.0}
    assert following.problem == said


def test_a_requeue_is_no_failure_of_a_size(played: Played) -> None:
    following = run(played, 1, 8)
    requeued, found = False, {}
    for step in following.follow():
        if isinstance(step, SizeResult):
            found[step.gpus] = step.rate
        elif step.gpus == 1 and step.stage is Stage.TRAINING and not requeued:
            played.requeue()
            requeued = True
    assert requeued
    assert found == {8: 80.0, 1: 10.0}
    assert played.asked == [1, 1]


def test_more_gpus_than_samples(played: Played) -> None:
    following = run(played, 1, 8)
    following.batch = 4
    assert results(following.follow())[8] == ("a batch has 4 samples: fewer than one for each GPU")


def test_a_daemon_that_is_away_for_a_while(played: Played) -> None:
    played.away = range(20, 60)
    assert results(run(played, 8).follow()) == {8: 80.0}
    played.away = range(0, 100_000)
    began = played.now
    with pytest.raises(UnreachableError):
        list(run(played, 8).follow())
    assert SILENCE_SECONDS <= played.now - began <= SILENCE_SECONDS + 2.0


def test_reports_are_read_as_far_as_they_can_be(tmp_path: Any) -> None:
    assert read_reports(str(tmp_path)) == Reports()
    state = StateDir(tmp_path)
    launch = Launch(2, LaunchState.RUNNING, 7, 0, "n1,n2", 4, 15000, NOW, NOW)
    state.write_launch(launch)
    assert (read_reports(str(tmp_path)).gpus, read_reports(str(tmp_path)).trains) == (8, None)
    progress = Progress(1, Phase.RUNNING, 8, 1, NOW + 9, NOW, NOW + 2)
    state.write_progress(progress)
    assert read_reports(str(tmp_path)).trains is None  # of the launch before
    live = replace(progress, live=True, change=1, world_size=2)
    state.write_progress(live)
    assert read_reports(str(tmp_path)).gpus == 8
    state.write_progress(replace(live, generation=2))
    assert read_reports(str(tmp_path)).gpus == 2
    progress = replace(progress, generation=2)
    state.write_progress(progress)
    assert read_reports(str(tmp_path)).trains == progress
    state.write_launch(replace(launch, state=LaunchState.WAITING))
    assert read_reports(str(tmp_path)).gpus == 0
    state.launch_file.write_text("{")
    assert read_reports(str(tmp_path)) == Reports()
