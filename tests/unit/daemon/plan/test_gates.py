"""What comes of a dependency, for all that may be known of the jobs that it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.plan.gates import Came, Other, gate_of
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import Condition, Dependency, DependencyKind, Gate, GateState

OPEN, UNTIL = GateState.OPEN, GateState.UNTIL
UNKNOWN, NEVER = GateState.UNKNOWN, GateState.NEVER
NOW = 1000.0


def gate(text: str, before: Gate | None = None, now: float = NOW, **others: Other) -> Gate:
    """The gate of a dependency on jobs 1 and 2, `a` and `b`."""
    known = {1: others.get("a"), 2: others.get("b")}

    def of(condition: Condition) -> list[Other]:
        if condition.job_id is None:
            return [one for one in known.values() if one is not None]
        found = known[condition.job_id]
        assert found is not None
        return [found]

    return gate_of(parse_dependency(text), of, now, before)


WAITS = Other("job 1", Came.WAITS)
BEGAN = Other("job 1", Came.BEGAN, began=900.0)
PROMISED = Other("job 1", Came.BEGAN, began=900.0, due=5000.0)
COMPLETE = Other("job 1", Came.COMPLETE, began=100.0, ended=990.0)
FAILED = Other("job 1", Came.ENDED, began=100.0, ended=990.0)
CANCELLED = Other("job 1", Came.ENDED, ended=990.0)
GONE = Other("job 1", Came.GONE)


@pytest.mark.parametrize(
    ("text", "other", "state", "begin"),
    [
        ("after:1", WAITS, UNKNOWN, None),
        ("after:1", Other("job 1", Came.WAITS, due=5000.0), UNTIL, 5000.0),
        ("after:1+10", Other("job 1", Came.WAITS, due=5000.0), UNTIL, 5600.0),
        ("after:1", BEGAN, OPEN, None),
        ("after:1+1", BEGAN, OPEN, None),
        ("after:1+2", BEGAN, UNTIL, 1020.0),
        ("after:1", CANCELLED, OPEN, None),
        ("after:1+1", CANCELLED, UNTIL, 1050.0),
        ("after:1", GONE, OPEN, None),
        ("afterany:1", WAITS, UNKNOWN, None),
        ("afterany:1", BEGAN, UNKNOWN, None),
        ("afterany:1", PROMISED, UNTIL, 5000.0),
        ("afterany:1", COMPLETE, OPEN, None),
        ("afterany:1", FAILED, OPEN, None),
        ("afterany:1", GONE, OPEN, None),
        ("afterok:1", PROMISED, UNTIL, 5000.0),
        ("afterok:1", COMPLETE, OPEN, None),
        ("afterok:1", FAILED, NEVER, None),
        ("afterok:1", CANCELLED, NEVER, None),
        ("afterok:1", GONE, NEVER, None),
        ("afternotok:1", PROMISED, UNKNOWN, None),
        ("afternotok:1", FAILED, OPEN, None),
        ("afternotok:1", COMPLETE, NEVER, None),
        ("afternotok:1", GONE, NEVER, None),
        ("singleton", BEGAN, UNKNOWN, None),
        ("singleton", PROMISED, UNTIL, 5000.0),
    ],
)
def test_one_condition(text: str, other: Other, state: GateState, begin: float | None) -> None:
    found = gate(text, a=other)
    assert (found.state, found.begin) == (state, begin)
    assert bool(found.words) is (state is not OPEN)


def test_a_singleton_without_namesakes_may_begin() -> None:
    assert gate("singleton").state is OPEN


LATER = Other("job 2", Came.BEGAN, began=900.0, due=7000.0)


@pytest.mark.parametrize(
    ("text", "first", "second", "state", "begin"),
    [
        ("afterok:1:2", PROMISED, LATER, UNTIL, 7000.0),
        ("afterok:1?afterok:2", PROMISED, LATER, UNTIL, 5000.0),
        ("afterok:1:2", BEGAN, LATER, UNKNOWN, None),
        ("afterok:1?afterok:2", BEGAN, LATER, UNTIL, 7000.0),
        ("afterok:1:2", FAILED, LATER, NEVER, None),
        ("afterok:1?afterok:2", FAILED, LATER, UNTIL, 7000.0),
        ("afterok:1?afterok:2", COMPLETE, LATER, OPEN, None),
        ("afterok:1:2", COMPLETE, LATER, UNTIL, 7000.0),
        ("afterok:1,afternotok:2", COMPLETE, COMPLETE, NEVER, None),
        ("afterok:1?afternotok:2", FAILED, COMPLETE, NEVER, None),
    ],
)
def test_two_conditions(
    text: str, first: Other, second: Other, state: GateState, begin: float | None
) -> None:
    found = gate(text, a=first, b=second)
    assert (found.state, found.begin) == (state, begin)


def test_what_was_met_stays_met() -> None:
    before = gate("afterok:1:2", a=COMPLETE, b=LATER)
    assert before.met == (0,)
    after = gate("afterok:1:2", before, a=GONE, b=COMPLETE)
    assert after.state is OPEN


def test_what_can_never_be_stays_so() -> None:
    """As in Slurm, where a job that failed is requeued."""
    before = gate("afterok:1", a=FAILED)
    assert gate("afterok:1", before, a=COMPLETE) == before


OTHERS = st.builds(
    Other,
    st.just("job 1"),
    st.sampled_from(Came),
    st.none() | st.floats(0.0, NOW),
    st.none() | st.floats(0.0, NOW),
    st.none() | st.floats(NOW, 1e6),
)
KINDS = st.sampled_from([kind for kind in DependencyKind if kind is not DependencyKind.SINGLETON])


@given(st.lists(st.tuples(KINDS, OTHERS), min_size=1, max_size=5), st.booleans())
def test_never_opened_by_anything_but_all_or_any(
    wanted: list[tuple[DependencyKind, Other]], any_of: bool
) -> None:
    """The whole is what the single conditions are, joined."""
    conditions = tuple(Condition(kind, place + 1) for place, (kind, _) in enumerate(wanted))

    def of(condition: Condition) -> list[Other]:
        assert condition.job_id is not None
        return [wanted[condition.job_id - 1][1]]

    single = [gate_of(Dependency((one,)), of, NOW) for one in conditions]
    whole = gate_of(Dependency(conditions, any_of), of, NOW)
    states = {one.state for one in single}
    decides, other = (OPEN, NEVER) if any_of else (NEVER, OPEN)
    if decides in states:
        assert whole.state is decides
    elif states == {other}:
        assert whole.state is other
    else:
        assert whole.state in (UNTIL, UNKNOWN)
        begins = [one.begin for one in single if one.state in (UNTIL, UNKNOWN)]
        known = [one for one in begins if one is not None]
        if whole.state is UNTIL:
            assert whole.begin == (min(known) if any_of else max(known))
        else:
            assert not known if any_of else None in begins
