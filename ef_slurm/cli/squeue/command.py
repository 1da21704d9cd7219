"""ef-squeue: the jobs of the queue, as squeue shows Slurm's, with deadlines and promises."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import tzinfo
from pathlib import Path

import click
from click.core import ParameterSource

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import Explain
from ef_slurm.cli.common.completing import (
    complete_accounts,
    complete_all_jobs,
    complete_partitions,
    complete_states,
    words_of,
)
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import configuration, run_click
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.grouped import GroupedCommand, group
from ef_slurm.cli.common.job_names import parse_job_names, resolved
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.version import version_option
from ef_slurm.cli.squeue.choice import (
    PROGRAM,
    Choice,
    Known,
    only_waiting,
    parse_choice_of_states,
    parse_nodes,
    parse_sort,
    parse_users,
)
from ef_slurm.cli.squeue.columns import COLUMNS
from ef_slurm.cli.squeue.help import EXAMPLES
from ef_slurm.cli.squeue.history import DEFAULT_SINCE, Record, show_history
from ef_slurm.cli.squeue.layouts import (
    DEFAULT_FORMAT,
    LONG_FORMAT,
    START_FORMAT,
    Layout,
    named,
    parse_letters,
    parse_names,
)
from ef_slurm.cli.squeue.listing import View, job_as_json, list_jobs, refresh
from ef_slurm.cli.squeue.sums import By, parse_by
from ef_slurm.cli.squeue.watching import watch_jobs
from ef_slurm.formats.durations import DurationError, parse_seconds
from ef_slurm.formats.job_story import lines
from ef_slurm.formats.past import parse_past
from ef_slurm.formats.times import InstantError
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import Story
from ef_slurm.siteconfig.tables import SiteConfig
from ef_slurm.slurm.errors import SlurmError

_WHICH = group("Which jobs")
_SHOWN = group("What is shown")
_STORY = group("One job")
_HISTORY = group("Jobs that have ended")


@click.command(cls=GroupedCommand, epilog=EXAMPLES)
@_WHICH(
    "-u",
    "--user",
    "users",
    multiple=True,
    metavar="NAME,…",
    envvar="EF_SQUEUE_USERS",
    help="Jobs of these users, by name or uid.",
)
@_WHICH("--me", is_flag=True, help="My jobs.")
@_WHICH(
    "-j",
    "--jobs",
    "ids",
    multiple=True,
    metavar="ID,…",
    help="These jobs, also ended.",
    shell_complete=complete_all_jobs,
)
@_WHICH(
    "-t",
    "--states",
    multiple=True,
    metavar="STATE,…",
    envvar="EF_SQUEUE_STATES",
    shell_complete=complete_states,
    help='In these states; "all" for all.',
)
@_WHICH("-a", "--all", "everything", is_flag=True, help="Also jobs that ended.")
@_WHICH(
    "-A",
    "--account",
    "accounts",
    multiple=True,
    metavar="NAME,…",
    envvar="EF_SQUEUE_ACCOUNT",
    shell_complete=complete_accounts,
    help="Jobs of these accounts.",
)
@_WHICH(
    "-p",
    "--partition",
    "partitions",
    multiple=True,
    metavar="NAME,…",
    envvar="EF_SQUEUE_PARTITION",
    shell_complete=complete_partitions,
    help="Jobs in these partitions.",
)
@_WHICH(
    "-n",
    "--name",
    "names",
    multiple=True,
    metavar="NAME,…",
    envvar="EF_SQUEUE_NAMES",
    help="Jobs of these names.",
)
@_WHICH(
    "-w",
    "--nodelist",
    "nodes",
    metavar="HOSTLIST",
    help="Jobs on one of these nodes, for example n[01-04].",
)
@_WHICH("--start", is_flag=True, help="Jobs that wait, by when the plan starts them.")
@_SHOWN(
    "-o",
    "--format",
    "letters",
    metavar="FORMAT",
    envvar="EF_SQUEUE_FORMAT",
    show_default=DEFAULT_FORMAT,
    help="Columns, as squeue's -o; on a narrow terminal some of the default ones give way.",
)
@_SHOWN(
    "-O",
    "--Format",
    "fields",
    metavar="FIELD,…",
    envvar="EF_SQUEUE_FORMAT2",
    shell_complete=words_of(column.name for column in COLUMNS),
    help="Columns by name, as squeue's -O.",
)
@_SHOWN("-r", "--array", "each", is_flag=True, help="A line for each job of an array.")
@_SHOWN("-l", "--long", is_flag=True, help="More columns.")
@_SHOWN(
    "-S",
    "--sort",
    metavar="COLUMN,…",
    envvar="EF_SQUEUE_SORT",
    shell_complete=words_of(column.name for column in COLUMNS),
    show_default="job id",
    help="In the order of these columns, by letter or name; -COLUMN for the largest first.",
)
@_SHOWN("-h", "--noheader", is_flag=True, help="No heading.")
@_SHOWN("--json", "as_json", is_flag=True, help="JSON: times are epoch seconds.")
@_SHOWN("-i", "--iterate", metavar="SECONDS", help="Show it again every so many seconds.")
@_SHOWN(
    "--watch",
    is_flag=False,
    flag_value="2",
    metavar="[SECONDS]",
    help="A full-screen view with filter, order, story and log, every 2 seconds (needs"
    " ef-slurm[view]; a plain table without).",
)
@_HISTORY("--history", is_flag=True, help="The record of jobs that have ended, as sacct's.")
@_HISTORY(
    "--since",
    metavar="TIME",
    show_default=DEFAULT_SINCE,
    help="Ended from then on: 7d (ago), yesterday, 2026-11, 2026-11-26T14:30.",
)
@_HISTORY("--until", metavar="TIME", show_default="now", help="Ended before then; a day is whole.")
@_HISTORY(
    "--by",
    multiple=True,
    metavar="user|account|month,…",
    shell_complete=words_of(one.value for one in By),
    help="Numbers of jobs, and of promises kept and broken, for each.",
)
@_STORY(
    "--explain",
    metavar="JOB",
    shell_complete=complete_all_jobs,
    help="What was promised and done, and why.",
)
@_STORY("-v", "--verbose", is_flag=True, help="With --explain: also every action on Slurm.")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")
@version_option(PROGRAM)
@click.pass_context
def _command(
    context: click.Context,
    users: tuple[str, ...],
    me: bool,
    ids: tuple[str, ...],
    states: tuple[str, ...],
    everything: bool,
    accounts: tuple[str, ...],
    partitions: tuple[str, ...],
    names: tuple[str, ...],
    nodes: str | None,
    start: bool,
    letters: str | None,
    fields: str | None,
    each: bool,
    long: bool,
    sort: str | None,
    noheader: bool,
    as_json: bool,
    iterate: str | None,
    watch: str | None,
    history: bool,
    since: str | None,
    until: str | None,
    by: tuple[str, ...],
    explain: str | None,
    verbose: bool,
    config: Path | None,
) -> ExitCode:
    """Show the deadline jobs in the queue: share, progress, deadline, slack and promise."""
    if iterate is not None and watch is not None:
        raise UsageError("--iterate and --watch: give one of them")
    chosen_states, measuring = parse_choice_of_states(_words(states), _where(context, "states"))
    owners = parse_users(_words(users))
    jobs = parse_job_names(ids)
    job_ids = tuple(dict.fromkeys(name.job_id for name in jobs))
    choice = Choice(
        users=owners | ({getpass.getuser()} if me else frozenset()),
        job_ids=job_ids,
        states=chosen_states,
        measuring=measuring,
        ended=everything,
        accounts=frozenset(_words(accounts)),
        partitions=frozenset(_words(partitions)),
        names=frozenset(_words(names)),
        nodes=frozenset() if nodes is None else parse_nodes(nodes),
        tasks=jobs if any(name.tasks is not None for name in jobs) else (),
    )
    default_sort = "starttime" if start else "jobid"
    view = View(
        choice=only_waiting(choice) if start else choice,
        layout=_layout(context, letters, fields, LONG_FORMAT if long else None, start=start),
        order=parse_sort(default_sort if sort is None else sort, _where(context, "sort")),
        heading=not noheader,
        as_json=as_json,
        each=each,
    )
    record = _record(context, history, since, until, by)
    site = configuration(config)
    known = Known(site.slurm.partition, lambda: _all_nodes(site))
    with closing(connect(site, lambda: slurm_of(site))) as client:
        if record is not None:
            return show_history(client, choice, record, heading=not noheader, as_json=as_json)
        if explain is not None:
            (job_id, *others) = resolved(client, parse_job_names((explain,)))
            if others:
                raise UsageError(f"--explain={explain}: give one job, of an array JOB_TASK")
            return _explain(client, job_id, as_json=as_json, everything=verbose)
        if iterate is not None:
            return refresh(client, view, known, _seconds("--iterate", iterate))
        if watch is not None:
            return watch_jobs(site, client, view, known, _seconds("--watch", watch))
        return list_jobs(client, view, known)


_NOT_OF_THE_RECORD = (
    "nodes",
    "start",
    "letters",
    "fields",
    "long",
    "sort",
    "iterate",
    "watch",
    "explain",
)
"""Options that say nothing about jobs that have ended, or about their record's columns."""


