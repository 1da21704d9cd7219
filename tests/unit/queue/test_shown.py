"""What is shown of a job whose row still has what it last held and was last planned for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

import pytest

from ef_slurm.cli.scontrol.records import record_lines
from ef_slurm.cli.squeue.columns import COLUMNS, Look
from ef_slurm.daemon.serve.web.words import job_row
from ef_slurm.formats.job_story import summary
from ef_slurm.formats.job_words import waits_for, why
from ef_slurm.model import (
    FINAL,
    Block,
    Gate,
    GateState,
    JobState,
    JobView,
    Measuring,
    QueueJob,
    Reason,
    ReasonCode,
    Reservation,
    Running,
)
from ef_slurm.queue import queries
from ef_slurm.queue.store import Queue

Add = Callable[..., QueueJob]
NOW = 2000.0
BLOCK = Block("a100", ("n1", "n2"), 4)


def moved(queue: Queue, job: QueueJob, state: JobState, note: str) -> JobView:
    """The view of a job that has gone to a state with all that it last had."""
    queue.jobs.save(
        replace(
            job,
            running=Running(BLOCK, 1400.0, 1430.0),
            plan=(Reservation(1400.0, math.inf, 8, "a100", 0),),
            finish=4000.0,
            reason=Reason(ReasonCode.KEPT, gpus=8),
            measuring=Measuring(1400.0, gpu_type="a100", wanted=(8,)),
            gate=Gate(GateState.NEVER, words="it waits for job 1, which has failed"),
            note=note,
        )
    )
    if state is JobState.COMPLETED:
        for between in (JobState.ADMITTED, JobState.STARTING, JobState.RUNNING):
            queue.jobs.move(job.id, between, at=1500.0, actor="x", why="y")
    queue.jobs.move(job.id, state, at=NOW, actor="x", why="y")
    return queries.status(queue, job.request.slurm_job_id).job


def cells(view: JobView, letters: str) -> list[str]:
    look = Look(NOW, UTC, bars=False, reason=lambda job: why(job, str))
    by_letter = {column.letter: column for column in COLUMNS}
    return [by_letter[letter].text(view, look) for letter in letters]


@pytest.mark.parametrize("note", ["", "cancelled by user1"])
@pytest.mark.parametrize("state", [one for one in JobState if one in FINAL])
def test_a_job_that_has_ended_holds_nothing(
    queue: Queue, add: Add, state: JobState, note: str
) -> None:
    view = moved(queue, add(), state, note)
    assert (view.share, view.nodes, view.schedule, view.measuring) == (0, (), (), None)
    said = note or state.value
    assert cells(view, "TbDNr") == [state.value.upper(), "0", "0", "", said]
    record = " ".join(record_lines(view, UTC))
    assert "Gpus=0 GpuType=(null) NodeList=(null)" in record
    assert "Finish=(null) EndTime=1970-01-01T00:33:20" in record
    web = job_row(view, NOW, waits_for(view, NOW, why(view, str)))
    assert (web.gpus, web.nodes, web.why) == (0, "", said)
    assert web.finish == NOW


def test_of_a_job_that_is_held_nothing_is_predicted(queue: Queue, add: Add) -> None:
    view = moved(queue, add(), JobState.HELD, "held by user1")
    assert cells(view, "TeL") == ["HELD", "-", "-"]
    assert "Finish=(null)" in " ".join(record_lines(view, UTC))
    story = " ".join(summary(queries.story(queue, view.job_id), NOW, UTC))
    assert "held by user1" in story
    assert "predicted" not in story
    assert "expected" not in story
