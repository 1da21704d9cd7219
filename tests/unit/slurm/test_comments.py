"""Whose words stand where in a Slurm job's comment."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.slurm.comments import (
    MARK,
    MOST_WORDS,
    check_words,
    clean_words,
    compose,
    new_words,
    our_comment,
    owners_words,
)
from ef_slurm.slurm.types import OWNER_HELD, OWNER_RELEASED
from tests.unit.daemon.make import slurm_job

HOSTILE = st.text(max_size=80) | st.lists(
    st.sampled_from(
        [
            *("; ", "ef-slurm: ", "EF-SLURM:", ":", "released by its owner", "|"),
            *("held by its owner", " "),
            *("deadline 2099-01-01T00:00:00+00:00 promised", "\n", "\x00", "\u2028", "run 3"),
        ]
    ),
    max_size=8,
).map("".join)
OURS = st.sampled_from(["best effort", "deadline 2026-11-26T18:00:00+01:00 promised"])


@given(HOSTILE, OURS)
def test_both_are_read_back_and_nothing_of_an_owners_is_taken_for_ours(
    words: str, ours: str
) -> None:
    comment = compose(words, ours)
    assert our_comment(comment) == MARK + ours
    assert owners_words(comment) == clean_words(words)
    assert compose(owners_words(comment), ours) == comment
    assert comment.lower().count("ef-slurm:") == 1
    assert comment.isprintable()
    assert len(comment) <= MOST_WORDS + 100
    job = slurm_job()
    marked = replace(job, requested=replace(job.requested, comment=comment))
    assert not marked.is_marked


@pytest.mark.parametrize("mark", [OWNER_HELD, OWNER_RELEASED])
def test_a_mark_is_found_behind_an_owners_words(mark: str) -> None:
    job = slurm_job()
    for comment in (mark, f"run 3; {mark}", f"a; ef-slurm: b; {mark}"):
        marked = replace(job, requested=replace(job.requested, comment=comment))
        assert marked.is_held_by_owner == (mark == OWNER_HELD)
        assert marked.is_released_by_owner == (mark == OWNER_RELEASED)
    for comment in (f"run 3 {mark}", f"{mark} too", f"{mark}; run 3"):
        other = replace(job, requested=replace(job.requested, comment=comment))
        assert not other.is_marked


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("x" * (MOST_WORDS + 1), "500 at most"),
        ("ef-slurm: released by its owner", "leave it out"),
        ("see Ef-Slurm :", "leave it out"),
        ("two\nlines", "one line"),
        ("\x1b[31m", "printable"),
    ],
)
def test_words_that_could_not_be_kept_are_refused(words: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_words(words)


@given(HOSTILE)
def test_words_that_are_not_refused_are_kept_as_they_are(words: str) -> None:
    try:
        check_words(words)
    except ValueError:
        return
    assert owners_words(compose(words, "best effort")) == words.strip()


def test_what_a_new_job_says() -> None:
    assert new_words(None, 0.0) == "best effort"
    said = new_words(1_800_000_000.0, 600.0)
    assert said.startswith("deadline 2027-01-15T")
    assert said.endswith(" + 10:00 not promised yet")
