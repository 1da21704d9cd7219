"""Tests that failed beside others run once more, alone: a busy machine fails some that are right.

What passes only then does not fail the checks, and is named in their summary.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST = 5
"""So many failures may be the machine's; more are somebody's fault, and stay failures."""
TESTS_FAILED = 1
"""pytest's exit code for it. Others say that it was interrupted, or could not collect."""


@dataclass(frozen=True)
class Ended:
    """How a part of the checks ended.

    Attributes:
        code: its exit code.
        late: the tests that passed only at the second try.
        seconds: it took, if not from when it was waited for to its end.
    """

    code: int
    late: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class FirstTry:
    """A run of pytest whose failures may be tried again.

    Args:
        directory: an empty one, for what pytest remembers of it.
    """

    directory: Path

    @property
    def options(self) -> list[str]:
        """What pytest has to be told to remember its failures there."""
        return ["-o", f"cache_dir={self.directory / 'cache'}"]

    def failed(self) -> tuple[str, ...]:
        """The tests that failed; of a file that could not be collected, the file."""
        remembered = self.directory / "cache" / "v" / "cache" / "lastfailed"
        if not remembered.exists():
            return ()
        return tuple(sorted(json.loads(remembered.read_text(encoding="utf-8"))))

    def ended(self, code: int, again: Callable[[list[str]], int]) -> Ended:
        """How the part ends, when the tests that failed were run once more if they may be.

        Args:
            code: the exit code of the first run.
            again: runs pytest on the same tests, with these options and nothing beside them; its
                exit code.
        """
        failed = self.failed()
        if code != TESTS_FAILED or not 0 < len(failed) <= MOST:
            return Ended(code)
        report = self.directory / "again.xml"
        options = [*self.options, "--last-failed", "--last-failed-no-failures=none"]
        if again([*options, f"--junitxml={report}"]) or not _all_passed(report, len(failed)):
            return Ended(code)
        return Ended(0, failed)


def _all_passed(report: Path, number: int) -> bool:
    """Whether so many tests passed in a run without failures.

    pytest also counts as skipped a file that skips itself, as where pyslurm is not installed, and
    comes upon such files when what failed is in a class.
    """
    suite = re.search(r"<testsuite [^>]*>", report.read_text(encoding="utf-8"))
    counts = dict(re.findall(r' (skipped|tests)="(\d+)"', suite[0])) if suite else {}
    return len(counts) == 2 and int(counts["tests"]) - int(counts["skipped"]) == number
