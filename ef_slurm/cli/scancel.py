"""ef-scancel: cancel jobs, as scancel does, and take them out of every plan at once."""

from __future__ import annotations

import getpass
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click

from ef_slurm.api.client import Client, FailureError, UnreachableError, expect
from ef_slurm.api.messages import MOST_JOB_IDS, Cancel, Cancelled, ListJobs
from ef_slurm.cli.common.cancelling import cancel_in_slurm
from ef_slurm.cli.common.completing import complete_jobs, complete_states
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import complain, configuration, run_click
from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.common.job_names import companion, means, parse_job_names
from ef_slurm.cli.common.output import say
from ef_slurm.cli.common.states import parse_states
from ef_slurm.cli.common.version import version_option
from ef_slurm.formats.arrays import JobName
from ef_slurm.model import FINAL, CompanionState, JobList
from ef_slurm.queue.errors import QueueMissingError
from ef_slurm.slurm.errors import NotPermittedError, SlurmError
from ef_slurm.slurm.interface import Slurm

PROGRAM = "ef-scancel"

EXAMPLES = """
\b
Examples:
  ef-scancel 1234 1235        these jobs
  ef-scancel 1234_[0-3]       some jobs of an array; 1234 is all of it
  ef-scancel --me             all of mine
  ef-scancel -n bert -t waitlisted
\b
Slurm decides who may cancel what. Plain scancel works too: ef-schedd notices a moment later.
A companion, by which a job has grown while it trains, is cancelled alone: the job goes on without.
\b
Exit codes: 0 done, 1 Slurm or a job that is not known, 2 usage, 4 ef-schedd cannot be reached
  (jobs named by id are cancelled in Slurm all the same), 5 not allowed.
"""


@click.command(epilog=EXAMPLES)
@click.argument("ids", nargs=-1, metavar="[JOB_ID[,JOB_ID...]...]", shell_complete=complete_jobs)
@click.option("-u", "--user", metavar="NAME", help="Jobs of this user.")
@click.option("--me", is_flag=True, help="My jobs.")
@click.option("-n", "--name", "--jobname", metavar="NAME", help="Jobs of this name.")
@click.option(
    "-t",
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="In this state.",
    shell_complete=complete_states,
)
@click.option("-i", "--interactive", is_flag=True, help="Ask for each job.")
@click.option("-Q", "--quiet", is_flag=True, help="Say nothing of jobs that ended already.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")
@version_option(PROGRAM)
def _command(
    ids: tuple[str, ...],
    user: str | None,
    me: bool,
    name: str | None,
    states: tuple[str, ...],
    interactive: bool,
    quiet: bool,
    verbose: bool,
    config: Path | None,
) -> ExitCode:
    """Cancel jobs of ef-slurm's queue."""
    owner = getpass.getuser() if me else user
    names = parse_job_names(ids)
    job_ids = tuple(dict.fromkeys(one.job_id for one in names))
    if not job_ids and owner is None and name is None and not states:
        raise UsageError("which jobs? Give job ids, --me, --user, --name or --state")
    wanted = ListJobs(
        users=() if owner is None else (owner,), states=parse_states(states), job_ids=job_ids
    )
    site = configuration(config)
    slurm = slurm_of(site)
    with closing(connect(site, lambda: slurm)) as client:
        chosen = _chosen(client, wanted, name, names)
        worst = ExitCode.OK
        for job_id in job_ids:
            if job_id not in chosen.known:
                complain(PROGRAM, f"{job_id}: no such job in ef-slurm's queue")
                worst = ExitCode.SLURM
        if not quiet:
            for job_id in chosen.ended:
                say(f"{PROGRAM}: job {job_id} has ended already", err=True)
        cancelled: list[int] = []
        for job_id in chosen.alive:
            if interactive and not click.confirm(f"Cancel job {job_id}?", err=True):
                continue
            code = _cancel(slurm, job_id, verbose=verbose)
            worst = max(worst, code)
            if code is ExitCode.OK:
                cancelled.append(job_id)
        for companion, job_id in chosen.companions.items():
            if interactive and not click.confirm(
                f"Cancel companion {companion} of job {job_id}?", err=True
            ):
                continue
            code = _cancel(slurm, companion, verbose=verbose)
            worst = max(worst, code)
            if code is ExitCode.OK:
                cancelled.append(companion)
                if not quiet:
                    say(_goes_on(companion, job_id), err=True)
        return max(worst, _notify_daemon(client, tuple(cancelled)))


