"""The site's rule for state directories of jobs that ended long ago: their owner removes them."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from ef_slurm.api.client import Client, FailureError, UnreachableError, expect
from ef_slurm.api.messages import ListJobs
from ef_slurm.cli.common.state_dirs import expired, remove
from ef_slurm.formats.sizes import format_bytes
from ef_slurm.model import JobList
from ef_slurm.siteconfig.tables import JobsTable

MOST_AT_ONCE = 20
"""Directories that one submission removes at most."""


def remove_expired(client: Client, rule: JobsTable, now: float, say: Callable[[str], None]) -> None:
    """Remove the caller's own that have expired; nothing of it is in the way of a submission.

    Args:
        now: the present, UTC epoch seconds.
        say: tells what was removed.
    """
    with suppress(UnreachableError, FailureError, OSError):
        wanted = ListJobs(users=(getpass.getuser(),), all=True)
        jobs = expect(JobList, client.ask(wanted)).jobs
        found = expired(jobs, rule.state_root, now - 86400.0 * rule.keep_state_days)
        gone = list(islice(found, MOST_AT_ONCE))
        for one in gone:
            remove(one.path)
        if gone:
            held = format_bytes(sum(one.held for one in gone))
            days = f"{rule.keep_state_days:g} days"
            say(f"Removed what {len(gone)} jobs left that ended more than {days} ago: {held}")
