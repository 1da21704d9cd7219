"""What any schedule at all could do, on cases small enough to try every one.

Shares may change whenever a job ends and at the steps of a grid on which jobs arrive and fall due.
A change of share costs its overhead, a change of block alone is free (in favour of brute force),
and the future is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

HAIR = 1e-6
"""Seconds, or iterations' worth of seconds, that rounding may cost."""

Shares = tuple[int, ...]
Work = tuple[float, ...]


@dataclass(frozen=True)
class Case:
    """A job: iterations, (GPUs, iterations/s), and the seconds at which it arrives and is due."""

    iterations: float
    rates: tuple[tuple[int, float], ...]
    arrival: float
    deadline: float

    @cached_property
    def rate_of(self) -> dict[int, float]:
        """Iterations per second by GPUs."""
        return {0: 0.0, **dict(self.rates)}

    @cached_property
    def fastest(self) -> float:
        """The highest rate."""
        return max(rate for _, rate in self.rates)

    @cached_property
    def cheapest(self) -> float:
        """GPU seconds per iteration where that is lowest."""
        return min(gpus / rate for gpus, rate in self.rates)

    @cached_property
    def prices(self) -> tuple[tuple[float, float], ...]:
        """What speed costs at the least, as if sizes could be mixed: (iterations/s more, GPU
        seconds for each further iteration), the cheapest first."""
        found = []
        gpus, rate = 0, 0.0
        while rate < self.fastest:
            more = [((g - gpus) / (r - rate), -r, g) for g, r in self.rates if r > rate]
            price, faster, gpus = min(more)
            found.append((-faster - rate, price))
            rate = -faster
        return tuple(found)

    def least(self, work: float, seconds: float, unpaid: float) -> float:
        """GPU seconds that any schedule needs for so many iterations in so many seconds, of which
        it waits `unpaid`; infinite where none can do it."""
        needed = unpaid * min(self.rates)[0]
        seconds -= unpaid
        for rate, price in self.prices:
            here = min(work, rate * max(0.0, seconds))
            needed += here * price
            work -= here
        return needed if work <= 0 else math.inf


@dataclass(frozen=True)
class Puzzle:
    """Jobs that compete for `gpus`; a grid of `step` seconds; every change costs `overhead`."""

    jobs: tuple[Case, ...]
    gpus: int
    step: float
    overhead: float

    def most(self) -> int:
        """The largest number of jobs that any schedule ends in time."""
        everybody = range(len(self.jobs))
        for count in range(len(self.jobs), 0, -1):
            if any(self.feasible(chosen) for chosen in itertools.combinations(everybody, count)):
                return count
        return 0

    def in_turn(self) -> list[int]:
        """The jobs kept when each in turn is promised if, and only if, any schedule can keep it
        and all promises before it."""
        kept: list[int] = []
        for index in range(len(self.jobs)):
            if self.feasible([*kept, index]):
                kept.append(index)
        return kept

    def feasible(self, chosen: Sequence[int]) -> bool:
        """Whether all the chosen jobs can end in time."""
        key = tuple(sorted(chosen))
        if key not in self._found:
            jobs = [self.jobs[index] for index in key]
            self._found[key] = _Search(self, jobs).ends(
                0.0, tuple(job.iterations for job in jobs), (0,) * len(jobs), (0.0,) * len(jobs)
            )
        return self._found[key]

    @cached_property
    def _found(self) -> dict[tuple[int, ...], bool]:
        """What was searched before: the questions above ask for many sets twice."""
        return {}


class _Search:
    def __init__(self, puzzle: Puzzle, jobs: list[Case]) -> None:
        self.puzzle = puzzle
        self.jobs = jobs
        self.dead: set[tuple[float, Work, Shares, Work]] = set()

    def ends(self, now: float, left: Work, held: Shares, unpaid: Work) -> bool:
        """Whether all can end in time from here; `unpaid` are seconds of overhead to come."""
        if not any(left):
            return True
        # What somebody holds says what a change costs, and nothing else.
        key = (round(now, 6), left, held if self.puzzle.overhead else (), unpaid)
        if key in self.dead or self._hopeless(now, left, held, unpaid):
            return False
        for shares in self._shares(now, left):
            owed = tuple(
                (self.puzzle.overhead if share != was and share else 0.0) if share != was else debt
                for share, was, debt in zip(shares, held, unpaid, strict=True)
            )
            until = self._next(now, left, shares, owed)
            rest = tuple(
                self._rest(job, work, share, until - now - debt)
                for job, work, share, debt in zip(self.jobs, left, shares, owed, strict=True)
            )
            debts = tuple(max(0.0, round(debt - (until - now), 6)) for debt in owed)
            kept = tuple(share if work else 0 for share, work in zip(shares, rest, strict=True))
            if self.ends(until, rest, kept, debts):
                return True
        self.dead.add(key)
        return False

    def _hopeless(self, now: float, left: Work, held: Shares, unpaid: Work) -> bool:
        due = sorted(
            (
                job.deadline,
                job.least(
                    work,
                    job.deadline - max(now, job.arrival) + HAIR,
                    debt if share else self.puzzle.overhead,
                ),
            )
            for job, work, share, debt in zip(self.jobs, left, held, unpaid, strict=True)
            if work
        )
        used = 0.0
        for deadline, gpu_seconds in due:
            used += gpu_seconds
            if used > self.puzzle.gpus * (deadline - now + HAIR):
                return True
        return False

    def _shares(self, now: float, left: Work) -> Iterator[Shares]:
        options = [
            sorted(job.rate_of, reverse=True)
            if work and job.arrival <= now + HAIR and now < job.deadline - HAIR
            else [0]
            for job, work in zip(self.jobs, left, strict=True)
        ]
        for shares in itertools.product(*options):
            spare = self.puzzle.gpus - sum(shares)
            if spare >= 0 and (self.puzzle.overhead or not self._wasteful(shares, options, spare)):
                yield shares

    def _wasteful(self, shares: Shares, options: list[list[int]], spare: int) -> bool:
        """Whether somebody could be faster at nobody's cost; only then without overheads."""
        return any(
            other - share <= spare and job.rate_of[other] > job.rate_of[share]
            for job, share, sizes in zip(self.jobs, shares, options, strict=True)
            for other in sizes
            if other > share
        )

    def _next(self, now: float, left: Work, shares: Shares, owed: Work) -> float:
        """The next grid step or the first end of a job."""
        step = self.puzzle.step
        moments = [step * (int((now + HAIR) / step) + 1)]
        for job, work, share, debt in zip(self.jobs, left, shares, owed, strict=True):
            if share and work:
                moments.append(now + debt + work / job.rate_of[share])
        return min(moments)

    @staticmethod
    def _rest(job: Case, work: float, share: int, seconds: float) -> float:
        if not share or seconds <= 0:
            return work
        rest = work - job.rate_of[share] * seconds
        return 0.0 if rest <= HAIR * job.fastest else round(rest, 6)
