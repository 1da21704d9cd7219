"""What a script says of itself: how many iterations, and how many samples each. Pure.

A submission may leave both open. What was submitted counts where both are there; what was assumed
from the run before gives way to what the script says now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ef_slurm.contract import Phase, Progress
from ef_slurm.model import (
    MOST_ITERATIONS,
    MOST_SAMPLES,
    Fault,
    JobRequest,
    Measuring,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    Settlement,
)

MOST_SECONDS_BETWEEN_REPORTS = 60.0
"""Longer gaps between two reports are not counted as training."""


@dataclass(frozen=True, slots=True)
class ScriptNumbers:
    """What a report tells that the row does not know yet.

    Args:
        job: the row with it; what its request left open is filled in.
        words: a sentence for each thing that is new.
        changed: why what the promise was given for is not what the script does; "" if it is.
    """

    job: QueueJob
    words: tuple[str, ...] = ()
    changed: str = ""


def script_numbers(job: QueueJob, progress: Progress | None) -> ScriptNumbers:
    """What the present launch's report says of iterations and global batch size."""
    if progress is None:
        return ScriptNumbers(job)
    iterations = _sensible(progress.script_iterations, MOST_ITERATIONS) or job.script_iterations
    batch = (
        _sensible(progress.script_global_batch_size, MOST_SAMPLES) or job.script_global_batch_size
    )
    known = (job.script_iterations, job.script_global_batch_size)
    assumed = job.request.assumed and progress.phase is not Phase.STARTING
    if (iterations, batch) == known and not assumed:
        return ScriptNumbers(job)
    request, words = job.request, []
    said = {"iterations": iterations, "global_batch_size": batch}
    stated = {"iterations": request.iterations_stated, "global_batch_size": request.batch_stated}
    filled: dict[str, int] = {}
    for name, number in said.items():
        submitted = getattr(request, name)
        if number is None or number == submitted:
            continue
        what = name.replace("_", " ")
        if submitted is None:
            words.append(f"its script says {what} {number}")
        elif request.assumed and not stated[name]:
            words.append(f"its script says {what} {number}; the run before said {submitted}")
        else:
            words.append(
                f"submitted with {what} {submitted}, its script says {number}: what was submitted "
                "counts"
            )
            continue
        filled[name] = number
    job = replace(job, script_iterations=iterations, script_global_batch_size=batch)
    changed = _changed(request, filled) if request.assumed else ""
    if filled or request.assumed:
        request = replace(
            request,
            assumed=False,
            iterations_stated=False,
            batch_stated=False,
            iterations=filled.get("iterations", request.iterations),
            global_batch_size=filled.get("global_batch_size", request.global_batch_size),
        )
    if changed and "global_batch_size" in filled:
        # Another key: what was measured was not this training.
        request = replace(request, curves=(), growth_curves=(), curve_source="")
    return ScriptNumbers(replace(job, request=request), tuple(words), changed)


def judged_anew(numbers: ScriptNumbers, now: float) -> tuple[QueueJob, Settlement | None]:
    """The row of a job that is not what its promise was given for, and how that promise ends."""
    job = numbers.job
    if not numbers.changed or job.measuring is not None:
        return job, None
    settled = None
    if job.promise is not PromiseState.NONE:
        settled = Settlement(PromiseOutcome.VOID, Fault.JOB, numbers.changed)
    again = replace(job, measuring=Measuring(now), promise=PromiseState.NONE, note=numbers.changed)
    return again, settled


def count_training(job: QueueJob, progress: Progress, gpus: int) -> QueueJob:
    """The row of a job that is measured, with what it has trained since its report before.

    Args:
        progress: of the present launch, which trains.
        gpus: that it holds.
    """
    measuring, first = job.measuring, progress.first_iteration_at
    if measuring is None or first is None or progress.phase is not Phase.RUNNING:
        return job
    since = first if job.progress_at is None else max(first, job.progress_at)
    seconds = progress.updated_at - since
    if not (math.isfinite(seconds) and seconds > 0):
        return job
    seconds = min(seconds, MOST_SECONDS_BETWEEN_REPORTS)
    counted = replace(
        measuring,
        seconds=measuring.seconds + seconds,
        gpu_seconds=measuring.gpu_seconds + seconds * gpus,
    )
    return replace(job, measuring=counted)


def _changed(request: JobRequest, filled: dict[str, int]) -> str:
    """Why a promise to what was assumed is none to what the script does."""
    if "global_batch_size" in filled:
        return (
            f"it was judged for a global batch size of {request.global_batch_size}, as its run "
            f"before had; its script says {filled['global_batch_size']}"
        )
    if request.iterations is not None and filled.get("iterations", 0) > request.iterations:
        return (
            f"it was judged for {request.iterations} iterations, as its run before had; its "
            f"script says {filled['iterations']}"
        )
    return ""


def _sensible(number: int | None, most: int) -> int | None:
    return number if number is not None and 1 <= number <= most else None
