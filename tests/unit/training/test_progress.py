"""Reports: at once when the phase changes, at most once per second otherwise."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.contract import Phase, Progress, StateDir
from ef_slurm.training.progress import Reporter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_rate_limit_and_rate(tmp_path: Path) -> None:
    clock, state = Clock(), StateDir(tmp_path)
    reporter = Reporter(state, 3, 4, clock, steady=clock)
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
    reporter = Reporter(state, 1, 1, clock, steady=clock)
    iteration = 0
    for second in range(60):
        clock.now += 1
        iteration += 10 if second < 30 else 20
        reporter.iterate(iteration, None)
    assert reporter.progress.iterations_per_second == pytest.approx(20)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set_keeps_no_report_back_and_changes_no_rate(
    tmp_path: Path, step: float
) -> None:
    """The daemon would take an hour without a report for an hour without an iteration."""
    clock, steady, state = Clock(), Clock(), StateDir(tmp_path)
    clock.now = 1e6
    reporter = Reporter(state, 1, 1, clock, steady=steady)
    for second in range(20):
        clock.now += 1 + (step if second == 12 else 0)
        steady.now += 1
        reporter.iterate(10 * second, None)
        progress = state.read_progress()
        assert progress is not None
        assert progress.iteration == 10 * second
        assert progress.updated_at == clock.now
        if second > 1:
            assert progress.iterations_per_second == pytest.approx(10)


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
    reporter = Reporter(StateDir(tmp_path), 1, 1, clock, steady=clock)
    for tenth in range(30):
        clock.now += 0.1
        reporter.enter(Phase.EVALUATING)
        reporter.enter(Phase.RUNNING)
        reporter.iterate(tenth, clock.now)
    assert reporter.progress.iteration >= 19


STOPPED = Progress(1, Phase.STOPPED, 4, 100, 50.0, 10.0, first_iteration_at=20.0, trained_until=5.0)


@pytest.mark.parametrize(
    ("before", "until"),
    [
        (replace(STOPPED, last_iteration_at=49.0), 49.0),
        # It died, and nobody knows when.
        (STOPPED, None),
        (replace(STOPPED, phase=Phase.RUNNING), None),
        # It came to nothing: the one before it counts.
        (replace(STOPPED, phase=Phase.FAILED, first_iteration_at=None), 5.0),
        # The script has a second session in one launch.
        (replace(STOPPED, generation=2, last_iteration_at=49.0), 49.0),
        # Somebody else's, of a later launch.
        (replace(STOPPED, generation=3, last_iteration_at=49.0), None),
    ],
)
def test_a_launch_knows_until_when_the_one_before_it_trained(
    tmp_path: Path, before: Progress, until: float | None
) -> None:
    state = StateDir(tmp_path)
    state.write_progress(before)
    reporter = Reporter(state, 2, 1, Clock())
    reporter.enter(Phase.RUNNING)
    told = state.read_progress()
    assert told is not None
    assert told.trained_until == until


@pytest.mark.parametrize("text", ["", "{", '{"version": 1, "generation": NaN}', "[]", "\0" * 99999])
def test_a_launch_before_it_that_wrote_anything_is_nothing(tmp_path: Path, text: str) -> None:
    StateDir(tmp_path).progress_file.write_text(text)
    assert Reporter(StateDir(tmp_path), 2, 1, Clock()).progress.trained_until is None


def test_no_report_where_a_file_should_be(tmp_path: Path) -> None:
    StateDir(tmp_path).progress_file.mkdir()
    assert Reporter(StateDir(tmp_path), 2, 1, Clock()).progress.trained_until is None
