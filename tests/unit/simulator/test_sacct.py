"""Exports of sacct, with what real ones contain."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ef_slurm.formats.errors import InputError
from ef_slurm.simulator import sacct
from ef_slurm.simulator.sacct import SiteJob, read_sacct
from tests.unit.conftest import Table

HEADER = "JobID|Submit|Start|End|Timelimit|ReqTRES|AllocTRES|State"
TRES = "billing=16,cpu=16,gres/gpu=4,mem=64G,node=1"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def row(
    job_id: str = "1",
    submit: str = "2026-09-01T10:00:00",
    start: str = "2026-09-01T11:00:00",
    end: str = "2026-09-01T13:00:00",
    limit: str = "1-00:00:00",
    requested: str = TRES,
    allocated: str = TRES,
    state: str = "COMPLETED",
) -> str:
    return "|".join((job_id, submit, start, end, limit, requested, allocated, state))


def export(*rows: str) -> str:
    return "\n".join((HEADER, *rows)) + "\n"


def test_a_plain_job(table: Table) -> None:
    (job,) = read_sacct(table("h", export(row()))).jobs
    assert job == SiteJob("1", 1788256800.0, 1788260400.0, 1788267600.0, 4, 86400.0)
    assert job.run_seconds == 7200


@pytest.mark.parametrize(
    ("allocated", "gpus"),
    [
        ("cpu=1,gres/gpu:a100=8,mem=1G,node=1", 8),
        ("cpu=1,gres/gpu:a100=2,gres/gpu:v100=1,node=2", 3),
        ("cpu=1,gres/gpu=8,gres/gpu:a100=8,node=1", 8),
        ("gres/gpu=1", 1),
        ("", 4),
    ],
)
def test_gpus_of_tres(table: Table, allocated: str, gpus: int) -> None:
    assert read_sacct(table("h", export(row(allocated=allocated)))).jobs[0].gpus == gpus


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("1-02:03:04", 93784),
        ("02:03:04", 7384),
        ("30:00", 1800),
        ("10", 600),
        ("UNLIMITED", None),
        ("Partition_Limit", None),
        ("INVALID", None),
        ("0", 0),
        ("", None),
    ],
)
def test_time_limits(table: Table, limit: str, seconds: float | None) -> None:
    assert read_sacct(table("h", export(row(limit=limit)))).jobs[0].time_limit == seconds


def test_a_raw_time_limit_is_minutes(table: Table) -> None:
    text = "JobIDRaw|Submit|Start|End|TimelimitRaw|AllocTRES\n7|100|200|300|90|gres/gpu=2\n"
    assert read_sacct(table("h", text)).jobs == (SiteJob("7", 100, 200, 300, 2, 5400.0),)


def test_what_is_left_out_is_counted(table: Table) -> None:
    history = read_sacct(
        table(
            "h",
            export(
                row("1"),
                row("1.batch"),
                row("1.0"),
                row("2", requested="cpu=4,node=1", allocated="cpu=4,node=1"),
                row("3", start="Unknown", end="2026-09-01T13:00:00", state="CANCELLED by 1000"),
                row("4", start="None", end="None", state="CANCELLED"),
                row("5", end="Unknown", state="RUNNING"),
                row("6", end="2026-09-01T11:00:00"),
                row("7", start="2026-09-01T09:59:00"),
                row("8_3"),
                row("9+0"),
            ),
        )
    )
    assert [job.id for job in history.jobs] == ["1", "8_3", "9+0"]
    assert history.left_out == {
        sacct.STEP: 2,
        sacct.NO_GPUS: 1,
        sacct.NEVER_STARTED: 2,
        sacct.NOT_ENDED: 1,
        sacct.NO_LENGTH: 1,
        sacct.OUT_OF_ORDER: 1,
    }


def test_of_a_requeued_job_the_last_run_counts(table: Table) -> None:
    history = read_sacct(
        table(
            "h",
            export(
                row("1", end="2026-09-01T11:30:00", state="REQUEUED"),
                row(
                    "1",
                    submit="2026-09-01T11:30:01",
                    start="2026-09-01T12:00:00",
                    end="2026-09-01T14:00:00",
                ),
            ),
        )
    )
    (job,) = history.jobs
    assert (job.started - job.submitted, job.run_seconds) == (7200, 7200)
    assert history.left_out == {sacct.DUPLICATE: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (export(), "holds no finished GPU jobs; left out: nothing"),
        (export(row("1.batch")), "holds no finished GPU jobs; left out: 1 job steps"),
        (export(row(submit="Sep 1 10:00")), r"h:2: column 'Submit': 'Sep 1 10:00' is not a time"),
        (export(row(limit="soon")), r"h:2: column 'Timelimit': 'soon' is no duration: give"),
        (export(row(submit="Unknown")), r"h:2: column 'Submit': is unknown, but the job has run"),
        (export(row(job_id="")), r"h:2: column 'JobID': is empty"),
        (export("1|2"), r"h:2: 2 cells, but the header has 8"),
        ("JobID|Submit|Start|AllocTRES\n", r"h:1: column 'End': is missing"),
        ("JobID|Submit|Start|End\n", r"h:1: column 'AllocTRES': is missing, and so is ReqTRES"),
        ("JobID Submit Start End\n", "was --parsable2 given"),
    ],
)
def test_says_what_is_wrong_and_where(table: Table, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_sacct(table("h", text))
