"""`python -m tests.simulation`: many lives, or one looked at closely."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

from tests.simulation.author import story_of
from tests.simulation.faults import ViolationError
from tests.simulation.life import begun, play, quiet
from tests.simulation.shrink import shrunk
from tests.simulation.story import as_code

CHUNK = 50
"""Seeds between two signs of life."""


def main() -> int:
    """Run the command; 1 where a seed fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument(
        "--log", type=Path, help="write what is done here; what is there already is not done again"
    )
    parser.add_argument("--show", type=int, metavar="SEED", help="play one seed and tell its story")
    parser.add_argument("--shorten", type=int, metavar="SEED", help="find the shortest story")
    options = parser.parse_args()
    if options.show is not None:
        return _show(options.show)
    if options.shorten is not None:
        print(as_code(shrunk(story_of(options.shorten))))
        return 0
    return _many(options.first, options.seeds, options.jobs, options.log)


def _many(first: int, count: int, jobs: int, log: Path | None) -> int:
    chunks = [(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    failed = dict(_known(log)) if log is not None else {}
    left = [chunk for chunk in chunks if chunk not in failed]
    began, done, steps = time.monotonic(), 0, 0
    failures = [line for lines in failed.values() for line in lines]
    for line in failures:
        print(line)
    with Pool(jobs, maxtasksperchild=20) as pool:
        for (start, end), played, lines in pool.imap_unordered(_chunk, left):
            done, steps = done + end - start, steps + played
            failures += lines
            for line in lines:
                print(line, flush=True)
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in [f"{start} {end}", *lines]))
            seconds = time.monotonic() - began
            told = f"{done} seeds, {steps} steps, {len(failures)} failed, {seconds:.0f} s"
            print(told, file=sys.stderr, flush=True)
    print(f"{count} seeds from {first} on: {len(failures)} failed")
    return 1 if failures else 0


def _known(log: Path) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """What a log says was done: (first, last) and the lines about what failed."""
    if not log.exists():
        return
    chunk: tuple[int, int] | None = None
    lines: list[str] = []
    for line in log.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) == 2 and all(word.isdecimal() for word in words):
            if chunk is not None:
                yield chunk, lines
            chunk, lines = (int(words[0]), int(words[1])), []
        else:
            lines.append(line)
    if chunk is not None:
        yield chunk, lines


def _chunk(chunk: tuple[int, int]) -> tuple[tuple[int, int], int, list[str]]:
    """Play some seeds: how many steps, and a line for each that failed."""
    steps, lines = 0, []
    with quiet():
        for seed in range(*chunk):
            try:
                steps += play(story_of(seed))
            except ViolationError as violation:
                lines.append(f"seed {seed}: {' '.join(str(violation).split())[:300]}")
            except Exception as error:  # of the simulation itself: the others are to be played
                lines.append(f"seed {seed}: {error!r}")
    return chunk, steps, lines


def _show(seed: int) -> int:
    story = story_of(seed)
    print(as_code(story))
    with begun(story) as life:
        try:
            life.play()
        except ViolationError as violation:
            wrong = f"{life.site.clock.now - life.began:.2f} s: {violation}"
        else:
            wrong = ""
        asked = "SELECT at, job_id, kind, message FROM events ORDER BY id"
        for row in life.site.record._database.query(asked):
            at = row["at"] - life.began
            print(f"{at:9.2f} job {row['job_id'] or '-'} {row['kind']}: {row['message']}")
    print(wrong or f"{life.steps} steps: all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
