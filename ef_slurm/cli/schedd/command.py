"""ef-schedd: the daemon that promises, plans, and acts on Slurm."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from ef_slurm.api.client import Client
from ef_slurm.cli.common.entry import configuration, paint, run_click
from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.output import say
from ef_slurm.cli.common.tone import Tone
from ef_slurm.cli.common.version import own_version, version_option
from ef_slurm.formats.printing import printable
from ef_slurm.siteconfig.load import SYSTEM

PROGRAM = "ef-schedd"

EPILOG = """
\b
Examples:
  ef-schedd check                compare the configuration with Slurm and this host
  ef-schedd check --try          and send a job of ten seconds through the whole chain
  ef-schedd setup --service      make this host serve everybody, step by step
  ef-schedd run                  in the foreground (systemd unit: site-config/systemd)
  ef-schedd run --advisory       decide and log, act on nothing
  ef-schedd run --once           one tick, for cron or for a look
  ef-schedd backup FILE          copy the queue while the daemon runs
  ef-schedd rebuild              make a lost queue anew, from its records and from Slurm
  ef-schedd takeover             the same on another host, which is to act from now on
\b
Exit codes: 0 done; 1 a check failed, or Slurm does not answer; 2 usage or configuration;
  3 rebuilt, but for what is told; 4 the queue cannot be had (another daemon owns it, a network
  file system).
"""

REBUILD_EPILOG = """
\b
Examples:
  sudo -u ef-slurm ef-schedd rebuild --dry-run       what would be in it
  sudo -u ef-slurm ef-schedd rebuild                 the disk is lost
  sudo -u ef-slurm ef-schedd rebuild --replace       the queue is damaged, or of another time
  sudo -u ef-slurm ef-schedd rebuild --replace --backup=/backup/queue.sqlite
\b
Exit codes: 0 done; 1 Slurm does not answer; 2 usage, or another daemon is at work; 3 done, but
  for what is told; 4 the queue, or the directory of orders, cannot be had. With 1, 2 and 4 all is
  as it was. Then: systemctl start ef-schedd. More: docs/operations.md.
"""

TAKEOVER_EPILOG = """
\b
Examples:
  sudo -u ef-slurm ef-schedd takeover && systemctl start ef-schedd
\b
Exit codes: as of ef-schedd rebuild. More: docs/operations.md.
"""

BACKUP_EPILOG = """
\b
Examples:
  sudo -u ef-slurm ef-schedd backup /backup/ef-slurm/queue.sqlite
  systemctl enable --now ef-schedd-backup.timer      daily (site-config/systemd)
\b
Exit codes: 0 done; 2 usage; 4 it cannot be read or written: a backup that was there stays.
Restore: ef-schedd rebuild --replace --backup=FILE, which adds what was promised since.
"""

SETUP_EPILOG = """
\b
Examples:
  ef-schedd setup --service --shared=/lustre --dry-run     what would be done
  ef-schedd setup --service --shared=/lustre               step by step, asking
  ef-schedd setup --service --yes --only=directories       after a change of the site's file
