"""ef-sbatch: submit a training job with a deadline instead of a GPU count."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import Judge, Judged
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import complain, configuration, run_click, to_command_error, warn
from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.grouped import TableCommand
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.common.version import own_version
from ef_slurm.cli.sbatch import verdicts
from ef_slurm.cli.sbatch.array_answer import answer_array
from ef_slurm.cli.sbatch.array_submit import Members, resume_array
from ef_slurm.cli.sbatch.completing import COMPLETE
from ef_slurm.cli.sbatch.continuation import Source
from ef_slurm.cli.sbatch.environment import environment_options, variables_of
from ef_slurm.cli.sbatch.given import Given, read_words
from ef_slurm.cli.sbatch.help import ABOUT, EPILOG, OPERANDS, USAGE
from ef_slurm.cli.sbatch.in_place import is_in_place, take_or_leave
from ef_slurm.cli.sbatch.options import GROUPS
from ef_slurm.cli.sbatch.output_options import Mode, OutputOptions, output_options
from ef_slurm.cli.sbatch.prepare import Prepared, batch_script
from ef_slurm.cli.sbatch.submission import (
    AskedFor,
    Voice,
    asked_for,
    hand_in_all,
    made_ready,
    patience_of,
    source_of,
)
from ef_slurm.cli.sbatch.submit import Answer, await_end, resume
from ef_slurm.cli.sbatch.verdicts import VerdictView
from ef_slurm.formats.job_words import name_of
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, OBSERVE_SECONDS, JobRequest, JobState, Outcome
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.tables import SiteConfig
from ef_slurm.slurm.interface import Slurm

PROGRAM = "ef-sbatch"

_WITH_REGISTER = frozenset({"register", "config", "wait", "wait-verdict", "json"})


def main() -> None:
    """The command; under the name `sbatch` only for jobs of ef-slurm's."""
    if is_in_place(sys.argv[0]):
        try:
            take_or_leave(sys.argv[0], sys.argv[1:])
        except (SiteConfigError, OSError) as error:
            told = to_command_error(error)
            assert told is not None
            complain(PROGRAM, str(told))
            sys.exit(told.code)
    run_click(PROGRAM, click_command())


def click_command() -> click.Command:
    """The command as click knows it."""
    return TableCommand(
        PROGRAM,
        _command,
        GROUPS,
        OPERANDS,
        about=ABOUT,
        epilog=EPILOG,
        complete=COMPLETE,
        variables=variables_of(),
    )


def _command(words: Sequence[str]) -> ExitCode | int:
    problems = Problems()
    parsed, rest = read_words(words, problems)
    names = {option.option.name: option for option in parsed}
    if "usage" in names:
        click.echo(USAGE)
        return ExitCode.OK
    if "version" in names:
        click.echo(f"{PROGRAM} {own_version()}")
        return ExitCode.OK
    environment = environment_options(os.environ, problems)
    output = output_options((*environment, *parsed), problems)
    site = configuration(output.config)
    slurm = slurm_of(site)
    if "register" in names:
        problems.tell()
        if rest or names.keys() - _WITH_REGISTER:
            raise UsageError("--register takes everything from its directory: give nothing else")
        with closing(connect(site, lambda: slurm)) as client:
            state_dir = Path(names["register"].value or "")
            patience = patience_of(site, output.verdict_timeout, output.wait_verdict)
            answers = resume_array(state_dir, client, slurm, patience)
            if answers is None:
                answers = (resume(state_dir, client, slurm, patience),)
            return _answer(answers, output, client)
    given, voice = Given(parsed, rest, tuple(words)), _voice(output)
    if output.mode is Mode.DRY_RUN and "continue" not in names:
        _print_script(asked_for(given, None, site, problems=problems), site)  # without a daemon too
        return ExitCode.OK
    with closing(connect(site, lambda: slurm)) as client:
        source = source_of(given, client, slurm, voice)
        asked = asked_for(given, source, site, problems=problems)
        if output.mode is Mode.DRY_RUN:
            _print_script(asked, site)
            return ExitCode.OK
        return _new(asked, source, output, site, slurm, client, voice)


def _print_script(asked: AskedFor, site: SiteConfig) -> None:
    asked.problems.tell()
    requested, array, state_dir = asked.requested, None, asked.state_dir
    if requested.array is not None:
        members = Members(requested.array, requested.together, state_dir)
        first = requested.array.numbers[0]
        array, state_dir = members.member(first, 0), members.directory(first)
    click.echo(batch_script(requested, asked.script, site, state_dir, array), nl=False)


