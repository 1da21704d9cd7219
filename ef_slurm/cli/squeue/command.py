"""ef-squeue: the jobs of the queue, as squeue shows Slurm's, with deadlines and promises."""

from __future__ import annotations

import getpass
import shutil
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path

import click

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import Explain, ListJobs
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import configuration, paint, run_click
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.job_names import name_of, parse_job_ids
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.states import parse_states
from ef_slurm.cli.common.version import version_option
from ef_slurm.cli.squeue.columns import (
    DEFAULT_FORMAT,
    MEASURING,
    Cell,
    Look,
    parse_letters,
    parse_names,
    slack,
    table,
)
from ef_slurm.cli.squeue.story import lines
from ef_slurm.formats.codec import pretty, to_plain
from ef_slurm.formats.durations import DurationError, parse_seconds
from ef_slurm.formats.sentences import reason_sentence
from ef_slurm.formats.times import format_instant
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import JobList, JobState, JobView, Story

PROGRAM = "ef-squeue"

EXAMPLES = """
\b
Examples:
  ef-squeue                        what is in the queue
  ef-squeue --me --watch           my jobs, refreshed every two seconds
  ef-squeue --explain 1234         the story of job 1234 in sentences
  ef-squeue -t all -o "%i %j %E %L %q"
  ef-squeue --json | jq '.jobs[] | {job_id, finish, slack}'
\b
Formats: %i job id, %j name, %u user, %a account, %P partition, %T state, %k kind,
  %b GPUs now, %m GPU type, %E deadline, %e (predicted) finish, %L slack, %p progress,
  %I iterations done, %n iterations, %v iterations/s, %q promise, %V submitted, %S first start,
  %M time since, %D nodes, %N node list, %R node list or reason, %r reason, %g starts,
  %x reshapes, %Z state directory, %B what it holds. %.10i is 10 characters wide, right-aligned.
\b
States: new, waitlisted, admitted, starting, running, stopping, paused, held; rejected,
  completed, failed, cancelled, lost; and Slurm's pending, running, all, PD, R, CD, CA, F.
\b
Exit codes: 0 done, 1 Slurm or a job that is not known, 2 usage, 4 ef-schedd cannot be reached,
  5 not allowed.
"""


@click.command(epilog=EXAMPLES)
@click.option("-u", "--user", "users", multiple=True, metavar="NAME,…", help="Jobs of these users.")
@click.option("--me", is_flag=True, help="My jobs.")
@click.option("-j", "--jobs", "ids", multiple=True, metavar="ID,…", help="These jobs, also ended.")
@click.option(
    "-t", "--states", multiple=True, metavar="STATE,…", help='In these states; "all" for all.'
)
@click.option("-a", "--all", "everything", is_flag=True, help="Also jobs that ended.")
@click.option("-o", "--format", "letters", metavar="FORMAT", help="Columns, as squeue's -o.")
@click.option("-O", "--Format", "names", metavar="FIELD,…", help="Columns by name, as squeue's -O.")
@click.option("-h", "--noheader", is_flag=True, help="No heading.")
@click.option("--json", "as_json", is_flag=True, help="JSON: times are epoch seconds.")
@click.option("--explain", metavar="JOB", help="What was promised and done, and why.")
@click.option("-v", "--verbose", is_flag=True, help="With --explain: also every action on Slurm.")
@click.option(
    "-i",
    "--watch",
    "--iterate",
    "interval",
    is_flag=False,
    flag_value="2",
    metavar="[SECONDS]",
    help="Refresh every so many seconds (2).",
)
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")
@version_option(PROGRAM)
def _command(
    users: tuple[str, ...],
    me: bool,
    ids: tuple[str, ...],
    states: tuple[str, ...],
    everything: bool,
    letters: str | None,
    names: str | None,
    noheader: bool,
    as_json: bool,
    explain: str | None,
    verbose: bool,
    interval: str | None,
    config: Path | None,
) -> ExitCode:
    """Show the deadline jobs in the queue: share, progress, deadline, slack and promise."""
    if letters is not None and names is not None:
        raise UsageError("--format and --Format are two ways to say the same: give one")
    owners = tuple(name for text in users for name in text.split(",") if name)
    states, measuring = _without_measuring(states)
    view = View(
        request=ListJobs(
            users=(*owners, getpass.getuser()) if me else owners,
            # Being measured is no state of its own: picked from all of them.
            states=() if measuring else parse_states(states),
            job_ids=parse_job_ids(ids),
            all=everything,
        ),
        cells=tuple(parse_names(names) if names else parse_letters(letters or DEFAULT_FORMAT)),
        heading=not noheader,
        as_json=as_json,
        measuring=measuring,
        or_in=parse_states(states) if measuring else (),
    )
    site = configuration(config)
    with closing(connect(site, lambda: slurm_of(site))) as client:
        if explain is not None:
            (job_id,) = parse_job_ids((explain,))
            return _explain(client, job_id, as_json=as_json, everything=verbose)
        if interval is None:
            click.echo(_shown(client, view))
            return ExitCode.OK
        return _watch(client, view, _seconds(interval))


