"""What the trainings wrote down of their lives, and what is wrong in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OVERLAP_SECONDS = 1.5
"""Two launches of a job that are alive at once for longer were started twice."""
GAP_SECONDS = 2.5
"""A training that says nothing for longer does not train."""


@dataclass(frozen=True)
class Fact:
    """A line of a trace; see `trainer`.

    Args:
        process: host:pid.
        at: s since 1970.
    """

    what: str
    process: str
    generation: int
    iteration: int
    at: float


@dataclass(frozen=True)
class Trace:
    """One job's life as its trainings tell it, in the order of their writing."""

    facts: tuple[Fact, ...]

    @classmethod
    def read(cls, path: Path) -> Trace:
        """A job's file; empty where nothing of it has trained. A torn line is passed over."""
        try:
            lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return cls(())
        return cls(tuple(fact for line in lines if (fact := _fact(line)) is not None))

    @property
    def launches(self) -> int:
        return sum(fact.what == "start" for fact in self.facts)

    @property
    def has_finished(self) -> bool:
        return any(fact.what == "finished" for fact in self.facts)

    def lost_checkpoints(self) -> list[str]:
        """Launches that went on from an older checkpoint than there had been."""
        found, newest = [], 0
        for fact in self.facts:
            if fact.what == "start" and fact.iteration < newest:
                found.append(
                    f"generation {fact.generation} began at {fact.iteration}, "
                    f"and {newest} had been saved"
                )
            if fact.what == "saved":
                newest = max(newest, fact.iteration)
        return found

    def done_twice(self) -> list[str]:
        """Launches that lived at the same time, and launches of a training that had finished."""
        lives: dict[tuple[str, int], tuple[float, float]] = {}
        found, finished = [], None
        for fact in self.facts:
            key = (fact.process, fact.generation)
            begun, _ = lives.get(key, (fact.at, fact.at))
            lives[key] = (begun, fact.at)
            if fact.what == "start" and finished is not None:
                found.append(f"generation {fact.generation} began after {finished} had finished")
            if fact.what == "finished":
                finished = fact.generation
        ordered = sorted(lives.items(), key=lambda item: item[1])
        for number, ((process, generation), (_, end)) in enumerate(ordered):
            for (other, later), (begun, until) in ordered[number + 1 :]:
                both = min(end, until) - begun
                if both > OVERLAP_SECONDS:
                    found.append(
                        f"generation {generation} ({process}) and {later} ({other}) were both "
                        f"alive for {both:.1f} s"
                    )
        return found

    def redone(self) -> int:
        """Iterations that were trained more than once."""
        furthest = again = 0
        for fact in self.facts:
            if fact.what == "start":
                again += max(0, furthest - fact.iteration)
            furthest = max(furthest, fact.iteration)
        return again

    def gaps(self, since: float, until: float) -> list[tuple[float, float, str]]:
        """When it had been started and did not train: from, to, and on which host it had."""
        found, last = [], None
        for fact in self.facts:
            if last is not None and fact.at - last.at > GAP_SECONDS:
                found.append((max(last.at, since), min(fact.at, until), last.process))
            last = fact
        if last is not None and last.what != "finished" and until - last.at > GAP_SECONDS:
            found.append((max(last.at, since), until, last.process))
        return [(a, b, who.partition(":")[0]) for a, b, who in found if b > a]


def _fact(line: str) -> Fact | None:
    match line.split():
        case [what, process, generation, iteration, at]:
            try:
                return Fact(what, process, int(generation), int(iteration), float(at))
            except ValueError:
                return None
    return None
