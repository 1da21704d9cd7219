"""Which jobs are shown, and in which order: squeue's -u -A -p -n -w -j -t and -S."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ef_slurm.api.client import Client, expect
from ef_slurm.api.messages import MOST_JOB_IDS, ListJobs
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.job_names import means
from ef_slurm.cli.common.states import parse_states
from ef_slurm.cli.squeue.columns import Column, Look
from ef_slurm.cli.squeue.layouts import column_named, known_columns
from ef_slurm.formats.arrays import JobName
from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.formats.job_words import MEASURING
from ef_slurm.model import ACTIVE, FINAL, JobList, JobState, JobView

PROGRAM = "ef-squeue"


@dataclass(frozen=True, slots=True)
class Choice:
    """The jobs that were asked for; an empty part of it is met by every job.

    Args:
        states: empty for those that are active, or with `ended` all.
        measuring: also jobs that are measured before they are judged, whatever their state.
        nodes: jobs on one of them.
        tasks: of arrays only these jobs; none for all.
    """

    users: frozenset[str] = frozenset()
    job_ids: tuple[int, ...] = ()
    states: frozenset[JobState] = frozenset()
    measuring: bool = False
    ended: bool = False
    accounts: frozenset[str] = frozenset()
    partitions: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    tasks: tuple[JobName, ...] = ()

    def takes(self, job: JobView) -> bool:
        """Whether a job was asked for."""
        return (
            self._state(job)
            and (not self.users or job.owner in self.users)
            and (not self.accounts or job.account in self.accounts)
            and (not self.partitions or job.partition in self.partitions)
            and (not self.names or job.name in self.names)
            and (not self.nodes or not self.nodes.isdisjoint(job.nodes))
            and (not self.tasks or any(means(name, job) for name in self.tasks))
        )

    def _state(self, job: JobView) -> bool:
        if not self.states and not self.measuring:
            return True
        return job.state in self.states or (self.measuring and job.measuring is not None)

    def requests(self) -> Iterable[ListJobs]:
        """What to ask the daemon for: as little as it can pick itself."""
        for start in range(0, len(self.job_ids), MOST_JOB_IDS):
            yield ListJobs(job_ids=self.job_ids[start : start + MOST_JOB_IDS])
        if not self.job_ids:
            # Being measured is no state of its own: picked from all of the active ones.
            states = self.states | (ACTIVE if self.measuring else frozenset())
            yield ListJobs(
                users=tuple(sorted(self.users)),
                states=tuple(state for state in JobState if state in states),
                all=self.ended,
            )


@dataclass(frozen=True, slots=True)
class Found:
    """What a choice has come to.

    Args:
        problems: what was asked for and is not there, a sentence each.
    """

    jobs: JobList
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What there is beside jobs and users.

    Args:
        partition: the one that ef-slurm schedules.
        nodes: asks for the names of all nodes; None where Slurm does not tell.
    """

    partition: str
    nodes: Callable[[], frozenset[str] | None] = lambda: None


def find(client: Client, choice: Choice, known: Known) -> Found:
    """The jobs that were asked for.

    Args:
        known: against which names are checked that no job has.

    Raises:
        UnreachableError, FailureError: as `Client.ask` does.
    """
    answers = [expect(JobList, client.ask(request)) for request in choice.requests()]
    every = tuple(job for answer in answers for job in answer.jobs)
    others = tuple(dict.fromkeys(other for answer in answers for other in answer.others))
    jobs = JobList(answers[-1].now, tuple(job for job in every if choice.takes(job)), others)
    return Found(jobs, tuple(_problems(choice, every, known)))


def _problems(choice: Choice, every: Sequence[JobView], known: Known) -> Iterable[str]:
    ids = {job.job_id for job in every}
    ids |= {job.array.job_id for job in every if job.array is not None}
    ids |= {one.job_id for job in every for one in job.companions}
    for job_id in choice.job_ids:
        if job_id not in ids:
            yield f"{job_id}: no such job in ef-slurm's queue"
    for user in unknown_users(choice.users - {job.owner for job in every}):
        yield f"{user!r}: no such user"
    partitions = {job.partition for job in every} | {known.partition}
    for name in sorted(choice.partitions - partitions):
        yield f"{name!r}: ef-slurm schedules partition {known.partition} and no job is in this one"
    unseen = choice.nodes.difference(*(job.nodes for job in every))
    nodes = known.nodes() if unseen else None
    if nodes is not None:
        for name in sorted(unseen - nodes):
            yield f"{name!r}: no such node"


def unknown_users(names: Iterable[str]) -> list[str]:
    """Those of the names that this host does not know."""
    return sorted(name for name in names if not _is_user(name))


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def parse_users(words: Iterable[str]) -> frozenset[str]:
    """Users by name or, as squeue takes them, by uid."""
    return frozenset(_user(word) for word in words)


def _user(word: str) -> str:
    if word.isascii() and word.isdecimal() and len(word) < 11:
        try:
            return pwd.getpwuid(int(word)).pw_name
        except KeyError:
            return word
    return word


def parse_choice_of_states(words: Sequence[str], where: str) -> tuple[frozenset[JobState], bool]:
    """States, and whether MEASURING is among the words.

    Raises:
        UsageError: a word that is no state.
    """
    states = tuple(word for word in words if word.upper() != MEASURING)
    return frozenset(parse_states(states, where)), len(states) < len(words)


def parse_nodes(text: str) -> frozenset[str]:
    """Nodes of a host list.

    Raises:
        UsageError: it is none.
    """
    try:
        return frozenset(expand(text))
    except HostlistError as error:
        raise UsageError(f"--nodelist: {error}") from None


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column to sort by."""

    column: Column
    descending: bool


def parse_sort(text: str, where: str) -> tuple[SortKey, ...]:
    """What `-S` says: letters or names of columns, each with `-` before it for the largest first.

    Raises:
        UsageError: an unknown column.
    """
    keys = []
    for word in (word.strip() for word in text.split(",")):
        name = word.lstrip("+-") if len(word) > 1 else word
        column = column_named(name)
        if column is None or len(word) - len(name) > 1:
            raise UsageError(f"{where}: {word!r} is no column to sort by; there is {_all()}")
        keys.append(SortKey(column, word.startswith("-")))
    return tuple(keys)


def _all() -> str:
    return known_columns().replace("%", "")


def in_order(jobs: Iterable[JobView], keys: Sequence[SortKey], look: Look) -> tuple[JobView, ...]:
    """Jobs sorted by some columns, the first one first; what is not known comes last."""
    ordered = list(jobs)
    for key in reversed(keys):
        value = _value_of(key.column, look)
        known = [job for job in ordered if value(job) is not None]
        unknown = [job for job in ordered if value(job) is None]
        known.sort(key=value, reverse=key.descending)
        ordered = known + unknown
    return tuple(ordered)


def _value_of(column: Column, look: Look) -> Callable[[JobView], Any]:
    key = column.key or (lambda job, look: column.text(job, look).casefold())

    def value(job: JobView) -> Any:
        try:
            found = key(job, look)
        except Exception:  # what nothing can show (`table`)
            return None
        # Not a number is no place in an order.
        return found if found == found else None

    return value


def only_waiting(choice: Choice) -> Choice:
    """`--start`: jobs that have not ended and train on nothing now.

    Raises:
        UsageError: no job in one of the chosen states is such a job.
    """
    training = {JobState.RUNNING, JobState.STARTING, JobState.STOPPING}
    waiting = (choice.states or ACTIVE) - training - FINAL
    if not waiting:
        raise UsageError("--start shows jobs that wait: give other --states, or none")
    return replace(choice, states=frozenset(waiting))
