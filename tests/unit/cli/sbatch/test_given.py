"""Command lines with what is wrong in them: read to the end, whatever the words are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.given import read_words

WORDS = st.sampled_from(
    ["--nothing", "--nothing=1", "-", "--", "---", "-=", "-N", "-Zx", "", "18:00", "--soft", "a.py"]
)


@pytest.mark.timeout(20)
@given(st.lists(WORDS | st.text(max_size=5), max_size=8))
def test_every_command_line_is_read_to_its_end(words: list[str]) -> None:
    problems = Problems()
    parsed, rest = read_words(words, problems)
    assert len(parsed) + len(rest) <= 5 * len(words)
    assert rest == words[len(words) - len(rest) :]


def test_options_behind_what_may_be_the_value_of_a_wrong_one_are_read() -> None:
    parsed, rest = read_words(["--nothing", "value", "--soft", "nowhere.py"], Problems())
    assert ([one.option.name for one in parsed], rest) == (["soft"], ["nowhere.py"])


@pytest.mark.timeout(20)
def test_standard_input_is_no_option() -> None:
    assert read_words(["--nothing", "-"], Problems())[1] == ["-"]
    assert read_words(["--nothing", "-", "--soft"], Problems())[1] == []
