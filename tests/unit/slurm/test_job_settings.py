"""What a job asks for beside its shape, as several versions of Slurm tell it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ef_slurm.slurm.commands.job_json import parse_jobs
from ef_slurm.slurm.types import SlurmJob
from tests.unit.slurm.test_job_json import newer, number, older

META = {
    "plugin": {"data_parser": "data_parser/v0.0.42"},
    "slurm": {"release": "24.11.5"},
}
HELD: dict[str, Any] = {
    "job_state": ["PENDING"],
    "state_reason": "JobHeldAdmin",
    "restart_cnt": 0,
    "qos": "normal",
    "dependency": "",
    "features": "",
    "licenses": "",
    "shared": [],
    "contiguous": False,
    "required_switches": 0,
    "flags": ["USING_DEFAULT_ACCOUNT"],
    "memory_per_tres": "",
    "memory_per_node": number(None),
    "memory_per_cpu": number(512),
    "minimum_tmp_disk_per_node": number(0),
    "standard_output": "/home/user1/slurm-7.out",
    "deadline": number(0),
}


def parsed(job: dict[str, Any], meta: dict[str, Any] | None = None) -> SlurmJob:
    jobs = parse_jobs(json.dumps({"meta": META if meta is None else meta, "jobs": [job]}))
    return jobs[7]


def settings(**fields: Any) -> dict[str, str]:
    return dict(parsed(newer(**{**HELD, **fields})).settings)


@pytest.mark.parametrize(
    ("field", "value", "name", "word"),
    [
        ("account", "acct2", "account", "acct2"),
        ("qos", "high", "QOS", "high"),
        ("dependency", "afterany:1(unfulfilled)", "dependency", "afterany:1(unfulfilled)"),
        ("features", "a100", "features", "a100"),
        ("licenses", "matlab:1", "licenses", "matlab:1"),
        ("shared", ["oversubscribe"], "sharing of nodes", "oversubscribe"),
        ("contiguous", True, "contiguous nodes", "yes"),
        ("required_switches", 1, "switches", "1"),
        ("minimum_switches", 1, "switches", "1"),
        ("minimum_tmp_disk_per_node", number(5), "temporary disk per node", "5"),
        ("memory_per_tres", "gres/gpu:5", "memory per GPU", "gres/gpu:5"),
        ("current_working_directory", "/tmp", "working directory", "/tmp"),
        ("standard_output", "/tmp/x", "output file", "/tmp/x"),
        ("deadline", number(99), "Slurm deadline", "99"),
        ("time_limit", number(5), "time limit", "5"),
        ("requeue", False, "requeue", "no"),
    ],
)
def test_a_field_that_differs_is_seen(field: str, value: object, name: str, word: str) -> None:
    before, now = settings(), settings(**{field: value})
    assert now[name] == word
    assert {key for key in now if now[key] != before.get(key)} == {name}


@pytest.mark.parametrize("flag", ["EXACT_MEMORY_REQUESTED", "JOB_MEM_SET"])
def test_memory_counts_where_somebody_asked_for_it(flag: str) -> None:
    asked = {"flags": [flag]}
    assert "memory per CPU" not in settings()  # a default, which follows the shape
    assert settings(**asked)["memory per CPU"] == "512"
    assert settings(**asked)["memory by node or CPU"] == "yes"
    assert "memory per CPU" not in settings(**asked, memory_per_tres="gres/gpu:5")


def test_what_the_cycle_changes_is_left_out() -> None:
    again = settings(
        restart_cnt=1,
        node_count=number(4),
        tasks=number(4),
        cpus=number(64),
        required_nodes="n[1-4]",
        tres_per_node="gres/gpu:4",
        comment="ef-slurm: released by its owner",
        start_time=number(5000),
        memory_per_cpu=number(1024),
        standard_output="/home/user1/n1.out",
    )
    before = settings()
    assert {name for name in again if again[name] != before[name]} == set()


def test_another_slurm_is_told_by_its_release() -> None:
    assert settings()["Slurm"] == "24.11.5 data_parser/v0.0.42"
    assert dict(parsed(newer(), {}).settings)["Slurm"] == ""
    old = dict(parsed(older(), {"Slurm": {"release": "22.05.8"}}).settings)
    assert old["Slurm"] == "22.05.8"
    assert old["account"] == "acct1"


@pytest.mark.parametrize(
    ("fields", "array", "heterogeneous"),
    [
        ({}, False, False),
        ({"array_job_id": number(0), "array_task_string": ""}, False, False),
        ({"het_job_id": number(0), "het_job_id_set": ""}, False, False),
        ({"array_job_id": number(7), "array_task_string": "1-3"}, True, False),
        ({"array_job_id": number(5), "array_task_id": number(0)}, True, False),
        ({"array_job_id": 5}, True, False),
        ({"het_job_id": number(7), "het_job_id_set": "7-8"}, False, True),
        ({"het_job_id": 7}, False, True),
    ],
)
def test_several_jobs_under_one_submission(
    fields: dict[str, Any], array: bool, heterogeneous: bool
) -> None:
    job = parsed(newer(**fields))
    assert (job.array, job.heterogeneous) == (array, heterogeneous)
