"""The table of ef-squeue."""

from collections.abc import Callable
from datetime import UTC

import click
import pytest

from ef_slurm.cli.common.entry import paint
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.states import parse_states
from ef_slurm.cli.squeue.columns import (
    COLUMNS,
    DEFAULT_FORMAT,
    Look,
    parse_letters,
    parse_names,
    promise_word,
    slack,
    table,
)
from ef_slurm.model import Fault, JobState, JobView, PromiseOutcome, PromiseState

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
Make = Callable[..., JobView]


def look(*, bars: bool = False) -> Look:
    return Look(NOW, UTC, bars, lambda job: f"why {job.job_id}")


def show(jobs: list[JobView], layout: str, *, bars: bool = False, width: int | None = None) -> str:
    rows = table(
        jobs, parse_letters(layout), look(bars=bars), heading=True, paint=paint, width=width
    )
    return click.unstyle("\n".join(rows))


def test_the_default_table(job: Make) -> None:
    jobs = [
        job(),
        job(job_id=7, name="a-longer-name", state=JobState.PAUSED, share=0, nodes=(), finish=None),
    ]
    assert show(jobs, DEFAULT_FORMAT).splitlines() == [
        "JOBID NAME          USER  STATE   GPUS PROGRESS DEADLINE    FINISH     SLACK PROMISE"
        " NODELIST(REASON)",
        " 1234 bert          alice RUNNING    8 25%      11-15T00:13 23:13:20 1:00:00 SAFE   "
        " n[1-2]",
        "    7 a-longer-name alice PAUSED     0 25%      11-15T00:13 -              - SAFE   "
        " (why 7)",
    ]


def test_every_column_has_a_text_for_every_kind_of_job(job: Make) -> None:
    jobs = [job(state=state, ended=NOW, started=None, rate=None) for state in JobState]
    jobs += [job(deadline=None, finish=None, reason=None, nodes=())]
    layout = " ".join(f"%{column.letter}" for column in COLUMNS)
    assert len(show(jobs, layout, bars=True).splitlines()) == len(jobs) + 1


def test_letters_and_names_are_unique() -> None:
    assert len({column.letter for column in COLUMNS}) == len(COLUMNS)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_widths(job: Make) -> None:
    assert show([job()], "%.8i|%3j|%T").splitlines()[1] == "    1234|ber|RUNNING"


def test_text_is_cut_at_the_edge_of_the_terminal(job: Make) -> None:
    lines = show([job(name="x" * 50)], "%i %j %T", width=20).splitlines()
    assert all(len(line) <= 20 for line in lines)
    assert lines[1].endswith("…")


@pytest.mark.parametrize(
    ("iteration", "bar"),
    [
        (0.0, "░░░░░░░░░░   0%"),
        (250.0, "██▌░░░░░░░  25%"),
        (999.0, "█" * 10 + "  99%"),
        (1000.0, "█" * 10 + " 100%"),
        (2000.0, "█" * 10 + " 100%"),
    ],
)
def test_progress_bars(job: Make, iteration: float, bar: str) -> None:
    assert show([job(iteration=iteration)], "%p", bars=True).splitlines()[1] == bar


def test_slack(job: Make) -> None:
    assert slack(job(), NOW) == 3600.0
    assert slack(job(finish=NOW - 100), NOW) == 7200.0  # late with finishing, not done
    assert slack(job(deadline=None), NOW) is None
    assert slack(job(state=JobState.COMPLETED, ended=NOW + 7300), NOW) == -100.0
    assert slack(job(state=JobState.CANCELLED, ended=NOW), NOW) is None


@pytest.mark.parametrize(
    ("ended", "shown"),
    [
        (NOW + 7200.4, "11-15T00:13 11-15T00:13    0:00"),
        (NOW + 7200.9, "11-15T00:13 11-15T00:14   -0:01"),
        (NOW + 3600.9, "11-15T00:13 23:13:20   59:59"),
    ],
)
def test_a_finish_never_contradicts_the_verdict(job: Make, ended: float, shown: str) -> None:
    done = job(state=JobState.COMPLETED, deadline=NOW + 7200.5, ended=ended)
    assert show([done], "%E %e %.7L").splitlines()[1] == shown


def test_the_promise_in_a_word(job: Make) -> None:
    assert promise_word(job()) == "SAFE"
    assert promise_word(job(promise=PromiseState.AT_RISK)) == "AT-RISK"
    kept = job(promise=PromiseState.NONE, promise_outcome=PromiseOutcome.KEPT)
    assert promise_word(kept) == "KEPT"
    broken = job(promise_outcome=PromiseOutcome.BROKEN, promise_fault=Fault.CLUSTER)
    assert promise_word(broken) == "BROKEN(cluster)"
    void = job(promise_outcome=PromiseOutcome.VOID, promise_fault=Fault.OWNER)
    assert promise_word(void) == "VOID(owner)"
    assert show([void], "%q|%f").splitlines()[1] == "VOID(owner)|owner"
    assert promise_word(job(state=JobState.WAITLISTED, promise=PromiseState.NONE)) == "WAITLISTED"
    assert promise_word(job(state=JobState.CANCELLED, promise_outcome=None)) == "-"


@pytest.mark.parametrize("text", ["%y", "plain", ""])
def test_wrong_letters(text: str) -> None:
    with pytest.raises(UsageError, match="--format"):
        parse_letters(text)


def test_names(job: Make) -> None:
    cells = parse_names("JobID:.8,name:3,deadline")
    rows = list(table([job()], cells, look(), heading=False, paint=paint))
    assert click.unstyle(rows[0]) == "    1234 ber 11-15T00:13"


@pytest.mark.parametrize("text", ["nope", "jobid:x", ""])
def test_wrong_names(text: str) -> None:
    with pytest.raises(UsageError, match="--Format"):
        parse_names(text)


def test_states() -> None:
    assert parse_states(()) == ()
    assert parse_states(("all",)) == tuple(JobState)
    assert set(parse_states(("PD,running", "Completed"))) == {
        JobState.NEW,
        JobState.WAITLISTED,
        JobState.ADMITTED,
        JobState.PAUSED,
        JobState.HELD,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.STOPPING,
        JobState.COMPLETED,
    }
    with pytest.raises(UsageError, match="'gone' is no state"):
        parse_states(("gone",))