def _new(
    asked: AskedFor,
    source: Source | None,
    output: OutputOptions,
    site: SiteConfig,
    slurm: Slurm,
    client: Client,
    voice: Voice,
) -> ExitCode | int:
    ready = made_ready(asked, source, site, slurm, client, voice)
    if output.mode is Mode.TEST_ONLY:
        slurm.test(ready.prepared.submission)
        if ready.members is not None and not output.json:
            count = len(ready.members.tasks.numbers)
            voice.note(f"The first of {count} jobs; the others are judged beside it, one by one")
        return _answer_test(ready.prepared, output, client)
    patience = patience_of(site, output.verdict_timeout, output.wait_verdict, ready.nobody)
    return _answer(hand_in_all(ready, site, slurm, client, patience, voice), output, client)


def _voice(output: OutputOptions) -> Voice:
    def note(line: str) -> None:
        if not output.quiet:
            say(line, err=True)

    return Voice(note, lambda line: warn(PROGRAM, line))


def _answer_test(prepared: Prepared, output: OutputOptions, client: Client) -> ExitCode:
    judged = expect(Judged, client.ask(Judge(prepared.request)))
    verdict = judged.verdict
    if verdict is None:
        return _would_measure(prepared, judged, output)
    verdict_view = VerdictView(
        prepared.request,
        verdict.outcome,
        verdict.reason,
        verdict.share,
        verdict.finish,
        verdict.earliest_deadline,
        judged.schedule,
        time.time(),
    )
    if output.json:
        say_json(verdicts.as_json(verdict_view))
        return verdict_view.exit_code
    zone = local_zone()
    for line in verdicts.lines(verdict_view, zone, name_of(judged.others)):
        say(line)
    if judged.schedule:
        say("Plan")
        for line in verdicts.plan_lines(judged.schedule, zone):
            say(line)
    say("Nothing was submitted (--test-only).")
    return verdict_view.exit_code


def _would_measure(prepared: Prepared, judged: Judged, output: OutputOptions) -> ExitCode:
    """`--test-only` of a training of which nobody knows how fast it is."""
    request = prepared.request
    if output.json:
        plain = verdicts.measuring_json(request, judged.measured_on, None)
        say_json({**plain, "waits": judged.waits})
        return ExitCode.OK
    if judged.waits is not None:
        for line in verdicts.waiting_lines(request, judged.waits, local_zone()):
            say(line)
        say("Nothing was submitted (--test-only).")
        return ExitCode.OK
    for line in verdicts.measuring_lines(
        request, judged.measured_on, judged.measured_for, local_zone()
    ):
        say(line)
    say("  Whether the deadline can be promised is known after that, not before.")
    say("Nothing was submitted (--test-only).")
    return ExitCode.OK


def _measured_first(answer: Answer, output: OutputOptions) -> ExitCode:
    """Submitted; it is measured before anything can be promised."""
    assert answer.status is not None
    job = answer.status.job
    assert job.measuring is not None
    if output.json:
        shown = verdicts.measuring_json(answer.request, job.measuring.wanted, job.measuring)
        say_json(shown)
    else:
        say(_first_line(answer.request, output))
    if answer.problem:
        sys.stdout.flush()
        complain(PROGRAM, f"{answer.problem}: it is still measured, and goes on without you")
        return ExitCode.NO_ANSWER
    if output.quiet or output.json:
        return ExitCode.OK
    seconds = OBSERVE_SECONDS * len(job.measuring.wanted)
    for line in verdicts.measuring_lines(
        answer.request, job.measuring.wanted, seconds, local_zone()
    ):
        say(line, err=output.parsable)
    say(f"  See ef-squeue --explain {job.job_id}", err=output.parsable)
    return ExitCode.OK


def _waits_first(answer: Answer, output: OutputOptions) -> ExitCode:
    """Submitted; nobody can say yet when what it waits for has come."""
    assert answer.status is not None
    job = answer.status.job
    assert job.gate is not None
    if output.json:
        say_json({**verdicts.measuring_json(answer.request, (), None), "waits": job.gate})
    else:
        say(_first_line(answer.request, output))
    if answer.problem:
        sys.stdout.flush()
        complain(PROGRAM, f"{answer.problem}: it still waits, and is judged without you")
        return ExitCode.NO_ANSWER
    if not output.quiet and not output.json:
        for line in verdicts.waiting_lines(answer.request, job.gate, local_zone()):
            say(line, err=output.parsable)
        say(f"  See ef-squeue --explain {job.job_id}", err=output.parsable)
    return ExitCode.OK


