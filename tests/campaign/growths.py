"""The changes of size while jobs trained: which were begun, which succeeded, and what went on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tests.campaign.ledger import Done
from tests.campaign.stream import Training

JOINED = "joined"
OVER = frozenset({JOINED, "leaving", "ended"})


@dataclass(frozen=True)
class Growth:
    """A companion that was wanted for a job, and what became of it.

    Args:
        began: when it was first seen, s since 1970. By the observer's clock: the daemon's is
            stepped.
        until: when it was first seen to be over; None: it was not.
        note: the daemon's words.
    """

    name: str
    generation: int
    change: int
    began: float
    until: float | None = None
    joined: bool = False
    note: str = ""

    def seen(self, state: str, note: str, at: float) -> Growth:
        """With what one look tells."""
        over = state in OVER
        until = at if over and self.until is None else self.until
        return replace(self, until=until, joined=self.joined or state == JOINED, note=note)


@dataclass(frozen=True)
class Grown:
    """What came of all of them, of one kind of training.

    Args:
        with_fault: of those begun and those that succeeded, how many had any fault in force.
        beside: kind of fault → how often it was in force while one succeeded, while one did not.
        why: the daemon's words on those that did not.
    """

    training: Training
    jobs: int
    begun: int
    succeeded: int
    with_fault: tuple[int, int]
    beside: dict[str, tuple[int, int]]
    why: dict[str, int]


def count(
    trainings: dict[str, Training],
    growths: Iterable[Growth],
    faults: Sequence[Done],
    blur: float,
    now: float,
) -> list[Grown]:
    """What came of them, by kind of training.

    Args:
        trainings: name of each job → how it trains.
        blur: seconds for which nobody may have seen that one had begun.
    """
    found = list(growths)
    return [
        _of_kind(
            kind,
            sum(each is kind for each in trainings.values()),
            [each for each in found if trainings.get(each.name) is kind],
            faults,
            blur,
            now,
        )
        for kind in (Training.HANDS_OVER, Training.LIVE)
    ]


def _of_kind(
    kind: Training,
    jobs: int,
    growths: Sequence[Growth],
    faults: Sequence[Done],
    blur: float,
    now: float,
) -> Grown:
    beside: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    with_fault: Counter[bool] = Counter()
    for each in growths:
        until = now if each.until is None else each.until
        kinds = {f.kind for f in faults if f.overlap(each.began - blur, until) > 0}
        beside[each.joined].update(kinds)
        with_fault[each.joined] += bool(kinds)
    both = {*beside[True], *beside[False]}
    return Grown(
        training=kind,
        jobs=jobs,
        begun=len(growths),
        succeeded=sum(each.joined for each in growths),
        with_fault=(with_fault[True] + with_fault[False], with_fault[True]),
        beside={name: (beside[True][name], beside[False][name]) for name in sorted(both)},
        why=dict(Counter(each.note or "still on its way" for each in growths if not each.joined)),
    )