\b
Exit codes: 0 done, or nothing to do; 1 something is left, or Slurm does not answer; 2 usage.
Undo: docs/installation.md.
"""

_config = click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")


@click.group(epilog=EPILOG)
@version_option(PROGRAM)
def _command() -> None:
    """Schedule deadline jobs on Slurm: admit, plan, start, grow, shrink, pause, explain."""


@_command.command("run")
@_config
@click.option("--once", is_flag=True, help="One tick, then end.")
@click.option("--advisory", is_flag=True, help="Decide and log, act on nothing.")
@click.option(
    "--take-over", is_flag=True, help="Although a daemon of another host may be at work; it ends."
)
@click.option("-v", "--verbose", is_flag=True, help="Log every step.")
def _run(
    config: Path | None, once: bool, advisory: bool, take_over: bool, verbose: bool
) -> ExitCode:
    """Be the daemon, in the foreground, until SIGTERM or Ctrl-C."""
    from ef_slurm.daemon.journal import log_handler
    from ef_slurm.daemon.main import run
    from ef_slurm.daemon.serve.server import ServerError
    from ef_slurm.daemon.startup import StartRefusedError

    site = configuration(config)
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, handlers=[log_handler(os.environ)])
    try:
        run(site, version=own_version(), once=once, advisory=advisory, take_over=take_over)
    except ServerError as error:
        raise CommandError(str(error), ExitCode.NO_ANSWER) from None
    except StartRefusedError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    return ExitCode.OK


@_command.command("rebuild", epilog=REBUILD_EPILOG)
@_config
@click.option("--replace", is_flag=True, help="Also where there is a queue, which is kept beside.")
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    help="Begin with this copy (ef-schedd backup): its history and measurements.",
)
@click.option("--take-over", is_flag=True, help="Although another host's daemon may be at work.")
@click.option("--dry-run", is_flag=True, help="Show what would be in it, change nothing.")
def _rebuild(
    config: Path | None, replace: bool, backup: Path | None, take_over: bool, dry_run: bool
) -> ExitCode:
    """Make the queue anew, while no daemon runs: from its records, from Slurm and from the jobs.

    The records lie below [jobs] order_root, with all promises, holds, arrays and dependencies. Says
    of each job what was found, and what could not be rebuilt. There is a whole queue afterwards, or
    what was there before.
    """
    from ef_slurm.cli.schedd.rebuilding import make_anew

    return make_anew(
        configuration(config),
        backup=backup,
        replace=replace,
        dry_run=dry_run,
        take_over=take_over,
    )


@_command.command("takeover", epilog=TAKEOVER_EPILOG)
@_config
def _takeover(config: Path | None) -> ExitCode:
    """Let this host act from now on: fence the daemon of another host, and rebuild the queue here.

    The other one may be gone, or hang: when it comes back it ends before it does anything. A queue
    that is here is kept beside.
    """
    from ef_slurm.cli.schedd.rebuilding import make_anew

    return make_anew(
        configuration(config), backup=None, replace=True, dry_run=False, take_over=True
    )


@_command.command("backup", epilog=BACKUP_EPILOG)
@_config
@click.argument("file", type=click.Path(path_type=Path))
def _backup(config: Path | None, file: Path) -> ExitCode:
    """Copy the queue, as it is at one moment, while the daemon runs.

    FILE is replaced once the copy is whole, if it is a backup or not there yet.
    """
    from ef_slurm.cli.schedd.rebuilding import copy

    return copy(configuration(config), file)


@_command.command("setup", epilog=SETUP_EPILOG)
@click.option("--service", is_flag=True, help="A service for everybody on this cluster.")
@click.option(
    "--shared",
    type=click.Path(path_type=Path),
    help="Directory that all hosts share: checkpoints and orders go to ef-slurm/ in it.",
)
@click.option("--partition", help="That ef-slurm schedules (ef); made where Slurm has none.")
@click.option("--nodes", help="Host list of a partition to be made (all that have GPUs).")
@click.option("--user", help="Who the daemon runs as (ef-slurm).")
@click.option("--host", help="Where other login hosts reach it (this host's name); '' for nowhere.")
@click.option("--config", type=click.Path(path_type=Path), help="The site's file (in /etc).")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["account", "directories", "configuration", "unit", "slurm"]),
    help="One part, repeated for several; all without it.",
)
@click.option("--dry-run", is_flag=True, help="Show everything, do nothing.")
@click.option("--yes", is_flag=True, help="Do all that is shown, without asking.")
@click.option("--reconfigure", is_flag=True, help="Also run scontrol reconfigure, without asking.")
def _setup(
    service: bool,
    shared: Path | None,
    partition: str | None,
    nodes: str | None,
    user: str | None,
    host: str | None,
    config: Path | None,
    only: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    reconfigure: bool,
) -> ExitCode:
    """Make this host serve ef-slurm to everybody: show each change, ask, and do it.

    It writes the few keys, directories, systemd unit and Slurm lines that a service needs, keeps
    what it changes beside it (FILE.before-ef-slurm-DATE), and does nothing twice. It restarts
    nothing. What it cannot do from here is printed.
    """
    from ef_slurm.cli.schedd.installing import set_up
    from ef_slurm.installation.service import Part, Wishes

    if not service:
        raise UsageError(
            "setup is for a service for everybody: ef-schedd setup --service. For oneself nothing "
            "has to be set up: ef-schedd run"
        )
    for name, path in (("shared", shared), ("config", config)):
        if path is not None and not path.is_absolute():
            raise UsageError(f"--{name}={path}: give an absolute path")
    wishes = Wishes(
        config=config or SYSTEM,
        shared=shared,
        partition=partition,
        nodes=nodes,
        user=user,
        host=host,
        parts=frozenset(Part(name) for name in only) or frozenset(Part),
    )
    return set_up(wishes, yes=yes, dry_run=dry_run, reconfigure=reconfigure)


@_command.command("check")
@_config
@click.option("--try", "trial", is_flag=True, help="Also send a job of ten seconds through it all.")
@click.option("--user", help="With --try, by root: the ordinary user whose job it is.")
def _check(config: Path | None, trial: bool, user: str | None) -> ExitCode:
    """Compare the configuration with Slurm and this host: is everybody served?

    Says what is not guarded. With --try an ordinary user's job of ten seconds is submitted,
    promised, started, read and ended, each step with its time, and cleaned up.
    """
    from ef_slurm.cli.common.connect import connect, slurm_of
    from ef_slurm.cli.schedd.person import daemon_of, person
    from ef_slurm.cli.schedd.trial import try_it
    from ef_slurm.cli.schedd.trial_rights import try_rights
    from ef_slurm.daemon.check import check
    from ef_slurm.daemon.findings import Finding, Level

    tones = {Level.OK: Tone.GOOD, Level.WARNING: Tone.WARN, Level.ERROR: Tone.BAD}

    def told(finding: Finding) -> bool:
        """Whether what was found, and now is printed, is an error."""
        word = paint(f"{finding.level.value.upper():<8}", tones[finding.level])
        click.echo(f"{word} {printable(f'{finding.subject}: {finding.text}')}")
        return finding.level is Level.ERROR

    if user is not None and not trial:
        raise UsageError("--user goes with --try")
    site = configuration(config)
    who = person(site, user) if trial else None

    def client() -> Client:
        return connect(site, lambda: slurm_of(site))

    errors = [told(finding) for finding in check(site, client)]
    if who is not None and not any(errors):
        daemon = daemon_of(site)
        if daemon is not None:
            errors += [told(finding) for finding in try_rights(site, who, daemon)]
        errors += [told(finding) for finding in try_it(client, who, config)]
    elif who is not None:
        say("Not tried: first what is wrong above.")
    return ExitCode.SLURM if any(errors) else ExitCode.OK


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