def _answer(answers: Sequence[Answer], output: OutputOptions, client: Client) -> ExitCode | int:
    """Say how a submission ended; where that cannot be written, that it is there all the same."""
    try:
        if answers[0].request.array is not None:
            return answer_array(answers, output, client)
        return _answer_submission(answers[0], output, client)
    except BrokenPipeError:  # whoever read has what they wanted, as `head` has the first line
        raise
    except OSError as error:
        there = [one.request.slurm_job_id for one in answers if one.outcome is not Outcome.REJECTED]
        if not there:
            raise
        ids = ", ".join(str(job_id) for job_id in there)
        raise CommandError(
            f"submitted: {ids}; but standard output cannot be written: {error.strerror}"
        ) from None


def _answer_submission(answer: Answer, output: OutputOptions, client: Client) -> ExitCode | int:
    request = answer.request
    verdict_view = verdicts.of_answer(answer)
    if verdict_view is None:
        if answer.status is not None and answer.status.job.state in FINAL:
            return _ended_without(answer, output)
        if answer.status is not None and answer.status.job.measuring is not None:
            return _measured_first(answer, output)
        if answer.status is not None and answer.status.job.set_apart:
            return _waits_first(answer, output)
        return _held(answer, output)
    _print_verdict(verdict_view, answer, output)
    if verdict_view.exit_code is not ExitCode.OK or not output.wait:
        return verdict_view.exit_code
    sys.stdout.flush()
    ended = await_end(client, request.slurm_job_id).job
    if ended.state is JobState.COMPLETED:
        return 0
    note = f": {ended.note}" if ended.note else ""
    complain(PROGRAM, f"job {request.slurm_job_id} {ended.state.value}{note}")
    return ended.exit_code or 1


def _ended_without(answer: Answer, output: OutputOptions) -> ExitCode:
    """It was over before it could be judged: it failed, was cancelled, or is complete."""
    assert answer.status is not None
    job = answer.status.job
    if output.json:
        value = verdicts.measuring_json(answer.request, (), None)
        say_json({**value, "state": job.state, "problem": job.note})
    elif job.state is JobState.COMPLETED:
        say(_first_line(answer.request, output))
        say("Complete, before it was judged", err=output.parsable)
    if job.state is JobState.COMPLETED:
        return ExitCode.OK
    note = f": {job.note}" if job.note else ""
    complain(PROGRAM, f"job {job.job_id} {job.state.value} before it was judged{note}")
    return ExitCode.INFEASIBLE


def _print_verdict(verdict_view: VerdictView, answer: Answer, output: OutputOptions) -> None:
    """The verdict.

    Standard output begins as sbatch's does, and a job that is not there any more is not called
    submitted: scripts take the id from it.
    """
    refused = verdict_view.exit_code is ExitCode.INFEASIBLE
    if output.json:
        say_json(verdicts.as_json(verdict_view))
        return
    if not refused:
        say(_first_line(answer.request, output))
    if output.quiet and not refused:
        return
    others = () if answer.status is None else answer.status.others
    for line in verdicts.lines(verdict_view, local_zone(), name_of(others)):
        say(line, err=refused or output.parsable)


def _held(answer: Answer, output: OutputOptions) -> ExitCode:
    """Submitted, but without a verdict: the job stays held, and the message says how to go on."""
    request, job_id = answer.request, answer.request.slurm_job_id
    registered = answer.status is not None
    if output.json:
        value = {
            "job_id": job_id,
            "name": request.name,
            "outcome": None,
            "problem": answer.problem,
            "registered": registered,
            "state_dir": request.state_dir,
        }
        say_json(value)
    else:
        say(_first_line(request, output))
    sys.stdout.flush()
    if registered:
        complain(
            PROGRAM,
            f"{answer.problem}\nJob {job_id} is in the queue and stays held until ef-schedd has "
            f"judged it; see ef-squeue --explain {job_id}",
        )
    else:
        complain(
            PROGRAM,
            f"the job could not be put into ef-slurm's queue: {answer.problem}\n"
            f"Job {job_id} stays held in Slurm, without a promise. To go on:\n"
            f"  ef-sbatch --register={request.state_dir}\n"
            f"or give it up: scancel {job_id}",
        )
    return ExitCode.NO_ANSWER


def _first_line(request: JobRequest, output: OutputOptions) -> str:
    if output.parsable:
        return str(request.slurm_job_id)
    return f"Submitted batch job {request.slurm_job_id}"
