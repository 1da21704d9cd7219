"""ef-sbatch: submit a training job with a deadline instead of a GPU count."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import click

from ef_slurm.api.client import Client, UnreachableError, expect
from ef_slurm.api.messages import FindCurves, Judge, Judged, KnownCurves, Ping, Pong
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import complain, configuration, run, warn
from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.job_names import name_of
from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.version import own_version
from ef_slurm.cli.sbatch import verdicts
from ef_slurm.cli.sbatch.continuation import Source, find_source
from ef_slurm.cli.sbatch.curves import UNKNOWN, StatedCurves, known_type, remembered
from ef_slurm.cli.sbatch.expiry import remove_expired
from ef_slurm.cli.sbatch.given import Given, go_on
from ef_slurm.cli.sbatch.help import HELP, USAGE
from ef_slurm.cli.sbatch.longest_time import longest_time
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.per_gpu import per_gpu_choice
from ef_slurm.cli.sbatch.prepare import Prepared, batch_script, curves_of, prepare, state_dir_name
from ef_slurm.cli.sbatch.script import COPY_NAME, Script, from_text, from_words, wrapped
from ef_slurm.cli.sbatch.submission_options import (
    Mode,
    OutputOptions,
    SubmissionOptions,
    output_options,
    submission_options,
)
from ef_slurm.cli.sbatch.submit import Answer, Patience, await_end, resume, submit
from ef_slurm.cli.sbatch.verdicts import VerdictView
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, OBSERVE_SECONDS, UNSPECIFIED, JobRequest, JobState
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.siteconfig.wrong_combinations import nobody_runs, somebody_elses_partition
from ef_slurm.slurm.guard import is_guarded
from ef_slurm.slurm.interface import Slurm

PROGRAM = "ef-sbatch"

STARTING_SECONDS = 10.0
"""For which a daemon of one's own is waited for that does not answer: it may just be starting."""

_WITH_REGISTER = frozenset({"register", "config", "wait", "wait-verdict", "json"})


def main() -> None:
    """The command."""
    run(PROGRAM, lambda: _command(sys.argv[1:]))


def _command(words: Sequence[str]) -> ExitCode | int:
    parsed, rest = ALL_OPTIONS.parse(words, "command line")
    names = {option.option.name: option for option in parsed}
    if "help" in names:
        click.echo(HELP)
        return ExitCode.OK
    if "usage" in names:
        click.echo(USAGE)
        return ExitCode.OK
    if "version" in names:
        click.echo(f"{PROGRAM} {own_version()}")
        return ExitCode.OK
    output = output_options(parsed)
    site = configuration(output.config)
    slurm = slurm_of(site)
    if "register" in names:
        if rest or names.keys() - _WITH_REGISTER:
            raise UsageError("--register takes everything from its directory: give nothing else")
        with closing(connect(site, lambda: slurm)) as client:
            state_dir = Path(names["register"].value or "")
            answer = resume(state_dir, client, slurm, _patience(output, site))
            return _answer_submission(answer, output, client)
    given, source = Given(parsed, rest, tuple(words)), None
    if output.mode is Mode.DRY_RUN and "continue" not in names:
        return _new(given, source, output, site, slurm, None)  # a host without a daemon will do
    with closing(connect(site, lambda: slurm)) as client:
        if "continue" in names:
            tell = lambda line: None if output.json else say(line, err=True)  # noqa: E731
            text = names["continue"].value or ""
            source = find_source(text, client, slurm, tell)
            given = go_on(given, source)
        return _new(given, source, output, site, slurm, client)


def _new(
    given: Given,
    source: Source | None,
    output: OutputOptions,
    site: SiteConfig,
    slurm: Slurm,
    client: Client | None,
) -> ExitCode | int:
    script = _script(given.options, given.rest, source)
    now, zone = time.time(), local_zone()
    directives = (*script.options, *given.before)
    requested = submission_options(given.options, directives, now, zone)
    name = requested.job_name or script.name
    state_dir = requested.state_dir or site.jobs.state_root / state_dir_name(name, now, zone)
    if output.mode is Mode.DRY_RUN:
        click.echo(batch_script(requested, script, site, state_dir), nl=False)
        return ExitCode.OK
    assert client is not None
    pong = _daemon(client)
    nobody = "" if pong is not None else _nobody(site, slurm)
    if nobody:
        warn(PROGRAM, nobody)
    types = _gpu_types(pong, site, slurm)
    curves = curves_of(
        requested, site, types, lambda: _remembered(client, requested, script, types)
    )
    if curves.growth and not (output.quiet or output.json):
        say(f"Speed {curves.source}", err=True)
    if curves.iterations is not None and not (output.quiet or output.json):
        say(f"Iterations {curves.iterations}, as your last run's script said", err=True)
    asked = [requested.gpu_type] if requested.gpu_type else types
    on_types = [kind for kind, _ in curves.curves] or asked
    per_gpu = per_gpu_choice(requested, site, slurm, on_types)
    for note in per_gpu.notes if not output.quiet else ():
        say(note, err=True)
    prepared = prepare(
        requested,
        script,
        curves,
        site,
        per_gpu,
        state_dir=state_dir,
        longest=math.inf
        if requested.time_limit is not None
        else longest_time(requested, site, slurm),
        now=now,
        environment=os.environ,
        words=given.words,
        source=source,
    )
    if source is not None and not (output.quiet or output.json):
        say(f"Goes on from iteration {source.done}, of {source.directory}", err=True)
    if output.mode is Mode.TEST_ONLY:
        slurm.test(prepared.submission)
        return _answer_test(prepared, output, client)
    answer = submit(prepared, client, slurm, _patience(output, site, nobody))
    if site.jobs.keep_state_days:
        tell = lambda line: None if output.quiet or output.json else say(line, err=True)  # noqa: E731
        remove_expired(client, site.jobs, now, tell)
    return _answer_submission(answer, output, client)


