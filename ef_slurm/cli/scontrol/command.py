"""ef-scontrol: look at jobs of the queue and change them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ef_slurm.api.client import Client, FailureError, expect
from ef_slurm.api.messages import (
    MOST_JOB_IDS,
    ActOnJob,
    ChangeJob,
    JobActedOn,
    JobChanged,
    ListJobs,
)
from ef_slurm.cli.common.completing import complete_all_jobs, complete_jobs
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import complain, configuration, run_click, to_command_error
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.job_names import means, parse_job_names, resolved
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.version import version_option
from ef_slurm.cli.scontrol.changes import offer_of, parse_update
from ef_slurm.cli.scontrol.purge import purge
from ef_slurm.cli.scontrol.records import record_lines
from ef_slurm.cli.squeue.listing import job_as_json
from ef_slurm.formats.arrays import JobName
from ef_slurm.formats.codec import to_plain
from ef_slurm.formats.times import format_iso
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import ChangeOutcome, JobAction, JobList, JobView
from ef_slurm.slurm.errors import NoSuchJobError, SlurmError

if TYPE_CHECKING:
    from ef_slurm.slurm.commands.command_slurm import CommandSlurm

PROGRAM = "ef-scontrol"

_MOST_OUTPUTS = 20
"""Jobs of which Slurm is asked where they write: a process each."""

EXAMPLES = """
\b
Examples:
  ef-scontrol update 1234 deadline=+2h            later is always granted
  ef-scontrol update 1234 deadline=18:00          earlier is judged like a new job
  ef-scontrol update 1234,1235 max_gpus=8 iterations=20000
  ef-scontrol update 1234 best_effort=yes         no promise any more
  ef-scontrol hold 1234                           save a checkpoint, leave the GPUs
  ef-scontrol release 1234                        go on; judged anew where the promise is void
  ef-scontrol requeue 1234                        save, and start anew (a bug is fixed in the code)
  ef-scontrol show job 1234
  ef-scontrol purge --dry-run                     what state directories of ended jobs hold
\b
Only a job's owner and Slurm's operators may change it. What cannot be promised is answered with
the earliest deadline that can be, and the promise that the job has stands.
\b
Exit codes: 0 done, 1 Slurm or a job that is not known, 2 usage, or a job with which that cannot
  be done, 3 it cannot be promised and nothing was changed, 4 ef-schedd cannot be reached,
  5 not allowed.
"""

_Command = TypeVar("_Command", bound=Callable[..., Any])
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON: times are epoch seconds.")
_QUIET = click.option("-Q", "--quiet", is_flag=True, help="Print errors only.")
_CONFIG = click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")


@click.group(epilog=EXAMPLES)
@version_option(PROGRAM)
def _command() -> None:
    """Look at the jobs in ef-slurm's queue, and change them while they wait or train."""


@_command.command(
    epilog="""
\b
Keys:
  deadline=WHEN      as in ef-sbatch: 2h, 18:00, 2026-12-24T12:00
  iterations=N       of the whole training; a job that runs is launched again where it is
  max_gpus=N         the largest share; 0 for any
  best_effort=yes    gives the deadline up; best_effort=no asks for its promise again
  begin=WHEN         before when it may not start, while it has not; begin=now for at once
  dependency=WORDS   as --dependency, while it has no verdict; dependency= for none
\b
Examples:
  ef-scontrol update 1234 deadline=tomorrow
  ef-scontrol update jobid=1234,1235 MaxGpus=8
\b
Exit codes: 0 done, 1 an unknown job, 2 usage, 3 it cannot be promised and nothing was changed,
  4 ef-schedd cannot be reached, 5 not allowed.
"""
)
@click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="JOB[,JOB...] KEY=VALUE...",
    shell_complete=complete_jobs,
)
@_QUIET
@_JSON
@_CONFIG
def update(words: tuple[str, ...], quiet: bool, as_json: bool, config: Path | None) -> ExitCode:
    """Let jobs have another deadline, other iterations, more or fewer GPUs at most.

    What is looser is granted at once, and promised. What is tighter is judged like a new job; if it
    cannot be promised nothing is changed, and the answer names the earliest deadline that can be.
    """
    zone = local_zone()
    tell = lambda line: None if quiet or as_json else say(line, err=True)  # noqa: E731
    names, change = parse_update(words, time.time(), zone, tell)

    def one(client: Client, job_id: int) -> tuple[ExitCode, dict[str, Any]]:
        answer = expect(JobChanged, client.ask(ChangeJob(job_id, change)))
        refused = answer.outcome is ChangeOutcome.REFUSED
        if not as_json and (refused or not quiet):
            for line in _changed_lines(answer, zone):
                say(line, err=refused)
        code = ExitCode.INFEASIBLE if refused else ExitCode.OK
        plain: dict[str, Any] = to_plain(answer)
        return code, {**plain, "offer": offer_of(answer)}

    return _each(names, config, one, as_json=as_json)


def _changed_lines(answer: JobChanged, zone: tzinfo) -> list[str]:
    name = f"job {answer.job_id}"
    match answer.outcome:
        case ChangeOutcome.REFUSED:
            lines = [f"{name}: {answer.explanation}; nothing was changed"]
            offer = offer_of(answer)
            if offer is not None:
                lines += [
                    "  The earliest deadline that can be promised now:",
                    f"    {PROGRAM} update {answer.job_id} deadline={format_iso(offer, zone)}",
                ]
            return lines
        case _:
            return [f"{name}: {answer.explanation}"]


