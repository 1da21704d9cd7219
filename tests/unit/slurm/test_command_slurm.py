"""What is asked of Slurm's commands, and what is made of their answers, without a Slurm.

What the commands really answer, the contract tests know.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.job_steps import parse_step_nodes
from ef_slurm.slurm.commands.recent import RECENT_SECONDS, RecentJobs
from ef_slurm.slurm.commands.runner import Result, Runner
from ef_slurm.slurm.errors import (
    HeldFirstError,
    NoSuchJobError,
    RefusedError,
    SlurmTimeoutError,
    UnexpectedOutputError,
    UpdateIncompleteError,
)
from ef_slurm.slurm.types import HoldKind, JobUpdate, Shape, SignalTarget

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Console(Runner):
    """Knows one job; a command changes it, or is refused, as told."""

    job: dict[str, Any] = field(default_factory=dict)
    effects: dict[str, Change | str] = field(default_factory=dict)
    """First two words of a command → what it does to the job, or the words of a refusal."""
    asked: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    """Programs that were run, those that only look included."""
    release: str = ""

    def query(self, command: Sequence[str], text: str = "") -> Result:
        self.processes.append(" ".join(command[:2]))
        if command[0] == "squeue" and command[1] != "--json":
            raise RefusedError("Invalid job format specification")
        if command[0] == "squeue":
            meta = {"slurm": {"release": self.release}} if self.release else {}
            return Result(json.dumps({"meta": meta, "jobs": [self.job]}), "")
        if command[:2] == ("scontrol", "--oneliner"):
            return Result("", "")
        if command == ("scontrol",):
            return self._several(text.splitlines())
        self.asked.append(" ".join(command))
        effect = self.effects.get(" ".join(command[:2]))
        if isinstance(effect, str):
            raise RefusedError(effect)
        if effect is not None:
            effect(self.job)
        return Result("", "")

    def _several(self, lines: list[str]) -> Result:
        """scontrol does each line, and fails in the end if one of them did."""
        assert lines.pop() == "quit"
        said, refusals = "", []
        for line in lines:
            if line.startswith("show job "):
                said = f"   JobState={self.job['job_state'][0]} Reason={self.job['state_reason']}\n"
                continue
            try:
                self.query(("scontrol", *line.split()))
            except RefusedError as error:
                refusals.append(error.message)
            self.processes.pop()  # it is none of its own
        if refusals:
            raise RefusedError("; ".join(refusals))
        return Result(said, "")


def console(state: str = "PENDING", *, release: str = "", **fields: Any) -> Console:
    job = {
        "job_id": 7,
        "job_state": [state],
        "tasks": 1,
        "node_count": 1,
        "max_nodes": 1,
        "required_nodes": "n1",
        "tres_per_node": "gres/gpu:1",
        "priority": 100,
        "state_reason": "None",
        "nodes": "n[1-2]" if state == "RUNNING" else "",
    }
    return Console(job=job | fields, release=release)


def sets(**fields: Any) -> Change:
    return lambda job: job.update(fields)


SHAPE = Shape(("n2", "n3"), 4)
SHAPED = sets(
    tasks=2, node_count=2, max_nodes=2, required_nodes="n[2-3]", tres_per_node="gres/gpu:4"
)
UPDATE = (
    "scontrol update jobid=7 NumNodes=2-2 NumTasks=2 NumCPUs=2 ReqNodeList=n[2-3] "
    "TresPerNode=gres:gpu:4"
)


def test_a_shape_is_asked_for_in_one_update_and_read_back() -> None:
    slurm = console()
    slurm.effects["scontrol update"] = SHAPED
    update = JobUpdate(shape=SHAPE, time_limit=61.0, start_now=True)
    slurm.job["time_limit"] = 2
    assert CommandSlurm(slurm).update(7, update).requested.gpus_per_node == 4
    assert slurm.asked == [f"{UPDATE} TimeLimit=2 StartTime=now"]


@pytest.mark.parametrize(("per_gpu", "cpus"), [("gres/gpu:16", 128), ("gres:gpu:1", 8), ("", 2)])
def test_the_cpus_of_a_shape_are_those_of_its_gpus(per_gpu: str, cpus: int) -> None:
    slurm = console()
    slurm.job["cpus_per_tres"] = per_gpu
    slurm.effects["scontrol update"] = SHAPED
    CommandSlurm(slurm).update(7, JobUpdate(shape=SHAPE))
    assert slurm.asked == [UPDATE.replace("NumCPUs=2", f"NumCPUs={cpus}")]


def test_a_shape_that_slurm_took_only_in_part_is_told() -> None:
    slurm = console()
    slurm.effects["scontrol update"] = sets(tasks=2, node_count=2, max_nodes=2)
    with pytest.raises(UpdateIncompleteError) as caught:
        CommandSlurm(slurm).update(7, JobUpdate(shape=SHAPE))
    assert caught.value.differences == (
        "GPUs per node is gpu:1, not gpu:4",
        "node list is n1, not n[2-3]",
    )


def test_a_refused_update_says_what_it_changed_all_the_same() -> None:
    slurm = console()
    slurm.effects["scontrol update"] = "Requested node configuration is not available"
    with pytest.raises(UpdateIncompleteError, match="configuration is not available") as caught:
        CommandSlurm(slurm).update(7, JobUpdate(shape=SHAPE))
    assert "tasks is 1, not 2" in caught.value.differences


def test_the_shape_of_a_job_that_runs_is_not_touched() -> None:
    slurm = console("RUNNING")
    with pytest.raises(RefusedError, match="is not pending"):
        CommandSlurm(slurm).update(7, JobUpdate(shape=SHAPE))
    assert slurm.asked == []


def test_an_update_of_nothing_asks_nothing() -> None:
    slurm = console()
    assert CommandSlurm(slurm).update(7, JobUpdate()).job_id == 7
    assert slurm.asked == []


def test_a_requeued_job_is_held_against_its_owner_too() -> None:
    slurm = console("RUNNING")
    slurm.effects["scontrol requeue"] = sets(job_state=["PENDING"])
    CommandSlurm(slurm).requeue(7, foreign={HoldKind.USER})
    assert slurm.asked == ["scontrol requeue incomplete 7", "scontrol hold 7"]


def test_a_job_that_is_pending_already_is_only_held() -> None:
    slurm = console()
    CommandSlurm(slurm).requeue(7)
    assert slurm.asked == ["scontrol hold 7"]


def test_an_ended_job_is_put_back_where_that_is_asked_for() -> None:
    slurm = console("FAILED")
    slurm.effects["scontrol requeuehold"] = sets(
        job_state=["PENDING"], priority=0, state_reason="JobHeldUser"
    )
    with pytest.raises(RefusedError, match="has ended"):
        CommandSlurm(slurm).requeue(7)
    CommandSlurm(slurm).requeue(7, ended=True, foreign={HoldKind.USER})
    assert slurm.asked == ["scontrol requeuehold 7", "scontrol hold 7"]


def put_back_by_others(state: str, **fields: Any) -> Console:
    """Since it was seen. Slurm says so of a job that had ended alone."""

    def requeued(job: dict[str, Any]) -> None:
        job.update(fields, job_state=["PENDING"])
        if state != "RUNNING":
            raise RefusedError("Job is pending execution")

    slurm = console(state)
    slurm.effects["scontrol requeue"] = slurm.effects["scontrol requeuehold"] = requeued
    return slurm


@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])
def test_a_requeue_that_somebody_else_was_faster_with(state: str) -> None:
    slurm = put_back_by_others(state)
    CommandSlurm(slurm).requeue(7, ended=True, foreign={HoldKind.USER})
    assert slurm.asked[-1] == "scontrol hold 7"


def test_a_hold_that_was_there_before_our_requeue_is_given_back() -> None:
    slurm = put_back_by_others("RUNNING", priority=0, state_reason="JobHeldUser")
    slurm.effects["scontrol hold"] = sets(state_reason="JobHeldAdmin")
    slurm.effects["scontrol uhold"] = sets(state_reason="JobHeldUser")
    with pytest.raises(HeldFirstError, match="put back by others"):
        CommandSlurm(slurm).requeue(7, foreign={HoldKind.USER})
    assert slurm.asked[-2:] == ["scontrol hold 7", "scontrol uhold 7"]
    slurm.asked.clear()
    # Seen by now to pend.
    with pytest.raises(HeldFirstError, match="JobHeldUser"):
        CommandSlurm(slurm).requeue(7, foreign={HoldKind.USER})
    assert slurm.asked == []
    # Where we are its owner, nobody can tell the two apart.
    CommandSlurm(slurm).requeue(7)
    assert slurm.asked[-1] == "scontrol hold 7"


def test_a_hold_of_who_had_ended_before_our_requeue_does_not_become_ours() -> None:
    slurm = put_back_by_others("FAILED", priority=0, state_reason="JobHeldUser")
    with pytest.raises(HeldFirstError, match="put back by others"):
        CommandSlurm(slurm).requeue(7, ended=True, foreign={HoldKind.USER})
    assert "scontrol hold 7" not in slurm.asked


def test_our_own_first_hold_of_one_that_had_ended_is_not_its_owners() -> None:
    slurm = console("FAILED")
    slurm.effects["scontrol requeuehold"] = sets(
        job_state=["PENDING"], priority=0, state_reason="JobHeldUser"
    )
    slurm.effects["scontrol hold"] = "Requested operation is presently disabled"
    with pytest.raises(RefusedError, match="presently disabled") as refused:
        CommandSlurm(slurm).requeue(7, ended=True, foreign={HoldKind.USER})
    assert not isinstance(refused.value, HeldFirstError)


def test_a_hold_that_was_there_before_ours_is_given_back() -> None:
    slurm = console(priority=0, state_reason="JobHeldUser")
    slurm.effects["scontrol hold"] = sets(state_reason="JobHeldAdmin")
    slurm.effects["scontrol uhold"] = sets(state_reason="JobHeldUser")
    with pytest.raises(HeldFirstError, match="held by its owner"):
        CommandSlurm(slurm).hold(7, foreign={HoldKind.USER})
    assert slurm.asked == ["scontrol hold 7", "scontrol uhold 7"]
    assert slurm.processes == ["scontrol", "scontrol uhold"]
    # Seen before, it is replaced.
    CommandSlurm(slurm).hold(7)
    assert slurm.job["state_reason"] == "JobHeldAdmin"
    free = console()
    CommandSlurm(free).hold(7, foreign={HoldKind.USER})
    assert (free.asked, free.processes) == (["scontrol hold 7"], ["scontrol"])


def test_one_that_has_ended_since_it_was_seen_is_not_put_back() -> None:
    slurm = console("RUNNING")
    slurm.effects["scontrol requeue"] = sets(job_state=["COMPLETED"])
    slurm.effects["scontrol hold"] = "Job has already finished"
    with pytest.raises(RefusedError, match="has ended"):
        CommandSlurm(slurm).requeue(7)


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED"])
def test_a_requeue_that_slurm_refuses(state: str) -> None:
    slurm = console(state)
    slurm.effects["scontrol requeue"] = "Requested operation not supported"
    with pytest.raises(RefusedError, match="not supported|has ended"):
        CommandSlurm(slurm).requeue(7)


def test_a_hold_that_is_refused_is_no_requeue() -> None:
    slurm = console("RUNNING")
    slurm.effects["scontrol requeue"] = sets(job_state=["PENDING"])
    slurm.effects["scontrol hold"] = "Access denied"
    with pytest.raises(RefusedError, match="Access denied"):
        CommandSlurm(slurm).requeue(7)


def test_release_of_a_job_that_nobody_holds() -> None:
    slurm = console("RUNNING")
    slurm.effects["scontrol release"] = "Job is no longer pending execution"
    CommandSlurm(slurm).release(7)
    held = console(priority=0)
    held.effects["scontrol release"] = "Access denied"
    with pytest.raises(RefusedError, match="Access denied"):
        CommandSlurm(held).release(7)


def test_a_running_job_shrinks_to_some_of_its_nodes() -> None:
    slurm = console("RUNNING")
    slurm.effects["scontrol update"] = sets(nodes="n1")
    assert CommandSlurm(slurm).resize(7, ["n1"]).nodes == ("n1",)
    assert slurm.asked == ["scontrol update jobid=7 ReqNodeList=n1"]


@pytest.mark.parametrize(
    ("state", "nodes"), [("RUNNING", ["n3"]), ("RUNNING", []), ("PENDING", ["n1"])]
)
def test_what_cannot_shrink(state: str, nodes: list[str]) -> None:
    slurm = console(state)
    with pytest.raises(RefusedError, match="cannot shrink"):
        CommandSlurm(slurm).resize(7, nodes)
    assert slurm.asked == []


def test_a_resize_that_did_nothing_is_told() -> None:
    with pytest.raises(UpdateIncompleteError, match=r"took the resize .* is on n\[1-2\]"):
        CommandSlurm(console("RUNNING")).resize(7, ["n1"])


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("", set()),
        ("7.batch n1\n7.extern n[1-4]\n", set()),
        ("7.0 n[1-2]\n7.1 n2\n7.interactive n4\n", {"n1", "n2", "n4"}),
        ("7.0 \n", set()),  # none yet
        ("77.0 n3\n", set()),
    ],
)
def test_steps_are_those_of_the_jobs_script(text: str, nodes: set[str]) -> None:
    assert parse_step_nodes(text, 7) == nodes


@pytest.mark.parametrize("text", ["squeue: what?\n", "7 n1\n", "7.0 n[1-\n", "7.0 n1 n2\n"])
def test_what_tells_of_no_steps_is_an_error(text: str) -> None:
    with pytest.raises(UnexpectedOutputError):
        parse_step_nodes(text, 7)


def test_signals_go_to_running_jobs_only() -> None:
    slurm = console("RUNNING")
    CommandSlurm(slurm).signal(7, "USR2", SignalTarget.ALL)
    assert slurm.asked == ["scancel --signal=USR2 --full 7"]
    with pytest.raises(RefusedError, match="is not running"):
        CommandSlurm(console()).signal(7, "USR2", SignalTarget.ALL)


def test_cancelling_what_has_ended_is_no_error() -> None:
    for state, refused in (("COMPLETED", False), ("RUNNING", True)):
        slurm = console(state)
        slurm.effects["scancel 7"] = "Job/step already completing or completed"
        if refused:
            with pytest.raises(RefusedError, match="already"):
                CommandSlurm(slurm).cancel(7)
        else:
            CommandSlurm(slurm).cancel(7)


def test_another_job_is_not_ours() -> None:
    with pytest.raises(NoSuchJobError, match="does not know job 8"):
        CommandSlurm(console()).job(8)


def test_an_update_names_the_type_and_it_is_read_back() -> None:
    slurm = console()
    mig = Shape(("n2", "n3"), 4, "1g.10gb")
    slurm.effects["scontrol update"] = sets(
        tasks=2,
        node_count=2,
        max_nodes=2,
        required_nodes="n[2-3]",
        tres_per_node="gres/gpu:1g.10gb:4",
    )
    assert CommandSlurm(slurm).update(7, JobUpdate(shape=mig)).requested.gpu_type == "1g.10gb"
    assert slurm.asked == [UPDATE.replace("gpu:4", "gpu:1g.10gb:4")]
    with pytest.raises(UpdateIncompleteError, match="gpu:1g.10gb:4, not gpu:3090:4"):
        CommandSlurm(slurm).update(7, JobUpdate(shape=Shape(("n2", "n3"), 4, "3090")))


@pytest.mark.parametrize(
    ("release", "asked_for", "gpu_type", "cleared"),
    [
        ("22.05.8", "gres:gpu:1", "a100", True),
        ("22.05.8", "gres:gpu:a100:1", "3090", True),
        ("22.05.8", "gres:gpu:a100:1", "a100", True),  # there may be another one beside it
        ("22.05.8", "gres:gpu:a100:1", "", True),
        ("22.05.8", "gres:gpu:1", "", False),
        ("23.02.7", "gres:gpu:1", "a100", True),
        ("24.11.5", "gres/gpu:1", "a100", False),
        ("26.05.1", "gres/gpu:a100:1", "3090", False),
        ("", "gres/gpu:a100:1", "3090", False),
    ],
)
def test_an_old_slurm_keeps_no_type_beside_that_of_the_shape(
    release: str, asked_for: str, gpu_type: str, cleared: bool
) -> None:
    slurm = console(tres_per_node=asked_for, release=release)
    words = f"{gpu_type}:" if gpu_type else ""
    shape = Shape(("n2", "n3"), 4, gpu_type)

    def shaped(job: dict[str, Any]) -> None:
        SHAPED(job)
        job["tres_per_node"] = f"gres/gpu:{words}4"

    slurm.effects["scontrol update"] = shaped
    CommandSlurm(slurm).update(7, JobUpdate(shape=shape))
    first = ["scontrol update jobid=7 TresPerNode="] if cleared else []
    assert slurm.asked == [*first, UPDATE.replace("gpu:4", f"gpu:{words}4")]


def looked_at(console: Console) -> CommandSlurm:
    """One that has just looked at everything."""
    slurm = CommandSlurm(console)
    slurm.observe()
    console.processes.clear()
    return slurm


HELD: dict[str, Any] = {"priority": 0, "state_reason": "JobHeldAdmin"}


def test_a_start_is_three_processes() -> None:
    slurm = console(**HELD)
    slurm.effects["scontrol update"] = SHAPED
    slurm.effects["scontrol release"] = sets(priority=100)
    asked = looked_at(slurm)
    asked.update(7, JobUpdate(shape=SHAPE, start_now=True))
    asked.release(7)
    assert slurm.processes == ["scontrol update", "squeue --json", "scontrol release"]


def test_a_stop_is_two_processes() -> None:
    slurm = console("RUNNING")
    slurm.effects["scontrol requeue"] = sets(job_state=["PENDING"])
    asked = looked_at(slurm)
    asked.signal(7, "USR2", SignalTarget.STEPS)
    asked.requeue(7)
    assert slurm.processes == ["scancel --signal=USR2", "scontrol"]
    assert slurm.asked[-2:] == ["scontrol requeue incomplete 7", "scontrol hold 7"]


def test_what_was_let_go_is_read_before_it_is_shaped() -> None:
    released = console(**HELD)
    asked = looked_at(released)
    asked.release(7)
    released.job.update(job_state=["RUNNING"], nodes="n1")
    with pytest.raises(RefusedError, match="is not pending"):
        asked.update(7, JobUpdate(shape=SHAPE))


def test_a_look_counts_for_so_long() -> None:
    now = [100.0]
    recent = RecentJobs(lambda: now[0])
    job = CommandSlurm(console()).job(7)
    recent.look({7: job}, 100.0)
    assert recent.get(7) is job
    assert recent.get(8) is None
    now[0] += RECENT_SECONDS + 0.1
    assert recent.get(7) is None
    recent.look({7: job}, now[0])
    recent.forget(7)
    assert recent.get(7) is None


def test_a_job_that_was_seen_without_a_hold_is_read_before_it_is_shaped() -> None:
    slurm = console()  # it may start at any moment
    asked = looked_at(slurm)
    slurm.job.update(job_state=["RUNNING"], nodes="n1")
    with pytest.raises(RefusedError, match="is not pending"):
        asked.update(7, JobUpdate(shape=SHAPE))


def test_a_signal_to_a_job_that_has_just_ended_is_given_up_soon() -> None:
    slurm = console("RUNNING")
    asked = looked_at(slurm)

    def late(job: dict[str, Any]) -> None:
        job["job_state"] = ["COMPLETED"]
        raise SlurmTimeoutError("scancel gave no answer")

    slurm.effects["scancel --signal=USR2"] = late
    with pytest.raises(RefusedError, match="has ended"):
        asked.signal(7, "USR2", SignalTarget.STEPS)
