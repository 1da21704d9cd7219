"""The table of ef-squeue."""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import click
import pytest

from ef_slurm.cli.common.entry import paint
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.states import parse_states
from ef_slurm.cli.common.tone import Tone
from ef_slurm.cli.squeue.columns import COLUMNS, Look
from ef_slurm.cli.squeue.layouts import (
    DEFAULT_FORMAT,
    LONG_FORMAT,
    START_FORMAT,
    Layout,
    named,
    parse_letters,
    parse_names,
)
from ef_slurm.cli.squeue.table import table
from ef_slurm.formats.job_words import begins, promise_word, slack
from ef_slurm.model import Fault, JobState, JobView, Measuring, PromiseOutcome, PromiseState

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
Make = Callable[..., JobView]


def look(*, bars: bool = False) -> Look:
    return Look(NOW, UTC, bars, lambda job: f"why {job.job_id}")


def show(jobs: list[JobView], layout: str, *, bars: bool = False, width: int | None = None) -> str:
    cells = Layout(tuple(parse_letters(layout)))
    rows = table(jobs, cells, look(bars=bars), heading=True, paint=paint, width=width)
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


def cells(view: JobView) -> dict[str, str]:
    """The text of every column, by name."""
    return {column.name: column.text(view, look()) for column in COLUMNS}


RUNNING = {
    "jobid": "1234",
    "name": "bert",
    "username": "alice",
    "account": "nlp",
    "partition": "ef",
    "state": "RUNNING",
    "statecompact": "R",
    "kind": "deadline",
    "gpus": "8",
    "gputype": "gpu",
    "deadline": "11-15T00:13",
    "endtime": "23:13:20",
    "slack": "1:00:00",
    "progress": "25%",
    "iteration": "255",
    "iterations": "1000",
    "rate": "12.3",
    "promise": "SAFE",
    "fault": "-",
    "submittime": "21:13:20",
    "starttime": "21:43:20",
    "timeused": "30:00",
    "numnodes": "2",
    "nodelist": "n[1-2]",
    "reasonlist": "n[1-2]",
    "reason": "why 1234",
    "generation": "2",
    "reshapes": "1",
    "statedir": "/shared/x",
    "statesize": "-",
}


def test_every_column_of_a_running_job(job: Make) -> None:
    assert cells(job()) == RUNNING


def test_columns_of_a_job_that_has_ended(job: Make) -> None:
    """What it was to be no longer matters: its end does."""
    ended = job(
        state=JobState.FAILED,
        ended=NOW - 600,
        share=0,
        nodes=(),
        note="exit code 3",
        promise_outcome=PromiseOutcome.BROKEN,
        promise_fault=Fault.CLUSTER,
    )
    assert cells(ended) == RUNNING | {
        "state": "FAILED",
        "statecompact": "F",
        "gpus": "0",
        "endtime": "22:03:20",
        "slack": "-",
        "promise": "BROKEN(cluster)",
        "fault": "cluster",
        "timeused": "20:00",
        "numnodes": "0",
        "nodelist": "",
        "reasonlist": "(exit code 3)",
    }
    assert cells(job(state=JobState.COMPLETED, nodes=(), note=""))["reasonlist"] == ""


def test_columns_of_a_job_of_which_little_is_known(job: Make) -> None:
    bare = job(
        state=JobState.NEW,
        deadline=None,
        finish=None,
        started=None,
        rate=None,
        account="",
        partition="",
        gpu_type=None,
        share=0,
        nodes=(),
        promise=PromiseState.NONE,
    )
    assert cells(bare) == RUNNING | {
        "state": "NEW",
        "statecompact": "NW",
        "account": "-",
        "partition": "-",
        "gputype": "-",
        "gpus": "0",
        "deadline": "-",
        "endtime": "-",
        "slack": "-",
        "rate": "-",
        "promise": "-",
        "starttime": "22:13:20",
        "timeused": "0:00",
        "numnodes": "0",
        "nodelist": "",
        "reasonlist": "(why 1234)",
    }


@pytest.mark.parametrize("state", JobState)
def test_every_state_has_a_row(job: Make, state: JobState) -> None:
    layout = " ".join(f"%{column.letter}" for column in COLUMNS)
    heading, row = show([job(state=state, ended=NOW)], layout, bars=True).splitlines()
    assert heading.split() == [column.heading for column in COLUMNS]
    assert state.value.upper() in row.split()


@pytest.mark.parametrize(
    ("changes", "tone"),
    [
        ({}, Tone.GOOD),
        ({"promise": PromiseState.IN_GRACE}, Tone.WARN),
        ({"promise": PromiseState.AT_RISK}, Tone.BAD),
        ({"promise": PromiseState.NONE}, Tone.PLAIN),
        ({"promise_outcome": PromiseOutcome.KEPT}, Tone.GOOD),
        ({"promise_outcome": PromiseOutcome.BROKEN}, Tone.BAD),
    ],
)
def test_the_colour_of_a_promise(job: Make, changes: dict[str, Any], tone: Tone) -> None:
    tones = {column.name: column.tone(job(**changes)) for column in COLUMNS}
    assert tones["promise"] is tones["slack"] is tone


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


@pytest.mark.parametrize(
    "text",
    ["%y", "plain", "", "%i %", "%5", "100%%", "% i", "%٣i", "%.99999999999i", f"%{'9' * 5000}i"],
)
def test_wrong_letters(text: str) -> None:
    with pytest.raises(UsageError, match="--format"):
        parse_letters(text)


