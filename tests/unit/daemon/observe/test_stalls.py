"""Jobs that Slurm runs and that do not train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

from ef_slurm.contract import Phase
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.stalls import MOST_PATIENCE, StallLimits, Stalls
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.model import Fault, JobState, PromiseOutcome, QueueJob, ReasonCode, Running
from tests.unit.daemon.make import NOW, TWO_NODES, launch, progress, row, running

LIMITS = StallLimits(first_iteration=3600.0, stalled=1800.0, evaluation=7200.0)


@dataclass
class Run:
    """One job, looked at every ten seconds."""

    job: QueueJob
    stalls: Stalls

    def __post_init__(self) -> None:
        self.now = NOW
        self.iteration = 0
        self.story: list[tuple[float, str]] = []

    @property
    def ended(self) -> bool:
        return self.job.running is None

    def go(self, seconds: float, phase: Phase | None = Phase.RUNNING, every: float = 0.0) -> float:
        """Let time pass until the end or until it gives its GPUs back; the seconds that passed.

        Args:
            phase: what it reports; None for nothing.
            every: seconds from one iteration to the next; 0 for none.
        """
        began = self.now
        last = self.now
        while self.now < began + seconds and not self.ended:
            self.now += 10.0
            if every and self.now - last >= every:
                self.iteration, last = self.iteration + 1, self.now
            first = NOW if self.iteration else None
            reports = JobReports(launch(), None, None)
            if phase is not None:
                told = progress(phase, iteration=self.iteration, first_iteration_at=first)
                reports = replace(reports, progress=told)
            status = replace(running(TWO_NODES), reports=reports)
            seen = self.stalls.review(self.job, status, Transition(self.job), self.now)
            self.job = seen.job
            self.story += [(self.now - began, entry.message) for entry in seen.entries]
            if seen.settled is not None:
                assert (seen.settled.outcome, seen.settled.fault) == (
                    PromiseOutcome.VOID,
                    Fault.JOB,
                )
        return self.now - began


@pytest.fixture
def run() -> Run:
    held = Running(TWO_NODES, NOW - 30.0, NOW)
    # Due long after all that happens here.
    request = replace(row().request, deadline=NOW + 1e6)
    return Run(row(JobState.RUNNING, running=held, request=request), Stalls(LIMITS))


def test_a_job_that_hangs_is_told_and_gives_its_gpus_back(run: Run) -> None:
    run.go(3000.0, every=10.0)
    assert run.story == []
    assert run.go(1e5) == pytest.approx(LIMITS.stalled, abs=20.0)
    (told_at, told), (_, why) = run.story
    assert told_at == pytest.approx(LIMITS.stalled / 6, abs=20.0)
    assert told.startswith("no iteration for 5:00 on n[1-2]: at ")
    assert told.endswith(" it gives its GPUs back")
    assert why.startswith("no iteration for 30:00 on n[1-2]: it has stopped training")
    assert run.job.note == why
    assert run.job.stalled
    assert run.job.best_effort
    assert run.job.reason is not None
    assert run.job.reason.code is ReasonCode.STALLED


def test_a_job_that_goes_on_in_time_keeps_all(run: Run) -> None:
    run.go(100.0, every=10.0)
    run.go(1500.0)
    assert run.job.note.startswith("no iteration for ")
    run.go(30.0, every=10.0)
    assert run.story[-1][1].startswith("goes on after ")
    assert run.job.note == ""
    assert not run.job.best_effort


@pytest.mark.parametrize(
    ("phase", "limit"),
    [
        (Phase.STARTING, LIMITS.first_iteration),
        (Phase.RUNNING, LIMITS.first_iteration),  # no iteration yet
        (Phase.FINISHED, LIMITS.first_iteration),
    ],
)
def test_what_takes_long_before_and_after_the_training_has_its_own_limit(
    run: Run, phase: Phase, limit: float
) -> None:
    assert run.go(1e5, phase) == pytest.approx(limit, abs=20.0)


def test_an_evaluation_that_is_told_may_take_longer(run: Run) -> None:
    run.go(100.0, every=10.0)
    assert run.go(LIMITS.evaluation - 100.0, Phase.EVALUATING) == LIMITS.evaluation - 100.0
    assert not run.ended
    run.go(30.0, every=10.0)
    assert run.go(1e5, Phase.EVALUATING) == pytest.approx(LIMITS.evaluation, abs=20.0)


def test_pauses_that_are_usual_are_awaited(run: Run) -> None:
    """An evaluation of 20 minutes that nobody tells of, then one of 50; and 15 minutes each
    iteration."""
    run.go(100.0, every=10.0)
    run.go(1210.0, every=1200.0)
    run.story.clear()
    run.go(3000.0)
    assert run.story == []
    slow = Run(replace(run.job), Stalls(LIMITS))
    slow.go(20_000.0, every=900.0)
    slow.story.clear()
    slow.go(2000.0)
    assert slow.story == []


def test_no_pause_makes_a_job_wait_without_end(run: Run) -> None:
    run.go(100.0, every=10.0)
    for pause in (1700.0, 4900.0, 7100.0):
        run.go(pause + 10.0, every=pause)
    assert not run.ended
    assert run.go(1e6) <= MOST_PATIENCE * LIMITS.stalled + 20.0


def test_a_job_that_changes_its_word_all_the_time_is_not_believed_for_ever(run: Run) -> None:
    passed = 0.0
    while not run.ended:
        passed += run.go(600.0, Phase.EVALUATING) + run.go(600.0) + run.go(600.0, Phase.STARTING)
    total = LIMITS.first_iteration + LIMITS.stalled + LIMITS.evaluation
    assert passed == pytest.approx(total, abs=20.0)


def test_a_command_that_reports_nothing_loses_its_promise_and_keeps_its_time(run: Run) -> None:
    """By its curve it takes 1000 s on 8 GPUs."""
    run.go(LIMITS.first_iteration + 20.0, None)
    assert not run.ended
    assert run.job.best_effort
    assert run.job.note.endswith("nobody can tell whether it trains, so it has no promise any more")
    assert run.go(1e5, None) == pytest.approx(1500.0, abs=40.0)


def test_a_site_may_wait_for_ever(run: Run) -> None:
    never = StallLimits(math.inf, math.inf, math.inf)
    patient = Run(run.job, Stalls(never))
    patient.go(100.0, every=10.0)
    assert patient.go(100_000.0) == 100_000.0
    assert not patient.ended


def test_a_job_on_its_way_is_not_waited_for(run: Run) -> None:
    run.go(1700.0, every=10.0)
    run.go(1700.0)
    run.job = replace(run.job, state=JobState.STOPPING)
    run.go(1000.0)
    assert not run.ended
    run.job = replace(run.job, state=JobState.RUNNING)
    assert run.go(1e5) == pytest.approx(LIMITS.stalled, abs=20.0)


def test_time_that_nobody_could_see_is_not_held_against_a_job(run: Run) -> None:
    """The clock is set forward, or back, or Slurm does not answer for long."""
    run.go(300.0, every=10.0)
    for step in (3600.0, -3600.0, 86400.0):
        run.stalls.look(run.now)
        run.now += step
        run.stalls.look(run.now)
        assert run.go(300.0) == pytest.approx(300.0)
        run.stalls.look(run.now)
        run.go(10.0, every=10.0)
    assert not run.ended
    run.stalls.look(run.now)
    assert run.go(1e5) == pytest.approx(LIMITS.stalled, abs=20.0)
