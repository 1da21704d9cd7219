"""Histories that are no text of sacct's: its JSON, and published traces."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.formats.errors import InputError
from ef_slurm.simulator.history import records
from ef_slurm.simulator.history.read import HistoryFormat, format_of, read_history
from tests.unit.conftest import Table


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def number(value: float | None) -> dict[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


def newer(job_id: int = 7, **other: Any) -> dict[str, Any]:
    """A job as 24.11 writes it."""
    gpus = [
        {"type": "cpu", "name": "", "id": 1, "count": 8},
        {"type": "gres", "name": "gpu", "id": 1001, "count": 4},
        {"type": "gres", "name": "gpu:a100", "id": 1002, "count": 4},
    ]
    job: dict[str, Any] = {
        "job_id": job_id,
        "name": 'a|b"\nc',
        "array": {"job_id": 0, "task_id": number(None)},
        "time": {"submission": 100, "start": 200, "end": 1000, "limit": number(60)},
        "state": {"current": ["COMPLETED"], "reason": "None"},
        "tres": {"allocated": gpus, "requested": gpus},
        "steps": [{}],
    }
    return {**job, **other}


def listing(*jobs: Any) -> str:
    return json.dumps({"jobs": jobs, "errors": []})


def test_json_of_sacct(table: Table) -> None:
    (job,) = read_history(table("h.json", listing(newer()))).jobs
    assert job == records.SiteJob("7", 100.0, 200.0, 1000.0, 4, 3600.0)


def test_json_of_an_older_sacct(table: Table) -> None:
    times = {"submission": 100, "start": 200, "end": 1000, "limit": 60}
    older = newer(time=times, state={"current": "COMPLETED"}, cluster="big")
    (job,) = read_history(table("h.json", listing(older))).jobs
    assert job == records.SiteJob("big/7", 100.0, 200.0, 1000.0, 4, 3600.0)


def test_json_with_a_line_break_in_a_name(table: Table) -> None:
    text = listing(newer()).replace("\\n", "\n")
    assert len(read_history(table("h.json", text)).jobs) == 1


def test_json_rows_that_are_no_trainings(table: Table) -> None:
    running = {"submission": 100, "start": 200, "end": 0, "limit": number(None)}
    crash = {"submission": 100, "start": 200, "end": 235, "limit": number(None)}
    task = {"job_id": 40, "task_id": number(3)}
    text = listing(
        newer(),
        newer(8, time=running, state={"current": ["RUNNING"]}),
        newer(9, time=crash, state={"current": ["OUT_OF_MEMORY"]}),
        newer(10, tres={"allocated": [], "requested": []}),
        newer(43, array=task),
    )
    history = read_history(table("h.json", text))
    assert [job.id for job in history.jobs] == ["7", "40_3"]
    assert history.left_out == {
        records.NOT_ENDED: 1,
        records.NO_GPUS: 1,
        records.NO_TRAINING: 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "h.json:1: is no JSON"),
        ('{"jobs": 3}', 'holds no list "jobs"'),
        ('{"jobs": []}', "holds no finished GPU jobs"),
        (listing(newer(), {"job_id": 3}), "job 2 of the list cannot be read: KeyError: 'time'"),
        (listing(3), "job 1 of the list cannot be read"),
    ],
)
def test_what_is_no_json_of_sacct(table: Table, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_history(table("h.json", text))


def attempt(start: str | None, end: str | None, gpus: int = 2) -> dict[str, Any]:
    servers = [{"ip": "m1", "gpus": [f"gpu{i}" for i in range(gpus)]}, {"ip": "m2", "gpus": ["g"]}]
    return {"start_time": start, "end_time": end, "detail": servers}


def philly(status: str, *attempts: dict[str, Any], name: str = "app_1") -> dict[str, Any]:
    return {
        "status": status,
        "vc": "ee9e8c",
        "jobid": name,
        "attempts": attempts,
        "submitted_time": "2017-10-07 01:00:00",
        "user": "ce2f4c",
    }


def test_philly(table: Table) -> None:
    first = attempt("2017-10-07 01:10:00", "2017-10-07 01:20:00")
    second = attempt("2017-10-07 01:20:10", "2017-10-07 03:20:10")
    quick = attempt("2017-10-07 01:10:00", "2017-10-07 01:10:35")
    history = read_history(
        table(
            "cluster_job_log",
            json.dumps(
                [
                    philly("Pass", first, second),
                    philly("Killed", quick, name="b"),
                    philly("Pass", name="c"),
                    philly("Pass", attempt("2017-10-07 01:10:00", None), name="d"),
                    philly("Failed", attempt("None", "2017-10-07 01:10:00"), name="e"),
                ]
            ),
        )
    )
    (job,) = history.jobs
    assert (job.id, job.gpus, job.run_seconds) == ("app_1", 3, 7200)
    assert job.gpu_seconds == 3 * (600 + 7200)
    assert job.started - job.submitted == 1210
    assert history.left_out == {
        records.DUPLICATE: 1,
        records.NO_TRAINING: 1,
        records.NEVER_STARTED: 2,
        records.NOT_ENDED: 1,
    }


def test_philly_says_which_job_is_wrong(table: Table) -> None:
    with pytest.raises(InputError, match="job 1 of the list cannot be read: KeyError: 'submitted"):
        read_history(table("cluster_job_log", '[{"jobid": "a"}]'))
    late = table("cluster_job_log", json.dumps([philly("Pass", attempt("soon", None))]))
    with pytest.raises(InputError, match="'soon' is not a time"):
        read_history(late)


HELIOS = (
    "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue"
)


def test_helios(table: Table) -> None:
    times = "2020-06-09 18:41:01,2020-06-09 18:51:01,2020-06-09 20:51:01,7200,600"
    crash = "2020-06-09 18:41:01,2020-06-09 18:51:01,2020-06-09 18:51:36,35,600"
    rows = (
        HELIOS,
        f"1,u1,vc1,8,16,1,COMPLETED,{times}",
        f"2,u1,vc1,8,16,1,FAILED,{crash}",
        f"3,u1,vc1,0,16,1,COMPLETED,{times}",
        "4,u1,vc1,8,16,1,CANCELLED,2020-06-09 18:41:01,,2020-06-09 18:51:36,0,600",
        f"5,u1,vc1,4,16,1,NODE_FAIL,{times}",
    )
    history = read_history(table("cluster_log.csv", "\n".join(rows)))
    assert [(job.id, job.gpus, job.run_seconds) for job in history.jobs] == [
        ("1", 8, 7200),
        ("5", 4, 7200),
    ]
    assert history.left_out == {
        records.NO_TRAINING: 1,
        records.NO_GPUS: 1,
        records.NEVER_STARTED: 1,
    }


def test_helios_says_what_is_wrong(table: Table) -> None:
    text = f"{HELIOS}\n1,u,v,many,1,1,COMPLETED,2020-06-09 18:41:01,now,,1,1\n"
    with pytest.raises(InputError, match="cluster_log.csv:2: column 'start_time': 'now' is not"):
        read_history(table("cluster_log.csv", text))
    with pytest.raises(InputError, match="column 'gpu_num': is missing"):
        read_history(table("x.csv", "job_id,state\n1,a\n"), HistoryFormat.HELIOS)


TASKS = (
    "a,worker,2.0,Terminated,1000.0,9000.0,600.0,29.29,50.0,MISC",
    "a,ps,1.0,Terminated,1010.0,9100.0,600.0,29.29,,",
    "b,tensorflow,4.0,Terminated,2000.0,3000.0,600.0,29.29,100.0,V100",
    "c,tensorflow,1.0,Failed,2000.0,2035.0,600.0,29.29,100.0,T4",
    "d,tensorflow,1.0,Running,2000.0,,600.0,29.29,100.0,T4",
    "e,worker,1.0,Waiting,,,600.0,29.29,25.0,T4",
    "f,worker,1.0,Terminated,2000.0,9000.0,600.0,29.29,0.0,T4",
    "g,worker,3.0,Terminated,2000.0,9000.0,600.0,29.29,33.4,T4",
)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",".join(
            (
                "job_name",
                "task_name",
                "inst_num",
                "status",
                "start_time",
                "end_time",
                "plan_cpu",
                "plan_mem",
                "plan_gpu",
                "gpu_type",
            )
        )
        + "\n",
    ],
)
def test_alibaba_2020(table: Table, header: str) -> None:
    jobs = "a,i1,u1,Terminated,900.0,9100.0\nb,i2,u1,Terminated,2100.0,3000.0\nz,i,u,Waiting,,\n"
    table("pai_job_table.csv", jobs)
    history = read_history(table("pai_task_table.csv", header + "\n".join(TASKS)))
    assert [(j.id, j.submitted, j.started, j.ended, j.gpus) for j in history.jobs] == [
        ("a", 900.0, 1000.0, 9100.0, 1),
        ("b", 2000.0, 2000.0, 3000.0, 4),
        ("g", 2000.0, 2000.0, 9000.0, 2),
    ]
    assert history.left_out == {
        records.NO_TRAINING: 1,
        records.NOT_ENDED: 1,
        records.NEVER_STARTED: 1,
        records.NO_GPUS: 1,
    }


PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,"
    "deletion_time,scheduled_time\n"
)


def test_alibaba_2023(table: Table) -> None:
    rows = (
        "openb-pod-0017,88000,327680,8,1000,,Burstable,Succeeded,9437497,10769854,9437497.0",
        "openb-pod-0022,4000,15258,1,220,,BE,Running,9679175,9973826,9679180.0",
        "openb-pod-0035,16000,32768,1,1000,V100M16|V100M32,LS,Failed,9967058,9968575,9968563.0",
        "openb-pod-0036,16000,32768,0,0,,LS,Succeeded,9967058,9968575,9967063.0",
        "openb-pod-0037,16000,32768,2,1000,,LS,Pending,9967058,9968575,",
    )
    history = read_history(table("openb_pod_list_default.csv", PODS + "\n".join(rows)))
    assert [(job.id, job.gpus, job.started - job.submitted) for job in history.jobs] == [
        ("openb-pod-0017", 8, 0.0),
        ("openb-pod-0022", 1, 5.0),
    ]
    assert history.left_out == {
        records.NO_TRAINING: 1,
        records.NO_GPUS: 1,
        records.NEVER_STARTED: 1,
    }


def test_alibaba_says_what_is_wrong(table: Table) -> None:
    with pytest.raises(InputError, match="pods.csv:2: column 'creation_time': 'x' is not a number"):
        read_history(table("pods.csv", f"{PODS}p,1,1,1,1,,BE,Failed,x,1,1\n"))
    with pytest.raises(InputError, match="column 'plan_gpu': 'half' is not a number"):
        read_history(table("t.csv", TASKS[0].replace("50.0", "half")))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[]", HistoryFormat.PHILLY),
        (' {"meta"', HistoryFormat.SACCT_JSON),
        (f"{HELIOS}\n", HistoryFormat.HELIOS),
        (PODS, HistoryFormat.ALIBABA_2023),
        (TASKS[1], HistoryFormat.ALIBABA_2020),
        ("JobID|Submit", HistoryFormat.SACCT),
        ("JobID,Submit,Start,End,AllocTRES,State,A,B,C,D", HistoryFormat.SACCT),
        ("", HistoryFormat.SACCT),
    ],
)
def test_formats_are_told_by_how_they_begin(text: str, kind: HistoryFormat) -> None:
    assert format_of(text) is kind


@pytest.mark.parametrize("kind", HistoryFormat)
def test_a_file_that_is_not_there(tmp_path: Path, kind: HistoryFormat) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_history(tmp_path / "none", kind)


@pytest.mark.parametrize("kind", HistoryFormat)
@pytest.mark.parametrize(
    "text", ["", "\x00", "a,b\n1", "[1]", '{"jobs": [{}]}', "a,a\n", ",,,\n,\n"]
)
def test_no_file_ends_in_a_traceback(table: Table, kind: HistoryFormat, text: str) -> None:
    with pytest.raises(InputError):
        read_history(table("h", text), kind)
