"""What the Tab key offers: jobs, partitions, accounts and other words that are cheap to know.

Nobody waits for it: what has not come within `PATIENCE_SECONDS`, or fails, is left out.
"""

from __future__ import annotations

import getpass
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress

import click
from click.shell_completion import BashComplete, CompletionItem

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import ListHistory, ListJobs, Ping, Pong
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import configuration
from ef_slurm.formats.printing import printable
from ef_slurm.model import HistoryPage, JobList, JobState
from ef_slurm.siteconfig.tables import SiteConfig

PATIENCE_SECONDS = 1.0
"""For which the Tab key waits."""
RECENT_SECONDS = 7 * 24 * 3600.0
"""How long ago a job may have ended to be offered."""


class SplitAtEquals(BashComplete):
    """In bash, for which `--option=value` is three words: click counts on two."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one to complete, and that one."""
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


Words = Sequence[tuple[str, str]]
"""Words with what is told of each."""
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def in_time(work: Callable[[], Words], patience: float = PATIENCE_SECONDS) -> Words:
    """What a piece of work finds, or nothing if that takes too long or fails."""
    found: list[Words] = []

    def body() -> None:
        # Whatever is wrong is told by the command itself, not at the Tab key.
        with suppress(BaseException):
            found.append(work())

    # A daemon thread: the process ends without it.
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(patience)
    return found[0] if found else ()


def _offered(incomplete: str, words: Words) -> list[CompletionItem]:
    """Of the words those that go on as the last one of a list with commas has begun."""
    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{word}", help=printable(told))
        for word, told in words
        if word.startswith(last) and word.isprintable()
    ]


def words_of(words: Iterable[str]) -> Complete:
    """Completes words that are known beforehand."""
    known = tuple((word, "") for word in words)
    return lambda _context, _parameter, incomplete: _offered(incomplete, known)


def _asked(question: Callable[[Client, SiteConfig], Words]) -> Complete:
    """Completes what the daemon is asked for."""

    def complete(
        context: click.Context, _: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        def work() -> Words:
            site = configuration(context.params.get("config"))
            with closing(connect(site, lambda: slurm_of(site))) as client:
                return question(client, site)

        return _offered(incomplete, in_time(work))

    return complete


def _my_jobs(client: Client, _: SiteConfig) -> Words:
    jobs = expect(JobList, client.ask(ListJobs(users=(getpass.getuser(),)))).jobs
    return [(str(job.job_id), f"{job.name} ({job.state.value})") for job in jobs]


def _my_ended_jobs(client: Client, _: SiteConfig) -> Words:
    asked = ListHistory(time.time() - RECENT_SECONDS, users=(getpass.getuser(),))
    jobs = expect(HistoryPage, client.ask(asked)).jobs
    return [(str(job.job_id), f"{job.name} ({job.state.value})") for job in jobs]


def _my_accounts(client: Client, _: SiteConfig) -> Words:
    jobs = expect(JobList, client.ask(ListJobs(users=(getpass.getuser(),)))).jobs
    asked = ListHistory(time.time() - RECENT_SECONDS, users=(getpass.getuser(),))
    ended = expect(HistoryPage, client.ask(asked)).jobs
    accounts = {job.account for job in jobs} | {job.account for job in ended}
    return [(account, "") for account in sorted(accounts - {""})]


complete_jobs = _asked(_my_jobs)
"""One's own jobs that have not ended."""
complete_ended_jobs = _asked(_my_ended_jobs)
"""One's own jobs that have."""
complete_all_jobs = _asked(lambda *one: [*_my_jobs(*one), *_my_ended_jobs(*one)])
"""One's own jobs."""
complete_accounts = _asked(_my_accounts)
"""The accounts of one's own jobs."""
complete_gpu_types = _asked(
    lambda client, _: [(kind, "") for kind in expect(Pong, client.ask(Ping())).gpu_types]
)
complete_states = words_of(
    [*(state.value for state in JobState), "all", "pending", "running", "measuring"]
)


def complete_partitions(
    context: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The partition that ef-slurm schedules."""
    name = in_time(lambda: [(configuration(context.params.get("config")).slurm.partition, "")])
    return _offered(incomplete, name)
