"""ef-schedd: the daemon that promises, plans, and acts on Slurm."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from ef_slurm.cli.common.entry import configuration, paint, run_click
from ef_slurm.cli.common.errors import CommandError, ExitCode
from ef_slurm.cli.common.tone import Tone
from ef_slurm.cli.common.version import own_version, version_option
from ef_slurm.formats.printing import LogFormatter, printable

PROGRAM = "ef-schedd"

EPILOG = """
\b
Examples:
  ef-schedd check                compare the configuration with Slurm
  ef-schedd run                  in the foreground (systemd unit: site-config/systemd)
  ef-schedd run --advisory       decide and log, act on nothing
  ef-schedd run --once           one tick, for cron or for a look
\b
Exit codes: 0 done; 1 a check failed, or Slurm does not answer; 2 usage or configuration;
  4 the queue cannot be had (another daemon owns it, a network file system).
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
    from ef_slurm.daemon.main import run
    from ef_slurm.daemon.serve.server import ServerError

    site = configuration(config)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    try:
        run(site, version=own_version(), once=once, advisory=advisory)
    except ServerError as error:
        raise CommandError(str(error), ExitCode.NO_ANSWER) from None
    return ExitCode.OK


@_command.command("check")
@_config
def _check(config: Path | None) -> ExitCode:
    """Compare the configuration with Slurm, and say what is not guarded."""
    from ef_slurm.daemon.check import Level, check

    tones = {Level.OK: Tone.GOOD, Level.WARNING: Tone.WARN, Level.ERROR: Tone.BAD}
    findings = check(configuration(config))
    for finding in findings:
        word = paint(f"{finding.level.value.upper():<8}", tones[finding.level])
        click.echo(f"{word} {printable(f'{finding.subject}: {finding.text}')}")
    failed = any(finding.level is Level.ERROR for finding in findings)
    return ExitCode.SLURM if failed else ExitCode.OK


def main() -> None:
    """The command."""
    run_click(PROGRAM, _command)
