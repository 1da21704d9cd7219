"""`ef-schedd rebuild`, `backup` and `takeover`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.output import say
from ef_slurm.daemon.beginning import refuse_beside
from ef_slurm.daemon.observe.claim import ClaimFile
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.record_files import FoundRecords, RecordFiles
from ef_slurm.daemon.observe.state_dirs import FileStateDirs
from ef_slurm.daemon.rebuild import Evidence, Rebuilt, RebuiltJob, rebuild, wanted_of_accounting
from ef_slurm.daemon.settings import settings_of
from ef_slurm.daemon.startup import StartRefusedError
from ef_slurm.formats.sentences import instant
from ef_slurm.model import FINAL, PromiseOutcome
from ef_slurm.queue.copies import back_up
from ef_slurm.queue.owner import DaemonLock
from ef_slurm.queue.store import Queue
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.types import SlurmJob


def make_anew(
    config: SiteConfig, *, backup: Path | None, replace: bool, dry_run: bool, take_over: bool
) -> ExitCode:
    """Rebuild the queue, and tell what became of each job.

    Args:
        backup: a copy of the queue to begin with.
        replace: also where there is a queue.
        dry_run: only tell.
        take_over: from a daemon of another host, which ends when it comes back.

    Raises:
        CommandError: it cannot be done; nothing has changed.
        QueueError: the queue's place cannot be had.
    """
    refuse_other_user(config)
    path = config.queue.path
    if dry_run:
        made = _made(config, backup, dry_run=True)
        _show(made, path, dry_run=True)
        return ExitCode.INCOMPLETE if made.lost else ExitCode.OK
    if path.exists() and not replace:
        raise CommandError(
            f"there is a queue at {path}: --replace puts it aside and makes it anew, --dry-run "
            "only shows what would be in it",
            ExitCode.NO_ANSWER,
        )
    with DaemonLock(path):
        claim = ClaimFile(config.order_root)
        try:
            if not take_over:
                refuse_beside(claim.read(), path.absolute())
            elif claim.read() is not None:
                _made(config, backup, dry_run=True)  # nobody is stopped for what cannot be done
                # From here on the other daemon writes no record any more.
                claim.take("", path.absolute(), pid=0)
            made = _made(config, backup, dry_run=False)
            with Queue.open(path) as queue:
                claim.take(queue.identity(), path.absolute(), pid=0)
        except StartRefusedError as error:
            raise UsageError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{config.order_root}: {error}", ExitCode.NO_ANSWER) from None
    _show(made, path, dry_run=False)
    return ExitCode.INCOMPLETE if made.lost else ExitCode.OK


def copy(config: SiteConfig, target: Path) -> ExitCode:
    """Back up the queue while the daemon runs.

    Raises:
        QueueError: it cannot be done; a backup that was there stays.
    """
    refuse_other_user(config)
    size = back_up(config.queue.path, target.absolute())
    say(f"{target}: the queue {config.queue.path} as it is now, {size / 1e6:.1f} MB")
    return ExitCode.OK


def refuse_other_user(config: SiteConfig) -> None:
    """Refuse root and others: what they wrote the daemon could not use.

    Raises:
        UsageError: it is not the daemon's own user.
    """
    user = Account.own()
    if config.daemon.serves is Serves.EVERYONE and user.name != config.daemon.user:
        raise UsageError(
            f"this is {user.name}, and the queue is {config.daemon.user}'s: "
            f"sudo -u {config.daemon.user} ef-schedd …"
        )


def _made(config: SiteConfig, backup: Path | None, *, dry_run: bool) -> Rebuilt:
    records = _records(config, backup)
    runner = Runner(timeout=config.slurm.timeout, directory=config.slurm.commands)
    slurm = CommandSlurm(runner)
    try:
        observation = slurm.observe()
    except SlurmError as error:
        raise CommandError(
            f"Slurm does not say which jobs there are, and without that no queue can be made: "
            f"{error.message}",
            ExitCode.SLURM,
        ) from None
    settings = settings_of(config)
    wanted = wanted_of_accounting(records, observation)
    ended: Mapping[int, SlurmJob] = {}
    try:
        ended = slurm.ended(wanted)
    except SlurmError as error:
        say(f"accounting does not say how {len(wanted)} jobs ended: {error.message}", err=True)
    evidence = Evidence(
        records=records,
        observation=observation,
        ended=ended,
        state_dirs=FileStateDirs(OrderFiles(config.order_root)),
        ours=settings.hold,
        partitions=settings.scope.partitions,
        now=time.time(),
        backup=backup,
    )
    return rebuild(config.queue.path, evidence, dry_run=dry_run)


def _records(config: SiteConfig, backup: Path | None) -> FoundRecords:
    files = RecordFiles(config.order_root)
    try:
        records = files.read()
    except OSError as error:
        raise CommandError(f"{files.path} cannot be read: {error}", ExitCode.NO_ANSWER) from None
    if not (records.records or records.refused or backup):
        raise UsageError(
            f"{files.path} has no record of any job, so there is nothing to make a queue of: start "
            "ef-schedd, which makes an empty one (is [jobs] order_root the daemon's?)"
        )
    return records


def _show(made: Rebuilt, path: Path, *, dry_run: bool) -> None:
    going_on = [one for one in made.jobs if one.job.state not in FINAL]
    for one in going_on:
        say(_line(one))
    ended = len(made.jobs) - len(going_on)
    if ended:
        say(f"and {ended} jobs that have ended")
    for words in made.lost:
        say(f"NOT REBUILT: {words}")
    for words in made.always:
        say(f"lost: {words}")
    open_promises = sum(_is_open(one) for one in going_on)
    what = f"{len(going_on)} jobs, {open_promises} of them with a promise that stands"
    if dry_run:
        say(f"{path} would have {what}. Nothing was written (--dry-run).")
        return
    if made.aside is not None:
        say(f"The queue that was there is {made.aside}.")
    say(f"{path} has {what}. Plans are made anew once ef-schedd runs: start it now.")


def _line(one: RebuiltJob) -> str:
    job, promise = one.job, one.promise
    request = job.request
    words = "no promise"
    if promise is not None:
        words = f"promise {promise.outcome.value}, deadline {instant(promise.deadline)}"
    elif request.deadline is not None:
        words = f"not promised, deadline {instant(request.deadline)}"
    name = f"{request.slurm_job_id} {request.owner} {request.name}"
    return f"{name}: {job.state.value}, {words}; {one.words}"


def _is_open(one: RebuiltJob) -> bool:
    return one.promise is not None and one.promise.outcome is PromiseOutcome.OPEN
