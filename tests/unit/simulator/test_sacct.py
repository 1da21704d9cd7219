"""Exports of sacct, with what real ones contain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ef_slurm.formats.errors import InputError
from ef_slurm.simulator.history import records as sacct
from ef_slurm.simulator.history.read import read_history as read_sacct
from ef_slurm.simulator.history.records import SiteJob
from ef_slurm.simulator.history.sacct import UNCLEAR
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
    assert job.gpu_seconds == 4 * (7200 + 1800)  # the run that was cut held GPUs, too
    assert history.left_out == {sacct.DUPLICATE: 1}


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "REQUEUED", "BOOT_FAIL"])
def test_a_run_that_was_cut_counts_even_if_it_was_the_only_one(table: Table, state: str) -> None:
    (job,) = read_sacct(table("h", export(row(state=state, end="2026-09-01T11:00:35")))).jobs
    assert job.gpu_seconds == 4 * 35


@pytest.mark.parametrize(
    ("state", "seconds", "kept"),
    [
        ("OUT_OF_MEMORY", 35, False),
        ("FAILED", 599, False),
        ("CANCELLED by 1000", 35, False),
        ("FAILED", 600, True),
        ("OUT_OF_MEMORY", 7200, True),
        ("COMPLETED", 35, True),
        ("TIMEOUT", 35, True),
        ("SOMETHING_NEW", 35, True),
    ],
)
def test_a_quick_crash_is_no_training(table: Table, state: str, seconds: int, kept: bool) -> None:
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1788260400 + seconds))
    history = read_sacct(table("h", export(row("9"), row(state=state, end=end))))
    assert ("1" in [job.id for job in history.jobs]) is kept
    assert history.left_out == ({} if kept else {sacct.NO_TRAINING: 1})


def test_ids_that_are_used_again_stay_apart(table: Table) -> None:
    again = {"submit": "2026-09-20T10:00:00", "start": "2026-09-20T11:00:00"}
    history = read_sacct(
        table(
            "h",
            export(
                row(),
                row(**again, end="2026-09-20T12:00:00"),
                row("2", state="NODE_FAIL"),
                row("2", **again, end="2026-09-20T12:00:00"),
            ),
        )
    )
    assert sorted(job.id for job in history.jobs) == ["1", "1#2", "2", "2#2"]
    assert history.left_out == {}


def test_rows_that_stand_twice_count_once(table: Table) -> None:
    """Exports of two months that overlap, one after the other in a file."""
    history = read_sacct(table("h", export(row(), row("2"), row())))
    assert [job.id for job in history.jobs] == ["1", "2"]
    assert history.left_out == {sacct.REPEATED: 1}


def test_clusters_are_kept_apart(table: Table) -> None:
    text = "\n".join((f"Cluster|{HEADER}", f"a|{row()}", f"b|{row()}"))
    assert [job.id for job in read_sacct(table("h", text)).jobs] == ["a/1", "b/1"]


# What may not be: a line of a name that is a whole row itself, which nobody could tell apart.
names = st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda text: "\x00" not in text)


@pytest.mark.parametrize("place", [0, 1, 4, 8])
@given(names, names)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_name_may_hold_anything(tmp_path: Path, place: int, first: str, second: str) -> None:
    def insert(text: str, cell: str) -> str:
        cells = text.split("|")
        return "|".join((*cells[:place], cell, *cells[place:]))

    text = "\n".join(
        (insert(HEADER, "JobName"), insert(row("1"), first), insert(row("2"), second), "")
    )
    file = tmp_path / "h"
    file.write_bytes(text.encode())
    assert [job.id for job in read_sacct(file).jobs] == ["1", "2"]


@pytest.mark.parametrize("delimiter", [None, "|"])
def test_bytes_of_another_encoding_and_quotes(tmp_path: Path, delimiter: str | None) -> None:
    file = tmp_path / "h"
    rows = (f'{row("1")}|"quoted', f'{row("2")}|"', f"{row('3')}|a\r\nb|c\n\nd")
    file.write_bytes("\n".join((f"{HEADER}|JobName", *rows)).encode() + b"\xff\xfe\n")
    assert [job.id for job in read_sacct(file, delimiter=delimiter).jobs] == ["1", "2", "3"]


def test_rows_that_cannot_be_parted_are_left_out(table: Table) -> None:
    header = f"JobName|{HEADER}|Comment"
    rows = (f"a|{row('1')}|x", f"a|b|{row('2')}|x", f"a|{row('3')}|y")
    history = read_sacct(table("h", "\n".join((header, *rows, ""))))
    assert [job.id for job in history.jobs] == ["1", "3"]
    assert history.left_out == {UNCLEAR: 1}


@pytest.mark.parametrize("delimiter", ["^", ",,", "\t", "~~"])
def test_other_delimiters_are_told_by_the_header(table: Table, delimiter: str) -> None:
    text = export(row()).replace("billing=16,cpu=16,", "").replace("|", delimiter)
    assert [job.gpus for job in read_sacct(table("h", text)).jobs] == [4]


def test_a_delimiter_at_the_end_of_every_line(table: Table) -> None:
    text = "".join(f"{line}|\n" for line in export(row(), row("2")).splitlines())
    assert len(read_sacct(table("h", text)).jobs) == 2


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