def _action(action: JobAction, words: str, example: str) -> None:
    """A command that does one thing with each of some jobs."""

    def body(ids: tuple[str, ...], quiet: bool, as_json: bool, config: Path | None) -> ExitCode:
        def one(client: Client, job_id: int) -> tuple[ExitCode, dict[str, Any]]:
            answer = expect(JobActedOn, client.ask(ActOnJob(job_id, action)))
            if not (quiet or as_json):
                say(answer.explanation)
            return ExitCode.OK, to_plain(answer)

        return _each(parse_job_names(ids), config, one, as_json=as_json)

    body.__doc__ = words
    command = click.argument(
        "ids", nargs=-1, required=True, metavar="JOB[,JOB...]...", shell_complete=complete_jobs
    )(_QUIET(_JSON(_CONFIG(body))))
    examples = f"""
\b
Examples:
{example}
\b
Exit codes: 0 done, 1 an unknown job, 2 usage, or a job with which that cannot be done,
  4 ef-schedd cannot be reached, 5 not allowed.
"""
    _command.command(name=action.value, epilog=examples)(command)


_action(
    JobAction.HOLD,
    """Keep jobs from running; one that runs saves a checkpoint and leaves its GPUs.

    It takes no part in plans until it is released. Its owner's hold makes its promise void.
    """,
    "  ef-scontrol hold 1234\n  ef-scontrol hold 1234,1235",
)
_action(
    JobAction.RELEASE,
    """Let held jobs go on, from where they were. What an operator holds only operators release.

    The deadline of a job without a promise is judged anew. If it cannot be promised now, a job that
    had been admitted goes on as best effort.
    """,
    "  ef-scontrol release 1234",
)
_action(
    JobAction.REQUEUE,
    """Have jobs that run save a checkpoint and start anew, as with a changed training script.""",
    "  ef-scontrol requeue 1234",
)
_action(
    JobAction.TOP,
    """Let a waiting job have the first turn among its owner's on the waiting list.""",
    "  ef-scontrol top 1234",
)


_command.add_command(purge)


@_command.command(
    epilog="""
\b
Examples:
  ef-scontrol show job 1234
  ef-scontrol show 1234,1235 --oneliner
  ef-scontrol show job --json
\b
Exit codes: 0 done, 1 a job that is not known, 2 usage, 4 ef-schedd cannot be reached,
  5 not allowed.
"""
)
@click.argument(
    "words", nargs=-1, metavar="[job] [JOB[,JOB...]...]", shell_complete=complete_all_jobs
)
@click.option("-o", "--oneliner", is_flag=True, help="One line for each job.")
@_JSON
@_CONFIG
def show(words: tuple[str, ...], oneliner: bool, as_json: bool, config: Path | None) -> ExitCode:
    """Show all that is known of jobs; without ids, of those in the queue.

    StdOut is where a job writes: of up to 20 jobs that are named, while Slurm remembers them.
    """
    words = words[1:] if words[:1] in (("job",), ("jobs",)) else words
    names = parse_job_names(word.removeprefix("jobid=") for word in words)
    job_ids = tuple(dict.fromkeys(name.job_id for name in names))
    site = configuration(config)
    slurm = slurm_of(site)
    with closing(connect(site, lambda: slurm)) as client:
        answer = expect(JobList, client.ask(ListJobs(job_ids=job_ids)))
    if names:
        meant = tuple(job for job in answer.jobs if any(means(name, job) for name in names))
        answer = replace(answer, jobs=meant)
    missing = [name.job_id for name in names if not any(means(name, job) for job in answer.jobs)]
    written = _written(slurm, answer.jobs) if names else {}
    if as_json:
        shown = [
            {**job_as_json(job, answer.now), "output": to_plain(written.get(job.job_id))}
            for job in answer.jobs
        ]
        say_json({"now": answer.now, "jobs": shown})
    else:
        zone = local_zone()
        for job in answer.jobs:
            path = written.get(job.job_id)
            for line in record_lines(job, zone, output=path, oneliner=oneliner):
                say(line)
    for job_id in missing:
        complain(PROGRAM, f"{job_id}: no such job in ef-slurm's queue")
    return ExitCode.SLURM if missing else ExitCode.OK


def _written(slurm: CommandSlurm, jobs: Sequence[JobView]) -> dict[int, Path]:
    """Where jobs write, by Slurm's id, as far as Slurm knows them still and answers."""
    found: dict[int, Path] = {}
    for job in jobs[:_MOST_OUTPUTS]:
        try:
            path = slurm.output_file(job.job_id)
        except NoSuchJobError:
            continue
        except SlurmError:
            break
        if path is not None:
            found[job.job_id] = path
    return found


def _each(
    names: Sequence[JobName],
    config: Path | None,
    one: Callable[[Client, int], tuple[ExitCode, dict[str, Any]]],
    *,
    as_json: bool,
) -> ExitCode:
    """Ask for one job after the other; what fails for one leaves the others."""
    if len(names) > MOST_JOB_IDS:
        raise UsageError(f"{len(names)} jobs: give {MOST_JOB_IDS} at most at a time")
    site = configuration(config)
    worst, results = ExitCode.OK, []
    with closing(connect(site, lambda: slurm_of(site))) as client:
        for job_id in resolved(client, names):
            try:
                code, result = one(client, job_id)
            except FailureError as error:
                told = to_command_error(error)
                assert told is not None
                complain(PROGRAM, f"{job_id}: {told}")
                code = told.code
                result = {"job_id": job_id, "problem": str(told), "code": error.code.value}
            worst = max(worst, code)
            results.append(result)
    if as_json:
        say_json({"jobs": results})
    return worst


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
