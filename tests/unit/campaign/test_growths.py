"""The campaign counts the changes of size while jobs trained, and what was in force beside them."""

from __future__ import annotations

from tests.campaign.growths import Growth, count
from tests.campaign.ledger import Done
from tests.campaign.stream import Training, training_of

TRAININGS = {"c1": Training.HANDS_OVER, "c2": Training.PACED, "c4": Training.LIVE}


def test_every_third_job_can_change_its_size_and_most_hand_over() -> None:
    found = [training_of(number) for number in range(1, 25)]
    counts = {kind: found.count(kind) for kind in Training}
    assert counts == {Training.PACED: 16, Training.HANDS_OVER: 6, Training.LIVE: 2}


def test_one_that_joined_has_succeeded_whatever_comes_after() -> None:
    growth = Growth("c1", 1, 1, 100.0)
    for state, at in (("wanted", 100.0), ("joined", 110.0), ("ended", 150.0)):
        growth = growth.seen(state, "", at)
    assert (growth.joined, growth.until) == (True, 110.0)


def test_what_came_to_nothing_is_told_with_the_faults_beside_it() -> None:
    growths = [
        Growth("c1", 1, 1, 100.0).seen("joined", "", 110.0),
        Growth("c1", 2, 1, 200.0).seen("ended", "launch 2 is over", 220.0),
        Growth("c4", 1, 1, 300.0),
    ]
    faults = [
        Done("node killed", "n1", 205.0, 208.0),
        Done("munged paused", "n2", 96.0, 97.0),
        Done("munged paused", "n2", 50.0, 53.0),
        Done("munged paused", "n2", 210.0, 211.0),
    ]
    over, live = count(TRAININGS, growths, faults, blur=6.0, now=400.0)
    assert (over.jobs, over.begun, over.succeeded, over.with_fault) == (1, 2, 1, (2, 1))
    assert over.beside == {"munged paused": (1, 1), "node killed": (0, 1)}
    assert over.why == {"launch 2 is over": 1}
    assert (live.jobs, live.begun, live.succeeded, live.with_fault) == (1, 1, 0, (0, 0))
    assert live.why == {"still on its way": 1}