def _script(parsed: Sequence[ParsedOption], rest: Sequence[str], source: Source | None) -> Script:
    for option in parsed:
        if option.option.name == "wrap":
            if rest:
                raise UsageError(f"--wrap and a script: give one of them, not also {rest[0]!r}")
            return wrapped(option.value or "")
    if rest:
        return from_words(rest)
    if source is not None and source.words is not None:
        copy = source.directory / COPY_NAME  # it came on standard input
        return from_text(copy.read_text(encoding="utf-8"))
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    if not text:
        raise UsageError(f"which script?\n{USAGE}")
    return from_text(text)


def _daemon(client: Client) -> Pong | None:
    """Who will judge it; None where nobody answers."""
    with suppress(UnreachableError):
        return expect(Pong, client.ask(Ping()))
    return None


def _nobody(site: SiteConfig, slurm: Slurm) -> str:
    """Why no verdict will come, where no daemon answers; "" where one may come back.

    Raises:
        UsageError: none can ever come, and nothing was submitted.
    """
    if site.daemon.serves is Serves.EVERYONE:
        return ""
    if is_guarded(slurm, site.slurm.partition):
        raise UsageError(somebody_elses_partition(site))
    return nobody_runs(site)


def _gpu_types(pong: Pong | None, site: SiteConfig, slurm: Slurm) -> tuple[str, ...]:
    """The GPU types that curves may be for: the daemon's, or where it has none yet Slurm's."""
    types = () if pong is None else pong.gpu_types
    if not types:
        nodes = [n for n in slurm.nodes() if site.slurm.partition in n.partitions]
        found = {gpu.gpu_type or site.nodes.gpu_type for node in nodes for gpu in node.gpus}
        types = tuple(sorted(found))
    if not types:
        raise CommandError(f"no node of the partition {site.slurm.partition!r} has GPUs")
    return types


def _remembered(
    client: Client, requested: SubmissionOptions, script: Script, types: Sequence[str]
) -> StatedCurves:
    """What the profile library knows of the training that the options describe.

    Options that are not given are those that the script of the run before said.
    """
    if requested.gpu_type is not None:
        known_type(requested.gpu_type, types, "--gpu-type")
    model_name = requested.model_name or script.model_name
    if not model_name:
        return UNKNOWN
    try:
        wanted = FindCurves(
            model_name, requested.global_batch_size, requested.precision or UNSPECIFIED
        )
        found = expect(KnownCurves, client.ask(wanted))
    except UnreachableError:
        return UNKNOWN  # whoever registers it looks again
    curves = remembered(found.curves, requested.gpu_type, types, local_zone())
    if not curves.curves:
        return curves
    counts = requested.iterations is None and requested.epochs is None
    return replace(
        curves,
        iterations=found.iterations if counts else None,
        global_batch_size=found.global_batch_size if requested.global_batch_size is None else None,
    )


def _patience(output: OutputOptions, site: SiteConfig, nobody: str = "") -> Patience:
    """How long to wait; where nobody is there to judge, for one who is just being started."""
    timeout = output.verdict_timeout
    measured = math.inf if timeout is None else timeout
    usual = site.jobs.verdict_wait
    if nobody:
        usual = min(usual, STARTING_SECONDS)
    return Patience(
        usual if timeout is None else timeout,
        measured if output.wait_verdict else 0.0,
        nobody,
    )


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
        say_json(verdicts.measuring_json(request, judged.measured_on, None))
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


def _answer_submission(answer: Answer, output: OutputOptions, client: Client) -> ExitCode | int:
    request = answer.request
    if answer.warning:
        warn(PROGRAM, answer.warning)
    if answer.messages and not output.quiet:
        for line in answer.messages.splitlines():
            say(line, err=True)
    verdict_view = _verdict_view(answer)
    if verdict_view is None:
        if answer.status is not None and answer.status.job.state in FINAL:
            return _ended_without(answer, output)
        if answer.status is not None and answer.status.job.measuring is not None:
            return _measured_first(answer, output)
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


def _verdict_view(answer: Answer) -> VerdictView | None:
    if answer.status is None or answer.status.job.verdict is None:
        return None
    verdict = answer.status.job.verdict
    return VerdictView(
        answer.request,
        verdict.outcome,
        verdict.reason,
        verdict.share,
        verdict.finish,
        verdict.earliest_deadline,
        answer.status.job.schedule,
        verdict.at,
    )


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
