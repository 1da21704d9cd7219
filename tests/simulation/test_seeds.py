"""Thousands of lives of the daemon, each with its own cluster, users and faults."""

from __future__ import annotations

import os

import pytest

from tests.simulation.author import story_of
from tests.simulation.faults import ViolationError
from tests.simulation.life import play, quiet
from tests.simulation.story import as_code

SEEDS = 20_000 if os.environ.get("EF_LONG") else 2_000
EACH = 25
"""Seeds of one test: small enough to be shared out among processes."""

# The lines are those that the daemon's other tests run: measured, a life takes three times as long.
pytestmark = pytest.mark.no_cover


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_whatever_happens_what_is_promised_holds(first: int) -> None:
    with quiet():
        for seed in range(first, first + EACH):
            story = story_of(seed)
            try:
                play(story)
            except ViolationError as violation:
                pytest.fail(f"seed {seed}: {violation}\n{as_code(story)}", pytrace=False)


def test_a_seed_is_the_same_life_each_time() -> None:
    for seed in (1, 2, 3):
        assert story_of(seed) == story_of(seed)
        assert play(story_of(seed)) == play(story_of(seed))
