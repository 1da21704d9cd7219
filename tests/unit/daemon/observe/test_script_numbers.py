"""What a script says of iterations and global batch size, against what was submitted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ef_slurm.contract import Phase, Progress
from ef_slurm.daemon.observe.script_numbers import count_training, judged_anew, script_numbers
from ef_slurm.model import (
    Fault,
    Measuring,
    PromiseOutcome,
    PromiseState,
    QueueJob,
)
from tests.unit.daemon.make import NOW, row


def report(iterations: int | None = None, batch: int | None = None, **more: object) -> Progress:
    plain = Progress(1, Phase.RUNNING, 1, 10, NOW, NOW - 50.0, first_iteration_at=NOW - 40.0)
    said = replace(plain, script_iterations=iterations, script_global_batch_size=batch)
    return replace(said, **more)  # type: ignore[arg-type]


def submitted(iterations: int | None, batch: int | None, *, assumed: bool = False) -> QueueJob:
    job = row()
    request = replace(job.request, iterations=iterations, global_batch_size=batch, assumed=assumed)
    return replace(job, request=request)


def test_what_was_left_open_is_filled_in_once() -> None:
    told = script_numbers(submitted(None, None), report(500, 64))
    assert (told.job.request.iterations, told.job.request.global_batch_size) == (500, 64)
    assert told.words == ("its script says iterations 500", "its script says global batch size 64")
    assert not told.changed
    again = script_numbers(told.job, report(500, 64))
    assert again.job is told.job
    assert again.words == ()


def test_what_was_submitted_counts() -> None:
    job = submitted(200, 64)
    told = script_numbers(job, report(500, 64))
    assert told.job.request == job.request
    (words,) = told.words
    assert words == (
        "submitted with iterations 200, its script says 500: what was submitted counts"
    )
    assert script_numbers(told.job, report(500, 64)).words == ()


@pytest.mark.parametrize("number", [0, -1, 10**16])
def test_no_such_number_is_none(number: int) -> None:
    told = script_numbers(submitted(None, 64), report(number))
    assert told.job.request.iterations is None
    assert told.words == ()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((200, 64), ""),
        ((150, 64), ""),
        ((201, 64), "it was judged for 200 iterations, as its run before had; its script says 201"),
        ((200, 32), "it was judged for a global batch size of 64, as its run before had; its"),
    ],
)
def test_what_was_assumed_gives_way(said: tuple[int, int], why: str) -> None:
    job = replace(submitted(200, 64, assumed=True), promise=PromiseState.SAFE)
    told = script_numbers(job, report(*said))
    assert (told.job.request.iterations, told.job.request.global_batch_size) == said
    assert not told.job.request.assumed
    assert told.changed.startswith(why)
    assert bool(told.changed) == bool(why)
    # Another batch size is another training: its curve is not known.
    assert bool(told.job.request.curves) == (said[1] == 64)
    after, settled = judged_anew(told, NOW)
    assert (after.measuring is not None) == bool(why)
    if why:
        assert settled is not None
        assert (settled.outcome, settled.fault) == (PromiseOutcome.VOID, Fault.JOB)
        assert after.promise is PromiseState.NONE
    else:
        assert (after, settled) == (told.job, None)


@pytest.mark.parametrize("stated", ["iterations", "batch"])
def test_what_was_submitted_beside_what_was_assumed_counts(stated: str) -> None:
    """The library of profiles knows the training: one number is the owner's, the other its own."""
    job = replace(submitted(900, 64, assumed=True), promise=PromiseState.SAFE)
    request = replace(
        job.request, iterations_stated=stated == "iterations", batch_stated=stated == "batch"
    )
    said = (80, 64) if stated == "iterations" else (900, 128)
    told = script_numbers(replace(job, request=request), report(*said))
    assert (told.job.request.iterations, told.job.request.global_batch_size) == (900, 64)
    assert told.changed == ""
    assert told.job.request.curves
    assert told.words[0].endswith("what was submitted counts")
    again = script_numbers(told.job, report(*said))
    assert again.job is told.job


def test_only_training_is_counted() -> None:
    job = replace(row(), measuring=Measuring(NOW - 90.0), progress_at=None)
    first = count_training(job, report(), 4).measuring
    assert first is not None
    assert (first.seconds, first.gpu_seconds) == (40.0, 160.0)
    later = replace(job, measuring=first, progress_at=NOW - 5.0)
    second = count_training(later, report(), 2).measuring
    assert second is not None
    assert (second.seconds, second.gpu_seconds) == (45.0, 170.0)
    # A silence of an hour was not an hour of training.
    silent = count_training(later, report(updated_at=NOW + 3600.0), 1).measuring
    assert silent is not None
    assert silent.seconds == 100.0
    for nothing in (report(first_iteration_at=None), report(phase=Phase.STARTING)):
        assert count_training(job, nothing, 4) is job
    assert count_training(row(), report(), 4).measuring is None
