"""`squeue --json` of different versions."""

import json
import math
from typing import Any

import pytest

from ef_slurm.slurm.commands.job_json import parse_jobs
from ef_slurm.slurm.errors import UnexpectedOutputError
from ef_slurm.slurm.types import HeldGpus, HoldKind, JobBaseState, SlurmJob


def number(value: float | None, *, infinite: bool = False) -> dict[str, Any]:
    return {"set": value is not None or infinite, "infinite": infinite, "number": value or 0}


def newer(**fields: Any) -> dict[str, Any]:
    """A running job as 24.11 and 26.05 write it, cut down to what is read."""
    return {
        "job_id": 7,
        "name": "train",
        "user_name": "user1",
        "user_id": 3001,
        "account": "acct1",
        "partition": "ef",
        "job_state": ["RUNNING"],
        "state_reason": "None",
        "hold": False,
        "priority": number(4294901758),
        "node_count": number(2),
        "max_nodes": number(0),
        "tasks": number(2),
        "required_nodes": "n[1-2]",
        "excluded_nodes": "",
        "tres_per_node": "gres/gpu:2",
        "tres_alloc_str": "cpu=8,mem=500G,node=2,billing=8,gres/gpu=4",
        "time_limit": number(61),
        "submit_time": number(1000),
        "start_time": number(2000),
        "end_time": number(5660),
        "nodes": "n[1-2]",
        "batch_host": "n1",
        "gres_detail": ["gpu:2(IDX:0-1)", "gpu:2(IDX:2-3)"],
        "exit_code": {
            "status": ["SUCCESS"],
            "return_code": number(0),
            "signal": {"id": number(None), "name": ""},
        },
        "restart_cnt": 1,
        "requeue": True,
        "comment": "deadline",
        "current_working_directory": "/shared/home/user1",
    } | fields


def older(**fields: Any) -> dict[str, Any]:
    """The same job as 22.05 writes it."""
    plain = {
        "job_state": "RUNNING",
        "priority": 4294901758,
        "node_count": 2,
        "max_nodes": 0,
        "tasks": 2,
        "tres_per_node": "gres:gpu:2",
        "time_limit": 61,
        "submit_time": 1000,
        "start_time": 2000,
        "end_time": 5660,
        "exit_code": 0,
    }
    job = newer() | plain | fields
    if "hold" not in fields:
        del job["hold"]
    return job


def parse(job: dict[str, Any]) -> SlurmJob:
    return parse_jobs(json.dumps({"meta": {}, "jobs": [job], "errors": []}))[job["job_id"]]


def test_versions_agree() -> None:
    job = parse(newer())
    assert job == parse(older())
    assert job.is_running
    assert job.gpus == (("n1", 2), ("n2", 2))
    assert job.requested.gpus_per_node == 2
    assert job.requested.nodes == ("n1", "n2")
    assert (job.requested.time_limit, job.start_time, job.end_time) == (3660.0, 2000.0, 5660.0)
    assert (job.reason, job.exit_code) == ("", None)


@pytest.mark.parametrize("make", [newer, older])
def test_held(make: Any) -> None:
    job = parse(make(job_state="PENDING", state_reason="JobHeldAdmin", nodes="", gres_detail=[]))
    assert (job.state, job.hold, job.gpus) == (JobBaseState.PENDING, HoldKind.ADMIN, ())
    assert job.end_time is None


def test_a_hold_by_slurm_itself_is_not_the_owners() -> None:
    told = {"job_state": ["PENDING"], "state_reason": "JobHeldUser"}
    job = parse(newer(**told, state_description="launch failed requeued held"))
    assert job.hold is HoldKind.SLURM


def test_a_hold_behind_another_reason() -> None:
    pending = {"job_state": ["PENDING"], "state_reason": "BeginTime"}
    assert parse(newer(**pending, priority=number(0))).hold is HoldKind.UNKNOWN
    assert parse(newer(**pending, hold=True)).hold is HoldKind.UNKNOWN
    assert parse(newer(**pending)).hold is HoldKind.NONE


@pytest.mark.parametrize(
    ("words", "state", "final"),
    [
        (["COMPLETED"], JobBaseState.COMPLETED, True),
        (["COMPLETED", "COMPLETING"], JobBaseState.COMPLETED, False),
        ("COMPLETING", JobBaseState.UNKNOWN, False),
        (["PENDING", "REQUEUED"], JobBaseState.PENDING, False),
        ("REQUEUE_HOLD", JobBaseState.PENDING, False),
        ("SPECIAL_EXIT", JobBaseState.PENDING, False),
        ("CONFIGURING", JobBaseState.RUNNING, False),
        ("SIGNALING", JobBaseState.RUNNING, False),
        ("RESIZING", JobBaseState.RUNNING, False),
        ("STOPPED", JobBaseState.RUNNING, False),
        ("STAGE_OUT", JobBaseState.UNKNOWN, False),
        (["FAILED", "REQUEUED"], JobBaseState.FAILED, False),
        (["EXPLODED"], JobBaseState.UNKNOWN, False),
        (["COMPLETED", "FAILED"], JobBaseState.UNKNOWN, False),
        ([], JobBaseState.UNKNOWN, False),
        (None, JobBaseState.UNKNOWN, False),
        (["OUT_OF_MEMORY"], JobBaseState.OUT_OF_MEMORY, True),
        (["DEADLINE"], JobBaseState.DEADLINE, True),
    ],
)
def test_states(words: Any, state: JobBaseState, final: bool) -> None:
    job = parse(newer(job_state=words))
    assert (job.state, job.is_final) == (state, final)