def test_names(job: Make) -> None:
    cells = Layout(tuple(parse_names("JobID:.8,name:3,deadline")))
    rows = list(table([job()], cells, look(), heading=False, paint=paint))
    assert click.unstyle(rows[0]) == "    1234 ber 11-15T00:13"


@pytest.mark.parametrize("text", ["nope", "jobid:x", "", "jobid:65537", f"jobid:.{'9' * 5000}"])
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


@pytest.mark.parametrize(
    "name",
    ["\x1b[2J\x1b[Hgone", "mine\n 9999 root  root RUNNING", "a\rb", "\u202egnp", "x\u2028y"],
    ids=ascii,
)
def test_a_name_is_one_cell_of_one_row(job: Make, name: str) -> None:
    shown = show([job(name=name, owner=name, account=name, note=name)], "%i %j %u %a %R")
    assert len(shown.split("\n")) == 2
    assert "\x1b" not in shown
    assert all(line.isprintable() for line in shown.split("\n"))


def test_a_name_pushes_nothing_out_of_sight(job: Make) -> None:
    lines = show([job(name="x" * 1000), job(name="学" * 1000)], "%j %T", width=80).splitlines()
    assert [line.endswith(" RUNNING") for line in lines[1:]] == [True, True]
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    "poison",
    [
        {"deadline": 1e300},
        {"deadline": -1e300},
        {"deadline": float("nan")},
        {"deadline": float("inf"), "finish": float("nan")},
        {"finish": 1e300, "started": -1e300},
        {"iterations": 0},
        {"iteration": float("nan")},
        {"iteration": float("inf"), "iterations": 10**400},
        {"rate": float("nan"), "submitted": 1e308},
        {"nodes": ("n[", "\x00")},
        {"state": "no such state"},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_shown_spoils_no_other(job: Make, poison: dict[str, Any]) -> None:
    every = " ".join(f"%{column.letter}" for column in COLUMNS)
    lines = show([job(**poison), job(job_id=7)], every, bars=True).splitlines()
    assert len(lines) == 3
    assert show([job(job_id=7)], every, bars=True).splitlines()[1].split() == lines[2].split()


MEASURED = Measuring(NOW, "gpu", (4,), ((1, 2.5),), seconds=40.0)


def test_a_job_that_is_measured(job: Make) -> None:
    jobs = [
        job(measuring=MEASURED, promise=PromiseState.NONE, iterations=None),
        job(job_id=7, measuring=MEASURED, state=JobState.PAUSED, share=0, nodes=()),
        job(job_id=8, measuring=MEASURED, state=JobState.HELD, share=0, nodes=()),
    ]
    assert show(jobs, "%i %T %p %n %R").splitlines() == [
        "JOBID STATE     PROGRESS ITERATIONS NODELIST(REASON)",
        " 1234 MEASURING -                 - n[1-2] (measured 1 of 2 sizes)",
        "    7 MEASURING 25%            1000 (measured 1 of 2 sizes, waits for 4 GPUs)",
        "    8 HELD      25%            1000 (measured 1 of 2 sizes, waits for 4 GPUs)",
    ]


@pytest.mark.parametrize("width", range(60, 201, 7))
def test_promise_and_nodes_are_in_sight_on_narrow_terminals(job: Make, width: int) -> None:
    jobs = [
        job(name="a-rather-long-name-of-a-job", owner="maximilian", promise=PromiseState.AT_RISK),
        job(job_id=1_234_567, nodes=("gpu-a100-08", "gpu-a100-09", "gpu-a100-10")),
        job(job_id=9, state=JobState.WAITLISTED, share=0, nodes=(), finish=None),
        job(job_id=8, state=JobState.COMPLETED, ended=NOW, share=0, nodes=()),
    ]
    for layout in (DEFAULT_FORMAT, LONG_FORMAT, START_FORMAT):
        rows = table(jobs, named(layout), look(bars=True), heading=True, paint=paint, width=width)
        lines = click.unstyle("\n".join(rows)).splitlines()
        assert all(len(line) <= width for line in lines)
        assert "PROMISE" in lines[0]
        assert "NODELIST(REASON" in lines[0]
        assert "AT-RISK" in lines[1]
        assert "SAFE" in lines[2]
        assert lines[2].endswith("gpu-a100-[08-10]")
        assert "1234567" in lines[2]


def test_a_wide_terminal_shows_all_of_the_default_columns(job: Make) -> None:
    def heading(width: int) -> str:
        rows = table(
            [job()], named(DEFAULT_FORMAT), look(bars=True), heading=True, paint=paint, width=width
        )
        return click.unstyle(next(iter(rows)))

    assert heading(200).split() == [cell.column.heading for cell in named(DEFAULT_FORMAT).cells]
    assert "FINISH" not in heading(80)
    assert "█" in show([job()], DEFAULT_FORMAT, bars=True, width=200)


def test_chosen_columns_do_not_give_way(job: Make) -> None:
    shown = show([job()], DEFAULT_FORMAT, bars=True, width=80).splitlines()[0]
    assert {"PROGRESS", "DEADLINE", "FINISH"} <= set(shown.split())


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({}, NOW - 1800),
        ({"started": None}, NOW),
        ({"started": None, "schedule": ()}, None),
        ({"started": None, "state": JobState.CANCELLED}, None),
    ],
)
def test_the_start_is_the_planned_one_until_there_is_one(
    job: Make, changes: dict[str, Any], at: float | None
) -> None:
    assert begins(job(**changes)) == at
