"""What comes of a dependency, by what is known of the jobs that it names. Pure.

A promise counts on what was promised to others: a job that is to begin when another one has ended
may begin when that one is due, not when the latest plan happens to end it, for a later plan may use
all the time until then. Where the other one has no promise, nobody can say when.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ef_slurm.model import Condition, Dependency, DependencyKind, Gate, GateState


class Came(enum.Enum):
    """How far another job has come."""

    WAITS = "waits"
    BEGAN = "began"
    COMPLETE = "complete"
    ENDED = "ended"  # otherwise
    GONE = "gone"  # nobody knows it any more


@dataclass(frozen=True, slots=True)
class Other:
    """What is known of a job that is waited for.

    Args:
        name: what people call it.
        came: how far it has come.
        began, ended: when, UTC epoch seconds; None where it has not, or nobody knows.
        due: when it will have ended, by what was promised; None without a promise.
    """

    name: str
    came: Came
    began: float | None = None
    ended: float | None = None
    due: float | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What comes of one condition."""

    state: GateState
    begin: float | None = None
    words: str = ""


_TO = {
    DependencyKind.AFTER: "begin",
    DependencyKind.AFTER_ANY: "end",
    DependencyKind.AFTER_OK: "complete",
    DependencyKind.AFTER_NOT_OK: "fail",
}


def gate_of(
    dependency: Dependency,
    others: Callable[[Condition], Sequence[Other]],
    now: float,
    before: Gate | None = None,
) -> Gate:
    """Whether a job may begin.

    Args:
        others: the jobs that a condition is about.
        now: the present, UTC epoch seconds.
        before: what had come of it when it was last looked at. What was met stays met, and what
            can never be stays so, as in Slurm.
    """
    if before is not None and before.state in (GateState.OPEN, GateState.NEVER):
        return before
    met = set(() if before is None else before.met)
    answers: list[_Answer] = []
    for place, condition in enumerate(dependency.conditions):
        if place in met:
            continue
        answer = _answer(condition, others(condition), now)
        if answer.state is GateState.OPEN:
            met.add(place)
        else:
            answers.append(answer)
    places = tuple(sorted(met))
    if not answers or (met and dependency.any_of):
        return Gate(GateState.OPEN, met=places)
    never = [answer for answer in answers if answer.state is GateState.NEVER]
    if never and (not dependency.any_of or len(never) == len(answers)):
        return Gate(GateState.NEVER, None, "; ".join(one.words for one in never), places)
    left = [answer for answer in answers if answer.state is not GateState.NEVER]
    joined = " or " if dependency.any_of else " and "
    words = "waits for " + joined.join(one.words for one in left)
    moments = [one.begin for one in left if one.begin is not None]
    known = bool(moments) if dependency.any_of else len(moments) == len(left)
    if not known:
        return Gate(GateState.UNKNOWN, None, words, places)
    begin = min(moments) if dependency.any_of else max(moments)
    return Gate(GateState.UNTIL, begin, words, places)


def _answer(condition: Condition, others: Sequence[Other], now: float) -> _Answer:
    if condition.kind is DependencyKind.SINGLETON:
        return _singleton(others)
    (other,) = others
    words = f"{other.name} to {_TO[condition.kind]}"
    match condition.kind, other.came:
        case DependencyKind.AFTER, Came.WAITS:
            return _waiting(_later(other.due, condition), words)
        case DependencyKind.AFTER, _:
            at = other.began if other.began is not None else other.ended
            begin = None if at is None else _later(at, condition)
            if begin is None or begin <= now:
                return _Answer(GateState.OPEN)
            minutes = f"{condition.minutes} minutes from the start of {other.name}"
            return _Answer(GateState.UNTIL, begin, minutes)
        case DependencyKind.AFTER_ANY, Came.COMPLETE | Came.ENDED | Came.GONE:
            return _Answer(GateState.OPEN)
        case DependencyKind.AFTER_OK, Came.COMPLETE:
            return _Answer(GateState.OPEN)
        case DependencyKind.AFTER_NOT_OK, Came.ENDED:
            return _Answer(GateState.OPEN)
        case _, Came.COMPLETE:
            return _Answer(GateState.NEVER, None, f"{other.name} is complete, and was to fail")
        case _, Came.ENDED:
            return _Answer(GateState.NEVER, None, f"{other.name} has ended without being complete")
        case _, Came.GONE:
            gone = f"nobody knows any more how {other.name} has ended"
            return _Answer(GateState.NEVER, None, gone)
        case DependencyKind.AFTER_NOT_OK, _:
            return _waiting(None, words)  # nobody has promised that it fails
        case _:
            return _waiting(other.due, words)


def _waiting(begin: float | None, words: str) -> _Answer:
    return _Answer(GateState.UNKNOWN if begin is None else GateState.UNTIL, begin, words)


def _later(at: float | None, condition: Condition) -> float | None:
    return None if at is None else at + 60.0 * condition.minutes


def _singleton(others: Sequence[Other]) -> _Answer:
    """The others are those that go on."""
    if not others:
        return _Answer(GateState.OPEN)
    dues = [other.due for other in others]
    due = None if None in dues else max(one for one in dues if one is not None)
    names = [other.name for other in others]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return _waiting(due, f"{names[0]}{more} of the same name to end")
