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
\b
Exit codes: 0 done; 1 a check failed, or Slurm does not answer; 2 usage or configuration;
  4 the queue cannot be had (another daemon owns it, a network file system).
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
@click.option("-v", "--verbose", is_flag=True, help="Log every step.")
def _run(config: Path | None, once: bool, advisory: bool, verbose: bool) -> ExitCode:
    """Be the daemon, in the foreground, until SIGTERM or Ctrl-C."""
    from ef_slurm.daemon.journal import log_handler
    from ef_slurm.daemon.main import run
    from ef_slurm.daemon.serve.server import ServerError
    from ef_slurm.daemon.startup import StartRefusedError

    site = configuration(config)
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, handlers=[log_handler(os.environ)])
    try:
        run(site, version=own_version(), once=once, advisory=advisory)
    except ServerError as error:
        raise CommandError(str(error), ExitCode.NO_ANSWER) from None
    except StartRefusedError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    return ExitCode.OK


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
