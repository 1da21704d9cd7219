"""Which jobs the view shows, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ef_slurm.cli.squeue.choice import SortKey, in_order
from ef_slurm.cli.squeue.columns import Look
from ef_slurm.cli.squeue.layouts import column_named
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.job_words import promise_word, state_word
from ef_slurm.model import JobView

SORTED_BY = ("jobid", "deadline", "slack", "endtime", "state", "promise", "username", "gpus")
"""Columns that a key goes through."""


@dataclass(frozen=True, slots=True)
class Picking:
    """What was typed: a filter, and the order.

    Args:
        words: in each job that is shown all of these stand somewhere.
        by: the name of the column that it is sorted by.
    """

    words: str = ""
    by: str = SORTED_BY[0]
    descending: bool = False

    @classmethod
    def of_order(cls, order: Sequence[SortKey]) -> Picking:
        """As `-S` has it; of several columns the first one."""
        if not order:
            return cls()
        return cls(by=order[0].column.name, descending=order[0].descending)

    def next_column(self) -> Picking:
        """Sorted by the next column."""
        place = SORTED_BY.index(self.by) if self.by in SORTED_BY else -1
        return replace(self, by=SORTED_BY[(place + 1) % len(SORTED_BY)], descending=False)

    def turned(self) -> Picking:
        """The other way round."""
        return replace(self, descending=not self.descending)

    def by_column(self, name: str) -> Picking:
        """Sorted by a column; by the same again: the other way round."""
        return self.turned() if name == self.by else replace(self, by=name, descending=False)

    def of(self, jobs: Iterable[JobView], look: Look) -> tuple[JobView, ...]:
        """The jobs to show."""
        words = self.words.casefold().split()
        found = [job for job in jobs if all(word in _text(job) for word in words)]
        column = column_named(self.by)
        keys = [] if column is None else [SortKey(column, self.descending)]
        return in_order(found, keys, look)


def _text(job: JobView) -> str:
    """What a filter is looked for in."""
    parts = (str(job.job_id), job.name, job.owner, job.account, job.partition)
    told = (state_word(job), promise_word(job), compress(job.nodes) if job.nodes else "", job.note)
    return "\n".join((*parts, *told, *job.nodes)).casefold()
