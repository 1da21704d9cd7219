"""What seeds have found, each shortened to the events that it takes.

The names say what went wrong in the daemon before it was mended.
"""

from __future__ import annotations

import pytest

from tests.simulation.life import play
from tests.simulation.story import Behaviour, Event, Story, Submitted, What

FOUND: dict[str, Story] = {
    # Refused for its deadline while it started, with the release still written down as under way.
    "an ended job had something on its way": Story(
        events=(
            Event(
                46.1,
                What.SUBMIT,
                job=Submitted(iterations=2700, deadline=151.8, told=False, begin=114.4),
            ),
        )
    ),
    # All its iterations done, and its curve not known: no plan could be made with it.
    "who says that it is done could not be measured": Story(
        events=(
            Event(
                181.7,
                What.SUBMIT,
                job=Submitted(
                    iterations=2500,
                    deadline=271.3,
                    known=False,
                    behaviour=Behaviour.SAYS_DONE,
                ),
            ),
        ),
        gpus_per_node=1,
    ),
    # Its order could not be written, was tried again at once, and again.
    "the daemon tried without a pause what the disk refused": Story(
        events=(
            Event(58.9, What.ORDERS_FAIL, number=6, amount=118.5),
            Event(59.0, What.SUBMIT, job=Submitted(iterations=1600, known=False, members=2)),
            Event(64.8, What.SUBMIT, job=Submitted(iterations=3600, deadline=279.0)),
            Event(76.8, What.CHANGES_ITERATIONS, number=4, amount=0.5),
        ),
        nodes=2,
        types=2,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_does_not_come_back(name: str) -> None:
    play(FOUND[name])
