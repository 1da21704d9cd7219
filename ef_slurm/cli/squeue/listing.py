"""The queue as a table or as JSON, once or again and again."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from datetime import tzinfo

import click

from ef_slurm.api.client import Client
from ef_slurm.cli.common.entry import complain, paint
from ef_slurm.cli.common.errors import ExitCode
from ef_slurm.cli.squeue.arrays import collapsed
from ef_slurm.cli.squeue.choice import PROGRAM, Choice, Found, Known, SortKey, find, in_order
from ef_slurm.cli.squeue.columns import Look
from ef_slurm.cli.squeue.layouts import Layout
from ef_slurm.cli.squeue.table import table
from ef_slurm.formats.codec import pretty, to_plain
from ef_slurm.formats.job_words import name_of, slack, why
from ef_slurm.formats.times import format_instant
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import JobList, JobView


@dataclass(frozen=True, slots=True)
class View:
    """What to ask for, and how to show it.

    Args:
        each: whether each job of an array has its line; else one stands for those of one state.
    """

    choice: Choice
    layout: Layout
    order: tuple[SortKey, ...]
    heading: bool
    as_json: bool
    each: bool = False


def list_jobs(client: Client, view: View, known: Known) -> ExitCode:
    """Show the queue, and complain of what is not there."""
    found = find(client, view.choice, known)
    click.echo(shown(found, view))
    sys.stdout.flush()
    for problem in found.problems:
        complain(PROGRAM, problem)
    return ExitCode.SLURM if found.problems else ExitCode.OK


def refresh(client: Client, view: View, known: Known, seconds: float) -> ExitCode:
    """Show the queue every so many seconds, until Ctrl-C."""
    zone: tzinfo = local_zone()
    try:
        while True:
            text = shown(find(client, view.choice, known), view)
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


def shown(found: Found, view: View) -> str:
    """The table, or JSON."""
    on_terminal = sys.stdout.isatty()
    look = look_at(found.jobs, bars=on_terminal)
    jobs = in_order(found.jobs.jobs, view.order, look)
    if view.as_json:
        now = found.jobs.now
        return pretty({"now": now, "jobs": [job_as_json(job, now) for job in jobs]})
    if not view.each:
        jobs = collapsed(jobs)
    width = shutil.get_terminal_size().columns if on_terminal else None
    rows = table(jobs, view.layout, look, heading=view.heading, paint=paint, width=width)
    return "\n".join(rows)


def look_at(jobs: JobList, *, bars: bool) -> Look:
    """What the cells need to know of an answer."""
    naming = name_of(jobs.others)
    return Look(jobs.now, local_zone(), bars, lambda job: why(job, naming))


def job_as_json(job: JobView, now: float) -> dict[str, object]:
    """A job for programs: what the view holds, and the slack in seconds."""
    return {**to_plain(job), "slack": slack(job, now)}
