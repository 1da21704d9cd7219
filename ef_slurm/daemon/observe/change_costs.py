"""What one change of share took, and of which costs that tells something. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.overheads import LIVE_KINDS, Taken
from ef_slurm.model import ChangeKind, Json, Overhead, overhead_field

_REQUEUES = frozenset({ChangeKind.MOVE, ChangeKind.RESTART})
_KINDS = {kind.value: kind for kind in ChangeKind}


@dataclass(frozen=True, slots=True)
class Decided:
    """A change that a plan has decided on.

    Args:
        since: when, UTC epoch seconds.
    """

    change: ChangeKind
    since: float


def taken(decided: Decided, status: JobStatus, first: float, now: float) -> Taken:
    """What a change took that is done.

    When it trained is the job's own word: not before it was decided or Slurm started it, and not
    after now. That it trained meanwhile is believed if all of it can be true: after the decision,
    and before the present launch and Slurm's present run began.

    Args:
        first: when the first iteration after it ended.
        now: UTC epoch seconds.
    """
    since, started = decided.since, status.slurm.start_time
    latest = max(now, since)
    end = min(max(first, since if started is None else started, since), latest)
    seconds = end - since
    launch, progress = status.launch, status.progress
    until = None if progress is None else progress.trained_until
    if until is None or launch is None or not since < until <= min(launch.started_at, end):
        return Taken(seconds)
    if started is not None and since <= started < until:
        return Taken(seconds)
    return Taken(seconds, end - until)


def carried_out(decided: Decided, status: JobStatus) -> ChangeKind:
    """The kind that a change was in the end: what keeps nodes may have needed a requeue after all.

    Slurm has started the job since then.
    """
    started = status.slurm.start_time
    requeued = started is not None and started >= decided.since
    keeps = decided.change in (ChangeKind.GROW, ChangeKind.SHRINK)
    return ChangeKind.RESTART if keeps and requeued else decided.change


def measured_fields(change: ChangeKind, decided: ChangeKind) -> frozenset[str]:
    """Of which fields of `Overhead` a change tells something.

    To Slurm a move and a restart are the same thing, a requeue. A shrink that took one tells what
    that takes, and also what it costs to decide on a shrink here: where Slurm allows none, every
    one of them ends so.

    Args:
        change: as it was carried out.
        decided: as it was planned.
    """
    alike = _REQUEUES if change in _REQUEUES else {change}
    return frozenset(overhead_field(kind) for kind in {*alike, decided})


def recalled_fields(data: Mapping[str, Json]) -> frozenset[str]:
    """The same of an event, those of earlier versions among them."""
    what, decided = data.get("what"), data.get("decided")
    if what in LIVE_KINDS.values():
        return frozenset({str(what)})
    # Earlier versions called every requeue of a running job a reshape, then a growth was always
    # one. Some of what they called a shrink was one too: that errs on the safe side and gives way
    # to what is measured from now on.
    if what == "reshape" or (what == ChangeKind.GROW.value and "requeued" not in data):
        return frozenset(Overhead.FORMER_FIELDS["reshape"])
    change = _KINDS.get(str(what))
    if change is None:
        return frozenset()
    return measured_fields(change, _KINDS.get(str(decided), change))


def recalled(data: Mapping[str, Json], seconds: float) -> Taken:
    """What the change of an event took.

    Args:
        seconds: until training, as the event says.
    """
    still = data.get("still")  # earlier versions did not write it
    if isinstance(still, bool) or not isinstance(still, int | float):
        return Taken(seconds)
    return Taken(seconds, still) if 0.0 <= still <= seconds else Taken(seconds)