@dataclass(frozen=True, slots=True)
class View:
    """What to ask for, and how to show it.

    Args:
        measuring: only jobs that are measured before they are judged, or are in one of `or_in`.
    """

    request: ListJobs
    cells: tuple[Cell, ...]
    heading: bool
    as_json: bool
    measuring: bool = False
    or_in: tuple[JobState, ...] = ()

    def shows(self, job: JobView) -> bool:
        """Whether the job was asked for."""
        return not self.measuring or job.measuring is not None or job.state in self.or_in


def _shown(client: Client, view: View) -> str:
    answer = expect(JobList, client.ask(view.request))
    answer = replace(answer, jobs=tuple(job for job in answer.jobs if view.shows(job)))
    if view.as_json:
        jobs = [job_as_json(job, answer.now) for job in answer.jobs]
        return pretty({"now": answer.now, "jobs": jobs})
    on_terminal = sys.stdout.isatty()
    naming = name_of(answer.others)

    def reason(job: JobView) -> str:
        if job.note and job.reason is None:
            return job.note
        return job.state.value if job.reason is None else reason_sentence(job.reason, naming)

    look = Look(answer.now, local_zone(), on_terminal, reason)
    width = shutil.get_terminal_size().columns if on_terminal else None
    rows = table(answer.jobs, view.cells, look, heading=view.heading, paint=paint, width=width)
    return "\n".join(rows)


def _watch(client: Client, view: View, seconds: float) -> ExitCode:
    zone: tzinfo = local_zone()
    try:
        while True:
            text = _shown(client, view)
            if sys.stdout.isatty():
                # Home, then clear to the end: no flicker, unlike clearing first.
                lines = "".join(f"{line}\x1b[K\n" for line in text.splitlines())
                stamp = format_instant(time.time(), zone)
                click.echo(f"\x1b[H{stamp}  (Ctrl-C ends)\x1b[K\n{lines}\x1b[J", nl=False)
            else:
                click.echo(text + "\n")
            sys.stdout.flush()
            time.sleep(seconds)
    except KeyboardInterrupt:
        return ExitCode.OK


def _explain(client: Client, job_id: int, *, as_json: bool, everything: bool) -> ExitCode:
    story = expect(Story, client.ask(Explain(job_id)))
    if as_json:
        now = time.time()
        value = {
            "job": job_as_json(story.job, now),
            "promise": story.promise,
            "events": story.events,
        }
        say_json(value)
        return ExitCode.OK
    for line in lines(story, time.time(), local_zone(), everything=everything):
        say(line)
    return ExitCode.OK


def job_as_json(job: JobView, now: float) -> dict[str, object]:
    """A job for programs: what the view holds, and the slack in seconds."""
    return {**to_plain(job), "slack": slack(job, now)}


def _without_measuring(texts: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The words of `--states` without MEASURING, and whether it was among them."""
    words = [word.strip() for text in texts for word in text.split(",")]
    states = tuple(word for word in words if word.upper() != MEASURING)
    return states, len(states) < len(words)


def _seconds(text: str) -> float:
    try:
        return parse_seconds(text, least=0.1, most=86400.0)
    except DurationError as error:
        raise UsageError(f"--watch: {error}") from None


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