def _goes_on(companion: int, job_id: int) -> str:
    return (
        f"{PROGRAM}: {companion} was a companion of job {job_id}, which goes on without its nodes; "
        f"{PROGRAM} {job_id} cancels all of it"
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The jobs that were meant.

    Args:
        companions: Slurm's ids of companions that were named themselves, with that of their job.
    """

    known: Collection[int]
    alive: Sequence[int]
    ended: Sequence[int]
    companions: Mapping[int, int] = field(default_factory=dict)


def _chosen(
    client: Client, wanted: ListJobs, name: str | None, meant: Sequence[JobName]
) -> _Chosen:
    try:
        answer = expect(JobList, client.ask(wanted))
    except (UnreachableError, QueueMissingError):
        tasks = any(one.tasks is not None for one in meant)
        if not wanted.job_ids or wanted.users or wanted.states or name is not None or tasks:
            raise
        # Slurm can cancel without us; the daemon will see it when it is back.
        return _Chosen(wanted.job_ids, wanted.job_ids, ())
    named = [job for job in answer.jobs if name in (None, job.name)]
    of_companions = [
        (found, job)
        for job in named
        for found in (companion(one, job) for one in meant)
        if found is not None
    ]
    own = [one for one in meant if one.job_id not in {found.job_id for found, _ in of_companions}]
    jobs = [job for job in named if not meant or any(means(one, job) for one in own)]
    ended = [job.job_id for job in jobs if job.state in FINAL]
    ended += [found.job_id for found, _ in of_companions if found.state is CompanionState.ENDED]
    alive = [job.job_id for job in jobs if job.state not in FINAL]
    companions = {
        found.job_id: job.job_id
        for found, job in of_companions
        if found.state is not CompanionState.ENDED and job.job_id not in alive
    }
    known = {job.job_id for job in answer.jobs}
    known |= {job.array.job_id for job in answer.jobs if job.array is not None}
    known |= {one.job_id for job in answer.jobs for one in job.companions}
    return _Chosen(known, alive, ended, companions)


def _cancel(slurm: Slurm, job_id: int, *, verbose: bool) -> ExitCode:
    try:
        cancel_in_slurm(slurm, job_id)
    except NotPermittedError as error:
        complain(PROGRAM, f"{job_id}: {error.message}")
        return ExitCode.DENIED
    except SlurmError as error:
        complain(PROGRAM, f"{job_id}: {error.message}")
        return ExitCode.SLURM
    if verbose:
        say(f"{PROGRAM}: job {job_id} cancelled", err=True)
    return ExitCode.OK


def _notify_daemon(client: Client, job_ids: tuple[int, ...]) -> ExitCode:
    code = ExitCode.OK
    for start in range(0, len(job_ids), MOST_JOB_IDS):
        try:
            told = Cancel(job_ids[start : start + MOST_JOB_IDS])
            answer = expect(Cancelled, client.ask(told))
        except (UnreachableError, FailureError, QueueMissingError) as error:
            complain(PROGRAM, f"cancelled in Slurm, but ef-schedd could not be told yet: {error}")
            return ExitCode.NO_ANSWER
        for refusal in answer.refused:
            complain(PROGRAM, f"{refusal.job_id}: {refusal.why}")
            code = ExitCode.SLURM
    return code


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
