"""What is told of a command that failed."""

import pytest
from mini.process import last_words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no message"),
        ("a\n b \n\n", "b"),
        (
            "ERROR: for ctl  Conflict\nERROR: Encountered errors while bringing up the project.\n",
            "ERROR: for ctl  Conflict",
        ),
        (
            "ERROR: Encountered errors while bringing up the project.",
            "ERROR: Encountered errors while bringing up the project.",
        ),
    ],
)
def test_the_line_that_says_why(text: str, told: str) -> None:
    assert last_words(text) == told