def test_a_completing_job_still_holds_its_gpus() -> None:
    job = parse(newer(job_state=["COMPLETED", "COMPLETING"], gres_detail=[]))
    assert job.holds_nodes
    assert job.gpus == (("n1", 2), ("n2", 2))


@pytest.mark.parametrize("limit", [number(None, infinite=True), 4294967295])
def test_no_time_limit(limit: Any) -> None:
    job = parse(newer(time_limit=limit))
    assert job.requested.time_limit == math.inf
    assert job.end_time == math.inf


def test_typed_gpus() -> None:
    job = parse(
        newer(
            gres_detail=["gpu:a100:2(IDX:0-1),shard:0", "gpu:a100:1(IDX:0),gpu:t4:1(IDX:1)"],
            tres_per_node="gres/gpu:a100:2",
        )
    )
    assert job.gpus == (("n1", 2), ("n2", 2))
    assert job.requested.gpus_per_node == 2


def test_exit_codes() -> None:
    failed = {"job_state": ["FAILED"]}
    code = {"return_code": number(75), "signal": {"id": number(None)}}
    assert parse(newer(**failed, exit_code=code)).exit_code == 75
    killed = {"return_code": number(0), "signal": {"id": number(9)}}
    assert parse(newer(**failed, exit_code=killed)).exit_code is None
    assert parse(older(job_state="FAILED", exit_code=75 << 8)).exit_code == 75
    assert parse(older(job_state="FAILED", exit_code=9)).exit_code is None


def test_fields_that_are_missing() -> None:
    job = parse({"job_id": 3})
    assert (job.state, job.name, job.requested.gpus_per_node) == (JobBaseState.UNKNOWN, "", None)


@pytest.mark.parametrize("text", ["", "slurm", "[]", '{"jobs": 3}', '{"jobs": [{"name": "x"}]}'])
def test_what_is_no_listing(text: str) -> None:
    with pytest.raises(UnexpectedOutputError, match="squeue --json"):
        parse_jobs(text)


def test_what_22_05_does_not_tell() -> None:
    """After a requeue it shows the last run's nodes; UNLIMITED is null."""
    fields: dict[str, Any] = {
        "job_state": "PENDING",
        "nodes": "",
        "gres_detail": [],
        "time_limit": None,
    }
    asked = parse(older(**fields)).requested
    assert (asked.min_nodes, asked.max_nodes, asked.tasks, asked.time_limit) == (
        None,
        None,
        2,
        None,
    )
    assert parse(older(time_limit=None)).end_time == math.inf


def test_who_waited_for_nodes_before_a_restart_of_slurmctld_does_not_tell_how_many() -> None:
    """24.11.5 shows those for which it waited, whatever it was updated to."""
    fields: dict[str, Any] = {"nodes": "", "gres_detail": [], "node_count": number(1)}
    asked = parse(newer(job_state=["PENDING"], restart_cnt=0, **fields)).requested
    assert (asked.min_nodes, asked.max_nodes, asked.tasks) == (None, None, 2)


def test_a_requeued_job_of_newer_versions_tells_what_it_asks_for() -> None:
    job = parse(newer(job_state=["PENDING"], restart_cnt=2, max_nodes=number(2)))
    assert (job.requested.min_nodes, job.requested.max_nodes) == (2, 2)


@pytest.mark.parametrize(
    ("details", "held"),
    [
        (["gpu:3090:2(IDX:0-1)"], (HeldGpus("n1", "3090", 2),)),
        (["gpu:(null):4(IDX:0-3)"], (HeldGpus("n1", "", 4),)),
        (["gpu:1g.10gb:2(IDX:0,3)"], (HeldGpus("n1", "1g.10gb", 2),)),
        (
            ["gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:2)"],
            (HeldGpus("n1", "a100", 2), HeldGpus("n1", "v100", 1)),
        ),
        (["shard:a100:3(3/8)"], (HeldGpus("n1", "a100", 1),)),
        ([""], ()),
    ],
)
def test_what_a_job_holds(details: list[str], held: tuple[HeldGpus, ...]) -> None:
    job = parse(newer(nodes="n1", gres_detail=details))
    assert job.held == held
    assert job.gpus == (("n1", sum(one.count for one in held)),)


def test_gpus_that_nobody_can_count_are_told() -> None:
    with pytest.raises(UnexpectedOutputError, match="more than one type"):
        parse(newer(nodes="n1", gres_detail=["gpu:a:b:4"]))


@pytest.mark.parametrize(
    "text",
    ["gres/gpu:a:b:1", "gres/gpu:a:b:c:d:1", "gres/gpu:1(x", "gres/gpu:x(y)z:1", "gres/gpu:a)b:1"],
)
def test_what_a_user_asks_for_hides_no_job(text: str) -> None:
    """As 24.11 keeps what `sbatch --hold --gres` was given."""
    hostile = newer(job_state=["PENDING"], nodes="", gres_detail=[], tres_per_node=text)
    found = parse_jobs(json.dumps({"jobs": [hostile, newer(job_id=8)]}))
    assert found[7].requested.gpus_per_node is None
    assert found[7].state is JobBaseState.PENDING
    assert found[8].gpus == (("n1", 2), ("n2", 2))


def test_nodes_that_nobody_can_read_hide_no_job() -> None:
    found = parse_jobs(json.dumps({"jobs": [newer(required_nodes="n[2-1]"), newer(job_id=8)]}))
    assert (found[7].requested.nodes, found[8].requested.nodes) == ((), ("n1", "n2"))
