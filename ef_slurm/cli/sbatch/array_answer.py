"""The answer to an array: one line for each of its jobs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import tzinfo

from ef_slurm.api.client import Client
from ef_slurm.cli.common.entry import complain
from ef_slurm.cli.common.errors import ExitCode
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.sbatch import verdicts
from ef_slurm.cli.sbatch.array_submit import array_name
from ef_slurm.cli.sbatch.output_options import OutputOptions
from ef_slurm.cli.sbatch.submit import Answer, await_end
from ef_slurm.formats.finishes import format_finish
from ef_slurm.formats.job_words import name_of
from ef_slurm.formats.sentences import gate_words, gpus, reason_sentence
from ef_slurm.formats.times import format_iso
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, JobState, Outcome

PROGRAM = "ef-sbatch"
_PROMISED, _REFUSED = "promised", "not promised"


def answer_array(answers: Sequence[Answer], output: OutputOptions, client: Client) -> ExitCode:
    """Print the verdicts; standard output begins as sbatch's does.

    Returns:
        Of an array that is in the queue, be it in part, 0; with `--wait` the worst of its jobs'.
    """
    zone = local_zone()
    first = answers[0].request
    assert first.array is not None
    words = [_word(answer) for answer in answers]
    refused = all(word == _REFUSED for word in words)
    if output.json:
        say_json(
            {
                "job_id": first.array.job_id,
                "name": first.name,
                "array": [_as_json(answer) for answer in answers],
            }
        )
    elif not refused:
        name = first.array.job_id
        say(str(name) if output.parsable else f"Submitted batch job {name}")
    elsewhere = refused or output.parsable
    if not output.json and (refused or not output.quiet or _REFUSED in words):
        counts = ", ".join(f"{count} {word}" for word, count in Counter(words).items())
        say(f"{array_name(first)}: {counts}", err=elsewhere)
        for answer, word in zip(answers, words, strict=True):
            say(f"  {_line(answer, word, zone)}", err=elsewhere)
        for line in _offer(answers, zone):
            say(line, err=elsewhere)
    problem = next((answer.problem for answer in answers if answer.problem), "")
    if problem:
        sys.stdout.flush()
        complain(
            PROGRAM,
            f"{problem}\nThe jobs stay held. To go on:\n  ef-sbatch --register={first.state_dir}",
        )
        return ExitCode.NO_ANSWER
    if refused:
        return ExitCode.INFEASIBLE
    return _ended(answers, words, client) if output.wait else ExitCode.OK


def _ended(answers: Sequence[Answer], words: Sequence[str], client: Client) -> ExitCode:
    worst = ExitCode.OK
    for answer, word in zip(answers, words, strict=True):
        if word == _REFUSED:
            continue
        job = await_end(client, answer.request.slurm_job_id).job
        if job.state is not JobState.COMPLETED:
            array = answer.request.array
            assert array is not None
            note = f": {job.note}" if job.note else ""
            complain(PROGRAM, f"job {array.name} {job.state.value}{note}")
            worst = ExitCode.SLURM
    return worst


def _word(answer: Answer) -> str:
    job = None if answer.status is None else answer.status.job
    if job is None:
        return "held"
    if job.verdict is not None:
        return {
            Outcome.PROMISED: _PROMISED,
            Outcome.BEST_EFFORT: "best effort",
            Outcome.WAITLISTED: "waitlisted",
            Outcome.REJECTED: _REFUSED,
        }[job.verdict.outcome]
    if job.state in FINAL:
        return job.state.value
    if job.measuring is not None:
        return "measured first"
    return "waits" if job.set_apart else "held"


def _line(answer: Answer, word: str, zone: tzinfo) -> str:
    array = answer.request.array
    assert array is not None
    text = f"{array.name}  {word}"
    job = None if answer.status is None else answer.status.job
    if job is None or answer.status is None:
        return text
    verdict = job.verdict
    if verdict is None:
        return f"{text}: {gate_words(job.gate)}" if job.set_apart and job.gate else text
    if verdict.outcome is Outcome.PROMISED:
        shown = verdicts.of_answer(answer)
        assert shown is not None
        finish = shown.planned_finish
        if finish is not None:
            at = format_finish(finish, answer.request.deadline, zone)
            text += f", {gpus(verdict.share)}, finishes {at}, predicted"
        return text
    if verdict.outcome is Outcome.BEST_EFFORT:
        return text
    return f"{text}: {reason_sentence(verdict.reason, name_of(answer.status.others))}"


def _offer(answers: Sequence[Answer], zone: tzinfo) -> Iterator[str]:
    """The latest of the counter-offers to single jobs: what they get is judged one by one."""
    views = [verdicts.of_answer(answer) for answer in answers]
    offers = [one.offer for one in views if one is not None and one.offer is not None]
    if offers:
        yield "  The earliest deadline that can be promised now to one job more:"
        yield f"    --deadline={format_iso(min(offers), zone)}"


def _as_json(answer: Answer) -> dict[str, object]:
    array = answer.request.array
    assert array is not None
    shown = verdicts.of_answer(answer)
    if shown is not None:
        return {"task": array.task, **verdicts.as_json(shown)}
    plain = verdicts.measuring_json(answer.request, (), None)
    return {"task": array.task, **plain, "problem": answer.problem or None}
