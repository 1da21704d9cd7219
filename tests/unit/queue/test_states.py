"""The table of transitions."""

import pytest

from ef_slurm.model import ACTIVE, FINAL, IntentState, JobState, Standing, standing
from ef_slurm.queue.transitions import INTENT_TRANSITIONS, TRANSITIONS


def test_every_state_has_its_line() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert set(INTENT_TRANSITIONS) == set(IntentState)


def test_no_state_follows_itself() -> None:
    assert all(state not in followers for state, followers in TRANSITIONS.items())


@pytest.mark.parametrize("state", [state for state in JobState if state in ACTIVE])
def test_whatever_goes_on_can_end(state: JobState) -> None:
    assert {JobState.CANCELLED, JobState.FAILED, JobState.LOST} <= TRANSITIONS[state]


def test_all_states_are_reachable() -> None:
    reached = {JobState.NEW}
    while True:
        more = {after for before in reached for after in TRANSITIONS[before]} - reached
        if not more:
            break
        reached |= more
    assert reached == set(JobState)


@pytest.mark.parametrize("state", [state for state in JobState if state in FINAL])
def test_an_end_is_the_end(state: JobState) -> None:
    if state is not JobState.LOST:
        assert not TRANSITIONS[state]


def test_standing() -> None:
    assert standing(JobState.NEW) is Standing.NEW
    assert standing(JobState.WAITLISTED) is Standing.WAITLISTED
    assert standing(JobState.RUNNING) is Standing.ADMITTED
