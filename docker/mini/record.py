"""What a run of the tests was: on which Slurm, when, of which commit, and how it ended.

`minislurm test` prints it in one line and keeps it; `minislurm versions` makes docs/versions.md of
such lines, its own or those in CI's output.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from mini.process import run, say
from mini.settings import CHECKOUT, SUITES, Cluster, UserError, state_root

TALLY = "MINISLURM_TALLY"
"""Variable with the file to which each pytest of a run adds a line (`tests/conftest.py`)."""
EVERYTHING = "everything"
DOCUMENT = CHECKOUT / "docs" / "versions.md"
DATA = CHECKOUT / "docs" / "versions.json"
_MARK = "record of the tests: "
_ENGINES = {"docker": "containers", "native": "plain processes"}


@dataclass(frozen=True)
class Run:
    """A run of the cluster tests on one Slurm.

    Attributes:
        suite: Debian's release, of which the Slurm is.
        engine: the mini-Slurm's.
        when: the day, UTC.
        commit: of ef-slurm; ends in "+" where files had been changed since.
        what: "everything", or pytest's arguments; "EF_LONG=1" before it, where that was set.
        passed, failed, skipped: cluster tests; one that passed at its second try counts as passed.
    """

    suite: str
    engine: str
    when: str
    commit: str
    what: str
    passed: int
    failed: int
    skipped: int

    @property
    def line(self) -> str:
        """As it is printed."""
        return _MARK + json.dumps(asdict(self))


def read(line: str) -> Run | None:
    """The run that a line of output tells of, if it does."""
    _, found, text = line.partition(_MARK)
    if not found:
        return None
    try:
        values = json.loads(text)
        one = Run(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"not a record of the tests: {text.strip()!r}: {error}") from None
    wrong = [f.name for f in fields(Run) if type(getattr(one, f.name)).__name__ != f.type]
    if wrong or one.suite not in SUITES or one.engine not in _ENGINES:
        raise UserError(f"not a record of the tests: {text.strip()!r}: {', '.join(wrong)}")
    return one


@contextmanager
def recording(arguments: Sequence[str]) -> Iterator[None]:
    """Print and keep a record of what is run within, if that includes cluster tests."""
    with TemporaryDirectory(prefix="tally-") as directory:
        tally = Path(directory) / "tally"
        os.environ[TALLY] = str(tally)
        try:
            yield
        finally:
            del os.environ[TALLY]
            what = described(arguments, os.environ)
            one = _of_tally(tally, what) if tally.exists() else None
            if one is not None:
                say(one.line)
                keep(one.line)


def described(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """What is run, with pytest's arguments and with what this environment says."""
    what = " ".join(arguments) or EVERYTHING
    return f"EF_LONG=1 {what}" if environment.get("EF_LONG") else what


def keep(line: str) -> None:
    """Keep a line beside the records, where `minislurm versions` skips what is none.

    It is printed anyway: a full disk is no reason to fail.
    """
    with contextlib.suppress(OSError), _kept().open("a", encoding="utf-8") as kept:
        kept.write(f"{line}\n")


def up(cluster: Cluster) -> None:
    """Note which Slurm cluster tests are going to run on, if the table has a row for it."""
    if TALLY in os.environ and cluster.suite in SUITES:
        line = json.dumps({"suite": cluster.suite, "engine": cluster.engine})
        with Path(os.environ[TALLY]).open("a", encoding="utf-8") as tally:
            tally.write(f"{line}\n")


def _of_tally(tally: Path, what: str) -> Run | None:
    lines = [json.loads(line) for line in tally.read_text(encoding="utf-8").splitlines()]
    clusters = [line for line in lines if "suite" in line]
    counted = [line for line in lines if line.get("marker", "").startswith("cluster")]
    if not clusters or not counted:
        return None
    sums = {name: sum(line[name] for line in counted) for name in ("passed", "failed", "skipped")}
    # A second try is of tests that were counted as failed.
    for line in counted:
        if line["again"]:
            sums["failed"] -= line["passed"] + line["failed"]
    place = clusters[0]
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return Run(place["suite"], place["engine"], day, _commit(), what, **sums)


def _commit() -> str:
    git = ["git", "-C", str(CHECKOUT)]
    head = run([*git, "rev-parse", "--short=10", "HEAD"], check=False).stdout.strip()
    changed = run([*git, "status", "--porcelain"], check=False).stdout.strip()
    return (head or "unknown") + ("+" if changed or not head else "")


def _kept() -> Path:
    return state_root() / "test-runs.log"


def versions(outputs: Sequence[Path]) -> int:
    """Add what output of `minislurm test` tells to the table; without any, what was kept here.

    Raises:
        UserError: nothing is told, or something cannot be read.
    """
    sources = list(outputs) or [_kept()]
    told: list[Run] = []
    for source in sources:
        try:
            text = source.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError(
                f"{source}: {error.strerror}: docker/minislurm test makes one"
            ) from None
        told += [one for line in text.splitlines() if (one := read(line)) is not None]
    if not told:
        raise UserError(f"no record of the tests in {', '.join(map(str, sources))}")
    runs = newest([*known(), *told])
    DATA.write_text(json.dumps([asdict(one) for one in runs], indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(document(runs), encoding="utf-8")
    say(f"{DOCUMENT}: {len(runs)} runs")
    return 0


def known() -> list[Run]:
    """What the table was made of."""
    return [Run(**one) for one in json.loads(DATA.read_text(encoding="utf-8"))]


def newest(runs: Iterable[Run]) -> list[Run]:
    """Of each Slurm and engine the last run of everything, and of each choice of tests.

    Later ones in the list are newer. A choice is dropped once everything was run after it.
    """
    last: dict[tuple[str, str, str], Run] = {}
    for one in runs:
        key = (one.suite, one.engine)
        if one.what == EVERYTHING:
            last = {other: kept for other, kept in last.items() if other[:2] != key}
        last[*key, one.what] = one
    places = [(suite, engine) for suite in SUITES for engine in _ENGINES]
    return sorted(last.values(), key=lambda one: places.index((one.suite, one.engine)))


def document(runs: Sequence[Run]) -> str:
    """docs/versions.md."""
    rows = []
    for suite, release in SUITES.items():
        for engine, shown in _ENGINES.items():
            place = f"| {release.slurm} | {suite} | {shown} |"
            here = [one for one in runs if (one.suite, one.engine) == (suite, engine)]
            for one in here:
                what = one.what if one.what == EVERYTHING else f"`{one.what}`"
                numbers = f"{one.passed} | {one.failed} | {one.skipped}"
                rows.append(f"{place} {what} | {numbers} | {one.when} | {one.commit} |")
            if not here:
                rows.append(f"{place} not recorded | | | | | |")
    return _TEXT.replace("ROWS", "\n".join(rows))


_TEXT = """\
# Supported versions

ef-slurm is made for Slurm 22.05 to 26.05 and Python 3.11 or later. What was run with which Slurm,
on the mini-Slurm, says this table. `docker/minislurm test` ends with a line that tells what it ran,
and `docker/minislurm versions FILE` writes this page from such lines in its output, CI's for
example. Write nothing by hand.

| Slurm | Debian | hosts are | cluster tests | passed | failed | skipped | day | commit |
|---|---|---|---|---|---|---|---|---|
ROWS

Each row is one run, of everything or of the tests whose files it names. A commit with a `+` had
been changed. Skipped is what that Slurm or that engine does not have, and what needs `EF_LONG=1`.
CI runs everything with 24.11 in containers; the other rows are run by hand
([slurm.md](slurm.md#what-was-tried-with-which-slurm) has the commands, and what was found).
"""
