"""ef-scontrol purge: remove the state directories of jobs that have ended."""

from __future__ import annotations

import getpass
import sys
import time
from contextlib import closing
from pathlib import Path

import click

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import ListJobs
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import complain, configuration
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.job_names import parse_job_ids
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.state_dirs import StateDirectory, expired, is_mine, remove
from ef_slurm.formats.durations import DurationError, parse_finite_duration
from ef_slurm.formats.sizes import format_bytes
from ef_slurm.formats.times import format_date
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, JobList
from ef_slurm.siteconfig.tables import SiteConfig

PROGRAM = "ef-scontrol"
DAY = 86400.0
DEFAULT_DAYS = 30.0
"""Days after a job's end, where the site's configuration says nothing."""


@click.command(
    epilog="""
\b
Examples:
  ef-scontrol purge --dry-run            what would go, and how much it holds
  ef-scontrol purge --older-than=7-00:00 jobs that ended more than a week ago
  ef-scontrol purge 1234,1235 --yes
\b
Exit codes: 0 done, 1 a job that is not known, or something could not be removed, 2 usage,
  4 ef-schedd cannot be reached, 5 not allowed.
"""
)
@click.argument("ids", nargs=-1, metavar="[JOB[,JOB...]...]")
@click.option(
    "--older-than",
    metavar="TIME",
    help="Of jobs that ended that long ago: 7-00:00, 12h (the site's, or 30 days).",
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="JSON: times are epoch seconds.")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")
def purge(
    ids: tuple[str, ...],
    older_than: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    config: Path | None,
) -> ExitCode:
    """Remove state directories of my jobs that have ended, with their checkpoints.

    Nothing of a job that goes on is touched, and nothing of anybody else's. A job that was gone on
    from (ef-sbatch --continue) keeps its own checkpoints.
    """
    job_ids = parse_job_ids(ids)
    if job_ids and older_than is not None:
        raise UsageError("job ids and --older-than: give one of them")
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here: give --yes, or --dry-run to look")
    site = configuration(config)
    before = time.time() - _age(older_than, site)
    with closing(connect(site, lambda: slurm_of(site))) as client:
        found, worst = _found(client, site, job_ids, before)
    if not as_json:
        _show(found)
    if dry_run or not found:
        return _end(found, [], worst, as_json=as_json)
    if not (yes or click.confirm("Remove them?", err=True)):
        return worst
    removed = []
    for one in found:
        try:
            if not is_mine(one.path):
                raise PermissionError(1, "it is not yours any more")
            remove(one.path)
        except OSError as error:
            complain(PROGRAM, f"{one.path}: {error.strerror or error}")
            worst = max(worst, ExitCode.SLURM)
        else:
            removed.append(one)
    return _end(found, removed, worst, as_json=as_json)


def _age(older_than: str | None, site: SiteConfig) -> float:
    if older_than is None:
        return (site.jobs.keep_state_days or DEFAULT_DAYS) * DAY
    try:
        return parse_finite_duration(older_than)
    except DurationError as error:
        raise UsageError(f"--older-than={older_than}: {error}") from None


def _found(
    client: Client, site: SiteConfig, job_ids: tuple[int, ...], before: float
) -> tuple[list[StateDirectory], ExitCode]:
    worst = ExitCode.OK
    if job_ids:
        jobs = expect(JobList, client.ask(ListJobs(job_ids=job_ids))).jobs
        for job_id in job_ids:
            view = next((job for job in jobs if job.job_id == job_id), None)
            if view is None:
                complain(PROGRAM, f"{job_id}: no such job in ef-slurm's queue")
                worst = max(worst, ExitCode.SLURM)
            elif view.state not in FINAL:
                raise UsageError(f"job {job_id} is {view.state.value}: ef-scancel it first")
            elif Path(view.state_dir).exists() and not is_mine(Path(view.state_dir)):
                complain(PROGRAM, f"{job_id}: {view.state_dir} is not yours")
                worst = max(worst, ExitCode.DENIED)
    else:
        jobs = expect(JobList, client.ask(ListJobs(users=(getpass.getuser(),), all=True))).jobs
    return list(expired(jobs, site.jobs.state_root, before, job_ids)), worst


def _show(found: list[StateDirectory]) -> None:
    zone = local_zone()
    for one in found:
        job = "-" if one.job_id is None else str(one.job_id)
        ended = format_date(one.ended, zone) if one.ended else "-"
        say(f"{job:>8}  {ended:10}  {format_bytes(one.held):>6}  {one.path}")
    noun = "directory" if len(found) == 1 else "directories"
    say(f"{len(found)} {noun}, {format_bytes(sum(one.held for one in found))}")


def _end(
    found: list[StateDirectory], removed: list[StateDirectory], worst: ExitCode, *, as_json: bool
) -> ExitCode:
    if as_json:
        gone = {one.path for one in removed}
        directories = [
            {
                "job_id": one.job_id,
                "path": str(one.path),
                "ended": one.ended,
                "bytes": one.held,
                "removed": one.path in gone,
            }
            for one in found
        ]
        say_json({"directories": directories})
    elif removed:
        say(f"{format_bytes(sum(one.held for one in removed))} removed")
    return worst
