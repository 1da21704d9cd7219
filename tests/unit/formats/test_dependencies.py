"""Dependencies as sbatch writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.dependencies import (
    DependencyError,
    format_dependency,
    parse_dependency,
)
from ef_slurm.model import Condition, Dependency, DependencyKind

OK, ANY, NOT_OK = DependencyKind.AFTER_OK, DependencyKind.AFTER_ANY, DependencyKind.AFTER_NOT_OK
AFTER, SINGLETON = DependencyKind.AFTER, DependencyKind.SINGLETON


@pytest.mark.parametrize(
    ("text", "conditions", "any_of"),
    [
        ("afterok:12", [Condition(OK, 12)], False),
        ("afterok:12:13", [Condition(OK, 12), Condition(OK, 13)], False),
        ("afterok:12,afterany:13", [Condition(OK, 12), Condition(ANY, 13)], False),
        ("afterok:12?afternotok:13", [Condition(OK, 12), Condition(NOT_OK, 13)], True),
        ("after:12+5:13", [Condition(AFTER, 12, 5), Condition(AFTER, 13)], False),
        ("after:12+0", [Condition(AFTER, 12)], False),
        ("singleton", [Condition(SINGLETON)], False),
        ("AfterOK:12 , singleton", [Condition(OK, 12), Condition(SINGLETON)], False),
        ("afterok:12:12", [Condition(OK, 12)], False),
        ("", [], False),
        ("none", [], False),
        ("(null)", [], False),
    ],
)
def test_what_sbatch_takes(text: str, conditions: list[Condition], any_of: bool) -> None:
    assert parse_dependency(text) == Dependency(tuple(conditions), any_of)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12", "give afterok:12, or afterany:12"),
        ("afterok", "of which job"),
        ("afterok:", "is no job id"),
        ("afterok:x", "'x' is no job id"),
        ("afterok:0", "'0' is no job id"),
        ("afterok:-1", "is no job id"),
        ("afterok:12+5", "only after:JOB"),
        ("after:12+x", "is no job id"),
        ("afterok:12,afterok:13?afterok:14", "not both"),
        ("afterok:12,,afterok:13", "expected after, afterany"),
        ("aftercorr:12", "two arrays"),
        ("expand:12", "GPUs of a job itself"),
        ("afterburstbuffer:12", "burst buffers"),
        ("singleton:12", "names no job"),
        ("before:12", "expected after"),
        (",".join(f"afterok:{n}" for n in range(1, 102)), "100 at most"),
    ],
)
def test_what_nobody_understands(text: str, words: str) -> None:
    with pytest.raises(DependencyError, match=words):
        parse_dependency(text)


CONDITIONS = st.one_of(
    st.builds(Condition, st.sampled_from([OK, ANY, NOT_OK]), st.integers(1, 2**32 - 1)),
    st.builds(Condition, st.just(AFTER), st.integers(1, 2**32 - 1), st.integers(0, 9999)),
    st.just(Condition(SINGLETON)),
)


@given(st.lists(CONDITIONS, unique=True, max_size=9), st.booleans())
def test_what_is_written_is_read_again(conditions: list[Condition], any_of: bool) -> None:
    any_of = any_of and len(conditions) > 1
    dependency = Dependency(tuple(conditions), any_of)
    assert parse_dependency(format_dependency(dependency)) == dependency
