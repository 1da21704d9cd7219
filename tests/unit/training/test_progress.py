"""Reports: at once when the phase changes, at most once per second otherwise."""

import logging
from pathlib import Path

import pytest

from ef_slurm.contract import Phase, StateDir
from ef_slurm.training.progress import Reporter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_rate_limit_and_rate(tmp_path: Path) -> None:
    clock, state = Clock(), StateDir(tmp_path)
    reporter = Reporter(state, 3, 4, clock)
    reporter.enter(Phase.RUNNING, iteration=100)
    for tick in range(1, 41):  # 4 s at 50 iterations/s
        clock.now = 1000.0 + tick / 10
        reporter.iterate(100 + 5 * tick, 1000.02)
        progress = state.read_progress()
        assert progress is not None
        assert clock.now - progress.updated_at < 1.0
    assert progress is not None
    assert progress.generation == 3
    assert progress.phase is Phase.RUNNING
    assert progress.iteration == 300
    assert progress.iterations_per_second == pytest.approx(50)
    assert progress.first_iteration_at == 1000.02


def test_rate_follows_a_change_within_the_window(tmp_path: Path) -> None:
    clock, state = Clock(), StateDir(tmp_path)
    reporter = Reporter(state, 1, 1, clock)
    iteration = 0
    for second in range(60):
        clock.now += 1
        iteration += 10 if second < 30 else 20
        reporter.iterate(iteration, None)
    assert reporter.progress.iterations_per_second == pytest.approx(20)


def test_phases_are_written_at_once(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    reporter = Reporter(state, 1, 1, Clock())
    for phase in Phase:
        reporter.enter(phase)
        progress = state.read_progress()
        assert progress is not None
        assert progress.phase is phase


def test_unwritable_is_a_warning_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reporter = Reporter(StateDir(tmp_path / "gone"), 1, 1, Clock())
    with caplog.at_level(logging.WARNING):
        reporter.note(iteration=1)
        reporter.note(iteration=2)
    assert caplog.text.count("progress is not reported") == 1


def test_evaluations_do_not_keep_iterations_from_being_reported(tmp_path: Path) -> None:
    clock = Clock()
    reporter = Reporter(StateDir(tmp_path), 1, 1, clock)
    for tenth in range(30):
        clock.now += 0.1
        reporter.enter(Phase.EVALUATING)
        reporter.enter(Phase.RUNNING)
        reporter.iterate(tenth, clock.now)
    assert reporter.progress.iteration >= 19
