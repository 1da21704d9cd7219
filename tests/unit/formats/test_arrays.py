"""Numbers of arrays, and jobs by their names, as Slurm's commands take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.arrays import (
    ArrayError,
    JobName,
    Tasks,
    format_tasks,
    parse_job_name,
    parse_tasks,
    split_job_names,
)


@pytest.mark.parametrize(
    ("text", "numbers", "most"),
    [
        ("0-3", (0, 1, 2, 3), 0),
        ("5", (5,), 0),
        ("1,3,5-9:2", (1, 3, 5, 7, 9), 0),
        ("0-9%4", tuple(range(10)), 4),
        ("3,1,1-2%1", (1, 2, 3), 1),
        ("0-9:20", (0,), 0),
        (" 1 , 2 ", (1, 2), 0),
    ],
)
def test_what_sbatch_takes(text: str, numbers: tuple[int, ...], most: int) -> None:
    assert parse_tasks(text) == Tasks(numbers, most)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no task"),
        ("x", "'x' is no task"),
        ("1-", "is no task"),
        ("-1", "is no task"),
        ("3-1", "runs backwards"),
        ("0-9:0", "has no step"),
        ("0-9%0", "after % a number of 1 or more"),
        ("0-9%", "after % a number"),
        ("0-9%x", "after % a number"),
        ("0-1000", "1000 tasks at most"),
        ("0-99999999", "is no task"),
        ("0-600,1000-1600", "1000 at most"),
        ("9999999", "up to number"),
    ],
)
def test_what_is_no_array(text: str, words: str) -> None:
    with pytest.raises(ArrayError, match=words):
        parse_tasks(text)


@pytest.mark.parametrize(
    ("text", "step"), [("0-9:2", 2), ("1,4,7", 3), ("0-3", 1), ("1,2,4", 1), ("7", 1)]
)
def test_the_step(text: str, step: int) -> None:
    assert parse_tasks(text).step == step


@given(st.sets(st.integers(0, 2000), min_size=1, max_size=50))
def test_what_is_written_is_read_again(numbers: set[int]) -> None:
    assert parse_tasks(format_tasks(numbers)).numbers == tuple(sorted(numbers))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("12", JobName(12)),
        ("12_3", JobName(12, frozenset({3}))),
        ("12_[0-2,7]", JobName(12, frozenset({0, 1, 2, 7}))),
        ("12_[0-2%4]", JobName(12, frozenset({0, 1, 2}))),
    ],
)
def test_a_job_by_its_name(text: str, name: JobName) -> None:
    assert parse_job_name(text) == name


@pytest.mark.parametrize("text", ["", "0", "x", "12_", "12_x", "12_[]", "12_[3-1]", "1.2", "-4"])
def test_what_is_no_job(text: str) -> None:
    with pytest.raises(ArrayError):
        parse_job_name(text)


def test_commas_in_brackets_separate_no_jobs() -> None:
    assert split_job_names("1,2_[0,4-5],3") == ["1", "2_[0,4-5]", "3"]
