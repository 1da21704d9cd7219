"""Traces: both spellings, and every way of getting one wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.formats.errors import InputError
from ef_slurm.formats.throughput import ThroughputTables
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.trace import read_trace, require_requests, trace_text
from tests.unit.conftest import Table

HEADER = "job_id,submission_time,num_iteration,model_name,deadline,batch_size,num_gpu,duration"
GOOD = "a,10,100,m,200,8,1,100"


def test_reads_the_published_spelling(table: Table, tables: ThroughputTables) -> None:
    trace = read_trace(table("t.csv", f"{HEADER}\n{GOOD}\n"), tables)
    (job,) = trace.jobs
    assert (job.id, job.submitted, job.iterations, job.deadline) == ("a", 10, 100, 200)
    assert (job.requested_gpus, job.duration, job.curve) == (1, 100, tables["m", 8])
    assert trace.unsorted_rows == 0


def test_reads_the_other_spelling(table: Table, tables: ThroughputTables) -> None:
    header = "job_id,submit_time,iteration,model_name,ddl,batch_size,num_gpu,duration"
    text = f"{header}\n{GOOD}\n"
    assert read_trace(table("t.csv", text), tables).jobs[0].deadline == 200


def test_optional_columns_may_be_missing(table: Table, tables: ThroughputTables) -> None:
    text = (
        "submission_time,num_iteration,model_name,deadline,batch_size,best_effort\n"
        "5,10,m,,8,1\n4,10,m,90,8,0\n"
    )
    trace = read_trace(table("t.csv", text), tables)
    assert [(job.id, job.deadline, job.requested_gpus) for job in trace.jobs] == [
        ("2", 90, None),
        ("1", None, None),
    ]
    assert trace.unsorted_rows == 1
    with pytest.raises(InputError, match="'num_gpu'.*'tiresias'.*'2'"):
        require_requests(trace, "tiresias")


def test_equal_submissions_keep_their_order(table: Table, tables: ThroughputTables) -> None:
    rows = "\n".join(f"{name},10,100,m,200,8,1,100" for name in "cab")
    trace = read_trace(table("t.csv", f"{HEADER}\n{rows}\n"), tables)
    assert [job.id for job in trace.jobs] == ["c", "a", "b"]


def test_windows_line_ends_blank_lines_and_a_byte_order_mark(
    tmp_path: Path, tables: ThroughputTables
) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n\r\n{GOOD}\r\n".encode())
    assert len(read_trace(file, tables).jobs) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv: the file is empty"),
        ("\n\n", r"t\.csv: the file is empty"),
        (f"{HEADER}\n", r"t\.csv: holds a header, but no jobs"),
        (HEADER.replace("deadline,", "") + "\n", r"t\.csv:1: column 'deadline':.*or 'ddl'"),
        (HEADER + ",ddl\n", r"t\.csv:1: column 'ddl': means the same as 'deadline'"),
        (HEADER + ",deadline\n", r"t\.csv:1: column 'deadline': stands twice"),
        (f"{HEADER}\na,10,many,m,200,8,1,100\n", r":2: column 'num_iteration': 'many' is not a"),
        (f"{HEADER}\na,10,nan,m,200,8,1,100\n", r":2: column 'num_iteration': 'nan' is not a"),
        (f"{HEADER}\na,inf,9,m,200,8,1,100\n", r":2: column 'submission_time': 'inf' is not a"),
        (f"{HEADER}\na,10,0,m,200,8,1,100\n", r":2: column 'num_iteration':.*more than 0"),
        (f"{HEADER}\na,10,-5,m,200,8,1,100\n", r":2: column 'num_iteration':.*more than 0"),
        (f"{HEADER}\na,10,100,x,200,8,1,100\n", r":2: column 'model_name': no table .*known: m"),
        (f"{HEADER}\na,10,100,m,200,9,1,100\n", r":2: column 'batch_size':.*it has 8, 16"),
        (f"{HEADER}\na,10,100,m,200,8.5,1,100\n", r":2: column 'batch_size': 8.5 is not a whole"),
        (f"{HEADER}\na,10,100,m,10,8,1,100\n", r":2: column 'deadline': 10 is not later"),
        (f"{HEADER}\na,10,100,m,,8,1,100\n", r":2: column 'deadline': '' is not a number"),
        (f"{HEADER}\n{GOOD}\n{GOOD}\n", r":3: column 'job_id': 'a' is the id of line 2, too"),
        (f"{HEADER}\na,10,100,m,200,8,0,100\n", r":2: column 'num_gpu':.*1 or more"),
        (f"{HEADER}\na,10,100,m,200,8,1,0\n", r":2: column 'duration':.*more than 0"),
        (f"{HEADER}\na,10,100,m\n", r":2: 4 cells, but the header has 8"),
        (f'{HEADER}\na,10,100,m,200,8,1,"100\n', r"not a readable table"),
        (f"{HEADER},best_effort\n{GOOD},maybe\n", r":2: column 'best_effort': 'maybe'"),
    ],
)
def test_says_what_is_wrong_and_where(
    table: Table, tables: ThroughputTables, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_trace(table("t.csv", text), tables)


def test_names_every_problem_up_to_ten(table: Table, tables: ThroughputTables) -> None:
    rows = "\n".join(f"{number},10,x,m,200,8,1,100" for number in range(14))
    with pytest.raises(InputError) as caught:
        read_trace(table("t.csv", f"{HEADER}\n{rows}\n"), tables)
    assert len(caught.value.problems) == 14
    assert str(caught.value).count("\n") == 10
    assert "and 4 more problems" in str(caught.value)


def test_unreadable_files(tmp_path: Path, tables: ThroughputTables) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.csv", tables)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_trace(tmp_path, tables)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a UTF-8"):
        read_trace(binary, tables)


def test_a_written_trace_reads_back(table: Table) -> None:
    tables = analytic_tables()
    trace = generate(Recipe(50, 60.0, seed=3, best_effort=0.3), tables)
    again = read_trace(table("generated-3.csv", trace_text(trace)), tables)
    assert again == trace
