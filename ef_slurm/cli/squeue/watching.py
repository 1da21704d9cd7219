"""`ef-squeue --watch`: the full-screen view, where there is one, else a plain table."""

from __future__ import annotations

import sys

from ef_slurm.api.client import Client
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import warn
from ef_slurm.cli.common.errors import ExitCode
from ef_slurm.cli.common.missing import missing_package
from ef_slurm.cli.squeue.choice import PROGRAM, Known
from ef_slurm.cli.squeue.listing import View, refresh
from ef_slurm.cli.squeue.view.source import DaemonSource
from ef_slurm.formats.zone import local_zone
from ef_slurm.siteconfig.tables import SiteConfig


def watch_jobs(
    site: SiteConfig, client: Client, view: View, known: Known, seconds: float
) -> ExitCode:
    """Show the queue until somebody quits.

    Args:
        client: for the plain table, which is shown off a terminal, as JSON, and where Textual is
            not installed.
        seconds: between two looks.
    """
    if view.as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return refresh(client, view, known, seconds)
    try:
        from ef_slurm.cli.squeue.view.app import QueueApp
    except ModuleNotFoundError as error:
        missing = missing_package(PROGRAM, error)
        if missing is None:
            raise
        warn(PROGRAM, f"the full-screen view {missing}; here is a plain table")
        return refresh(client, view, known, seconds)
    slurm = slurm_of(site)
    source = DaemonSource(
        lambda: connect(site, lambda: slurm), view.choice, known, slurm.output_file
    )
    try:
        QueueApp(source, view.layout, view.order, local_zone(), seconds).run()
    finally:
        source.close()
    return ExitCode.OK
