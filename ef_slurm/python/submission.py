"""`submit`: as ef-sbatch, with its options as keywords."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import chdir, closing
from datetime import datetime, timedelta
from pathlib import Path

from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import configuration
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch import verdicts
from ef_slurm.cli.sbatch.given import Given
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.output_options import output_options
from ef_slurm.cli.sbatch.script import Script
from ef_slurm.cli.sbatch.submission import (
    Voice,
    asked_for,
    hand_in,
    made_ready,
    patience_of,
    source_of,
)
from ef_slurm.cli.sbatch.submit import Answer
from ef_slurm.formats.job_words import name_of
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, JobState, Outcome
from ef_slurm.python.errors import NoAnswerError, NotPromisedError, translated
from ef_slurm.python.function import script_of
from ef_slurm.python.jobs import Job, local_time
from ef_slurm.python.options import WHERE, option_words

Curve = Mapping[int, float]


def submit(
    script: str | os.PathLike[str] | Callable[..., object] | None = None,
    *arguments: object,
    deadline: str | datetime | timedelta | float | None = None,
    best_effort: bool = False,
    iterations: int | None = None,
    epochs: float | None = None,
    global_batch_size: int | None = None,
    throughput: str | Curve | Mapping[str, Curve] | None = None,
    if_infeasible: str | None = None,
    max_gpus: int | None = None,
    continue_from: Job | int | os.PathLike[str] | str | None = None,
    env: Mapping[str, str] | None = None,
    wait_verdict: bool = False,
    verdict_timeout: float | None = None,
    config: str | os.PathLike[str] | None = None,
    **options: object,
) -> Job:
    """Submit a training, as ef-sbatch does, and return the job when it has an answer.

    ::

        job = ef_slurm.submit("train.py", "--lr=0.1", deadline="18:00")
        print(job.promise)
        job.wait()

    A training of which nobody knows how fast it goes is measured first: the job then trains already
    and `job.promise` is None for some minutes, unless `wait_verdict` is set.

    The working directory and the file mode mask of the process are set for a moment: do not call it
    in two threads at once.

    Args:
        script: a training script, a batch script, or a command; or a function of a module's top
            level, which the job imports and calls (nothing is pickled). None with `continue_from`.
        arguments: of the script, or what the function is called with.
        deadline: when it must be finished: as ef-sbatch takes it, a point in time (without a zone:
            in local time), a length of time from now, or UTC epoch seconds.
        best_effort: no deadline: on GPUs that no promise needs.
        iterations, epochs, global_batch_size: of the whole training, unless the script says them.
        throughput: iterations/s by number of GPUs, if that is known; by GPU type where there are
            several.
        if_infeasible: "reject" (the default), "wait" or "best-effort".
        max_gpus: never more than these.
        continue_from: a job that has ended, or its state directory, whose checkpoints are gone on
            from.
        env: variables of the command.
        wait_verdict: wait for the answer also while the speed is measured, for minutes.
        verdict_timeout: seconds to wait for the answer; None for the site's.
        config: the site's configuration, unless it is where ef-sbatch looks.
        options: every other option of ef-sbatch, `_` for `-`; True for one that takes no value.

    Raises:
        NotPromisedError: the deadline cannot be promised; `offer` is the earliest that can be.
        WrongOptionError: an option or the script is wrong; nothing was submitted.
        SlurmRefusedError: Slurm refused; nothing was submitted.
        NoAnswerError: no verdict in time; `job` is what is held in Slurm, or trains.
        NotAllowedError: the daemon does not trust who asks.
    """
    given = {
        "deadline": deadline,
        "best_effort": best_effort,
        "iterations": iterations,
        "epochs": epochs,
        "global_batch_size": global_batch_size,
        "throughput": throughput,
        "if_infeasible": if_infeasible,
        "max_gpus": max_gpus,
        "env": env,
        "wait_verdict": wait_verdict,
        "verdict_timeout": verdict_timeout,
    }
    file = None if config is None else Path(config)
    with translated():
        function = script_of(script, arguments) if callable(script) else None
        if function is not None:  # what goes on from it is to have these names, too
            given |= {"job_name": function.name, "model_name": function.model_name}
        words = option_words({**given, **options})
        if continue_from is not None:
            source = continue_from.id if isinstance(continue_from, Job) else continue_from
            words = (*words, f"--continue={source}")
        if script is not None and not callable(script):
            words = (*words, os.fspath(script), *(str(one) for one in arguments))
        elif script is None and continue_from is None and "wrap" not in options:
            raise UsageError(f"{WHERE}: which script?")
        notes: list[str] = []
        answer = _submitted(words, function, file, notes)
        return _judged(answer, file, tuple(notes))


def _submitted(
    words: tuple[str, ...], function: Script | None, config: Path | None, notes: list[str]
) -> Answer:
    """Hand it in, on the way of ef-sbatch."""
    parsed, rest = ALL_OPTIONS.parse(words, WHERE)
    output = output_options(parsed)
    voice = Voice(notes.append, notes.append)
    site = configuration(config)
    slurm = slurm_of(site)
    with closing(connect(site, lambda: slurm)) as client, chdir(Path.cwd()):
        given = Given(parsed, rest, words)
        source = source_of(given, client, slurm, voice)
        asked = asked_for(given, source, site, function)
        ready = made_ready(asked, source, site, slurm, client, voice)
        patience = patience_of(site, output.verdict_timeout, output.wait_verdict, ready.nobody)
        return hand_in(ready, site, slurm, client, patience, voice)


def _judged(answer: Answer, config: Path | None, notes: tuple[str, ...]) -> Job:
    """The job, unless it was refused or nothing was heard.

    Raises:
        NotPromisedError, NoAnswerError: as `submit` says.
    """
    job = Job(answer.request.slurm_job_id, notes, config)
    view = None if answer.status is None else answer.status.job
    shown = verdicts.of_answer(answer)
    if shown is not None and shown.outcome is Outcome.REJECTED:
        assert answer.status is not None
        first = next(verdicts.lines(shown, local_zone(), name_of(answer.status.others)))
        raise NotPromisedError(first, local_time(shown.offer))
    if answer.problem:
        how = "is measured, and goes on" if view is not None and view.measuring else "stays held"
        if view is None:
            how += f"; ef-sbatch --register={answer.request.state_dir} goes on with it"
        raise NoAnswerError(f"{answer.problem}: job {job.id} {how}", job)
    if shown is None and view is not None and view.state in FINAL - {JobState.COMPLETED}:
        note = f": {view.note}" if view.note else ""
        raise NotPromisedError(f"job {job.id} {view.state.value} before it was judged{note}")
    return job
