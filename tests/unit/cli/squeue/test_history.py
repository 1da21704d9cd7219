"""ef-squeue --history: the record, and promises kept and broken by user, account and month."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ef_slurm.api.messages import ListHistory, Request, Response
from ef_slurm.cli.squeue import command, history
from ef_slurm.cli.squeue.sums import By, sums
from ef_slurm.model import (
    EndedJob,
    Fault,
    HistoryMark,
    HistoryPage,
    JobKind,
    JobState,
    PromiseOutcome,
)
from ef_slurm.siteconfig.tables import SiteConfig

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC).timestamp()
ONE = EndedJob(
    job_id=1,
    name="bert",
    owner="root",
    account="nlp",
    partition="ef",
    state=JobState.COMPLETED,
    kind=JobKind.DEADLINE,
    submitted=NOW - 9000.0,
    deadline=NOW - 1000.0,
    started=NOW - 8000.0,
    ended=NOW - 2000.0,
    promise=PromiseOutcome.KEPT,
    fault=None,
    iterations=100,
    iteration=100.0,
    exit_code=0,
    note="",
)
BROKEN = replace(
    ONE,
    job_id=2,
    name="\x1b[2Jx\nforged",
    owner="bin",
    account="",
    state=JobState.FAILED,
    promise=PromiseOutcome.BROKEN,
    fault=Fault.CLUSTER,
    exit_code=None,
    note="a node died",
    ended=NOW - 40 * 86400.0,
    started=NOW - 40 * 86400.0 - 3600.0,
)
LATE = replace(ONE, job_id=3, deadline=NOW - 2600.0, promise=PromiseOutcome.KEPT_IN_GRACE)
REFUSED = replace(
    ONE, job_id=4, state=JobState.REJECTED, started=None, promise=None, exit_code=None
)
Run = Callable[..., tuple[int, str, str]]


@dataclass
class Recorder:
    """A daemon with a record, in pages of two jobs."""

    jobs: list[EndedJob] = field(default_factory=lambda: [BROKEN, ONE, LATE, REFUSED])
    asked: list[ListHistory] = field(default_factory=list)

    def ask(self, request: Request) -> Response:
        assert isinstance(request, ListHistory)
        self.asked.append(request)
        begin = 0 if request.mark is None else request.mark.row
        page = self.jobs[begin : begin + 2]
        more = begin + 2 < len(self.jobs)
        picked = [job for job in page if not request.users or job.owner in request.users]
        mark = HistoryMark(page[-1].ended, begin + 2) if more else None
        return HistoryPage(NOW, tuple(picked), mark)

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def run(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setattr(command, "connect", lambda *_: recorder)
    monkeypatch.setattr(command, "configuration", lambda _: SiteConfig())
    monkeypatch.setattr(history, "local_zone", lambda: UTC)

    def started(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ef-squeue", "--history", *words])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return started


def test_a_line_for_each_job_over_all_pages(run: Run, recorder: Recorder) -> None:
    code, out, err = run("--since", "2026-10")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "   JOBID NAME             USER       ACCOUNT    STATE     END                 ELAPSED"
        " DEADLINE              EARLY PROMISE          EXIT NOTE",
        "       2 \\x1b[2Jx\\nforged bin        -          FAILED    2026-10-17T12:00    1:00:00"
        " 2026-11-26T11:43          - BROKEN(cluster)     - a node died",
        "       1 bert             root       nlp        COMPLETED 2026-11-26T11:26    1:40:00"
        " 2026-11-26T11:43      16:40 KEPT                0",
        "       3 bert             root       nlp        COMPLETED 2026-11-26T11:27    1:40:00"
        " 2026-11-26T11:16     -10:00 KEPT-IN-GRACE       0",
        "       4 bert             root       nlp        REJECTED  2026-11-26T11:26          -"
        " 2026-11-26T11:43          - -                   -",
    ]
    assert [request.mark is None for request in recorder.asked] == [True, False]
    since = datetime(2026, 10, 1).astimezone().timestamp()
    assert {request.since for request in recorder.asked} == {since}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-u root", [1, 3, 4]),
        ("-t completed", [1, 3]),
        ("-t F,CA", [2]),
        ("-n bert -t rejected", [4]),
        ("-j 3,1", [1, 3]),
        ("-p ef", [2, 1, 3, 4]),
    ],
)
def test_of_them_those_that_were_asked_for(run: Run, words: str, expected: list[int]) -> None:
    code, out, err = run("--json", *words.split())
    assert code == 0, err
    assert [one["job_id"] for one in json.loads(out)["jobs"]] == expected


def test_sums_by_user_and_month(run: Run) -> None:
    code, out, _ = run("--by", "user,month")
    assert code == 0
    assert out.splitlines() == [
        "USER MONTH   JOBS COMPLETED FAILED CANCELLED REJECTED HOURS PROMISED KEPT IN_GRACE"
        " BROKEN VOID KEPT%",
        "bin  2026-10    1         0      1         0        0   1.0        1    0        0"
        "      1    0   0.0",
        "root 2026-11    3         2      0         0        1   3.3        2    1        1"
        "      0    0 100.0",
    ]
    code, out, _ = run("--by", "account", "--json")
    found = {one["account"]: one for one in json.loads(out)["sums"]}
    assert found["-"]["broken_by_cluster"] == 1
    assert found["nlp"]["kept_share"] == 1.0


def test_nobody_is_left_out_of_a_sum() -> None:
    found = sums([ONE, BROKEN, LATE, REFUSED], (By.MONTH,), UTC)
    assert sum(one.jobs for one in found.values()) == 4
    assert list(found) == [("2026-10",), ("2026-11",)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--since tomorrow", 2, "--since: "),
        ("--since 2999", 2, "--since: '2999' is 2999-01-01"),
        ("--since 3d --until 5d", 2, "--until is not later than --since"),
        ("--by week", 2, "--by: 'week' is not known; there is user, account, month"),
        ("-o %i", 2, "--format does not go with --history"),
        ("--watch", 2, "--watch does not go with --history"),
        ("-t running", 2, "jobs that have ended"),
        ("-t gone", 2, "'gone' is no state"),
        ("-j 1,9", 1, "9: has not ended in this time"),
        ("-u nobody-such", 1, "'nobody-such': no such user"),
    ],
)
def test_what_cannot_be_shown_is_told(run: Run, words: str, code: int, told: str) -> None:
    ended, _, err = run(*words.split())
    assert ended == code
    assert told in err


@pytest.mark.parametrize("words", ["--since 7d", "--until now", "--by user"])
def test_what_goes_with_the_record_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.setattr("sys.argv", ["ef-squeue", *words.split()])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "goes with --history" in capsys.readouterr().err


@pytest.mark.parametrize(
    "poison", [{"deadline": 1e300}, {"ended": float("inf")}, {"exit_code": None, "account": "\0"}]
)
def test_a_job_that_cannot_be_shown_spoils_no_other(
    run: Run, recorder: Recorder, poison: dict[str, Any]
) -> None:
    recorder.jobs = [replace(ONE, **poison), LATE]
    code, out, _ = run("-h")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert out.splitlines()[1].split()[0] == "3"