def _record(
    context: click.Context,
    history: bool,
    since: str | None,
    until: str | None,
    by: tuple[str, ...],
) -> Record | None:
    """Which part of the record is asked for; None for none."""
    if not history:
        for name, given in (("--since", since), ("--until", until), ("--by", by)):
            if given:
                raise UsageError(f"{name} goes with --history")
        return None
    for name in _NOT_OF_THE_RECORD:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{_where(context, name)} does not go with --history")
    now, zone = time.time(), local_zone()
    begin = _moment("--since", since or DEFAULT_SINCE, now, zone, end=False)
    stop = None if until is None else _moment("--until", until, now, zone, end=True)
    if stop is not None and stop <= begin:
        raise UsageError("--until is not later than --since")
    return Record(begin, stop, parse_by(by))


def _all_nodes(site: SiteConfig) -> frozenset[str] | None:
    try:
        return frozenset(node.name for node in slurm_of(site).nodes())
    except (SlurmError, OSError):
        return None


def _moment(option: str, text: str, now: float, zone: tzinfo, *, end: bool) -> float:
    try:
        return parse_past(text, now, zone, end=end)
    except InstantError as error:
        raise UsageError(f"{option}: {error}") from None


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    """Comma-separated words."""
    words = tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
    if texts and not words:
        # Of a variable that is empty: nothing is meant by it, and least of all everybody.
        raise UsageError(
            "an option that picks jobs was given nothing: give a name, or leave it out"
        )
    return words


def _where(context: click.Context, name: str) -> str:
    """What a value comes from, for errors: the option, or the variable."""
    (option,) = (one for one in context.command.params if one.name == name)
    if context.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
        return str(option.envvar)
    return option.opts[-1]


def _layout(
    context: click.Context,
    letters: str | None,
    fields: str | None,
    long: str | None,
    *,
    start: bool,
) -> Layout:
    """The columns. What the command line says counts before the environment."""
    typed = {
        name: context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in ("letters", "fields")
    }
    if all(typed.values()):
        raise UsageError("--format and --Format are two ways to say the same: give one")
    if letters is not None and (typed["letters"] or not (typed["fields"] or long or start)):
        return Layout(tuple(parse_letters(letters, _where(context, "letters"))))
    if fields is not None and (typed["fields"] or not (long or start)):
        return Layout(tuple(parse_names(fields, _where(context, "fields"))))
    return named(START_FORMAT if start else long or DEFAULT_FORMAT)


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


def _seconds(option: str, text: str) -> float:
    try:
        return parse_seconds(text, least=0.1, most=86400.0)
    except DurationError as error:
        raise UsageError(f"{option}: {error}") from None


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
