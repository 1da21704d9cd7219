"""`ef-schedd setup`: shows what an installation would do, asks, and does it."""

from __future__ import annotations

import os
import sys

import click

from ef_slurm.cli.common.entry import complain, paint
from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.output import say
from ef_slurm.cli.common.tone import Tone
from ef_slurm.formats.printing import printable
from ef_slurm.installation.apply import apply, run
from ef_slurm.installation.service import Part, Wishes, names_of, plan_service
from ef_slurm.installation.steps import ByHand, InstallationError, Plan, Step, WishError
from ef_slurm.installation.survey import survey_host, survey_slurm
from ef_slurm.slurm.commands.runner import Runner

RECONFIGURE = ("scontrol", "reconfigure")


def set_up(wishes: Wishes, *, yes: bool, dry_run: bool, reconfigure: bool) -> ExitCode:
    """Show the plan and do it.

    Args:
        yes: everything that is shown, without asking.
        dry_run: only show.
        reconfigure: let slurmctld read its files again, without asking.

    Raises:
        CommandError: it cannot be done; what was done before stays.
    """
    try:
        plan = _plan(wishes)
        return _work(plan, yes=yes, dry_run=dry_run, reconfigure=reconfigure)
    except WishError as error:
        raise UsageError(str(error)) from None
    except InstallationError as error:
        raise CommandError(str(error), ExitCode.SLURM) from None


def _plan(wishes: Wishes) -> Plan:
    user, partition = names_of(wishes)
    host = survey_host(user)
    slurm = None
    if Part.SLURM in wishes.parts:
        slurm = survey_slurm(Runner(timeout=30.0), partition, user, host.name)
    return plan_service(wishes, host, slurm)


def _work(plan: Plan, *, yes: bool, dry_run: bool, reconfigure: bool) -> ExitCode:
    asks = sys.stdin.isatty() and not (yes or dry_run)
    if not plan.steps:
        say("Nothing to do: this host has what a service needs.")
    if plan.steps and not dry_run and os.geteuid() != 0:
        raise UsageError("only root can do this: run it with sudo, or see it with --dry-run")
    left = 0
    for number, step in enumerate(plan.steps, 1):
        _show(step, f"{number}/{len(plan.steps)}")
        if dry_run or not (yes or asks):
            continue
        if asks and not click.confirm("  Do it?", default=False):
            left += 1
            continue
        kept = apply(step)
        say(f"  done{f' (before: {kept})' if kept else ''}")
    for told in plan.by_hand:
        _tell(told)
    if plan.steps and not (yes or dry_run or asks):
        raise UsageError("nothing was done: this is no terminal to ask on; give --yes")
    if dry_run:
        if plan.steps:
            say("Nothing was done (--dry-run).")
        return ExitCode.OK
    pending = plan.reconfigure and not plan.by_hand
    if pending and _may_reconfigure(reconfigure, asks):
        run(RECONFIGURE)
        say("slurmctld has read its files again.")
        pending = False
    _what_next(pending)
    if left or plan.by_hand:
        complain("ef-schedd", "not everything is done: see above")
        return ExitCode.SLURM
    return ExitCode.OK


def _may_reconfigure(wished: bool, asks: bool) -> bool:
    question = f"Let slurmctld read its files now ({' '.join(RECONFIGURE)})?"
    return wished or (asks and click.confirm(question, default=False))


def _show(step: Step, number: str) -> None:
    say(f"{number} {step.title}: {step.why}")
    for line in step.lines:
        tone = {"+": Tone.GOOD, "-": Tone.BAD}.get(line[:1], Tone.DIM)
        _indented(line, tone)


def _tell(told: ByHand) -> None:
    say(f"By hand, {told.where}: {told.why}")
    for line in told.lines:
        _indented(line, Tone.WARN)


def _indented(line: str, tone: Tone) -> None:
    click.echo(f"    {paint(printable(line), tone)}")


def _what_next(reconfigure: bool) -> None:
    say("Then:")
    if reconfigure:
        say(f"    {' '.join(RECONFIGURE)}")
    say("    systemctl daemon-reload")
    say("    systemctl enable --now ef-schedd")
    say("    ef-schedd check --try --user=NAME    (an ordinary user)")
