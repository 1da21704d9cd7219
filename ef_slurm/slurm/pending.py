"""Who holds a pending job: the one place that says it, as two tables.

The first reads Slurm's words: (reason, description, priority) → `HoldKind`. The second adds what we
did last and how we hold: (hold, our part, our hold, forgotten) → `Holder`. In both the first row
that fits counts, and together the rows fit everything. Priority 0 alone says nothing: Slurm sets it
for its owner, for an operator and for itself, and we set it too.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ef_slurm.model import Intent, IntentAction, IntentState, JobState
from ef_slurm.slurm.types import HoldKind, JobBaseState


@dataclass(frozen=True, slots=True)
class HoldRule:
    """One row: which words of a pending job show which hold. None fits everything.

    Args:
        reason: Slurm's reason.
        description: a part of Slurm's longer description of the state.
        stopped: whether its priority is 0.
    """

    hold: HoldKind
    reason: str | None = None
    description: str | None = None
    stopped: bool | None = None

    def fits(self, reason: str, description: str, stopped: bool) -> bool:
        """Whether the row speaks of these words."""
        return (
            self.reason in (None, reason)
            and (self.description is None or self.description in description)
            and self.stopped in (None, stopped)
        )


# slurmctld lets these reasons stand at priority 0; every other one becomes JobHeldAdmin at its next
# pass (src/slurmctld/job_scheduler.c, _job_runnable_test1).
HOLD_RULES = (
    # A failed launch is shown as JobHeldUser by some versions, and is not the owner's doing.
    HoldRule(HoldKind.SLURM, description="requeued held"),
    HoldRule(HoldKind.USER, reason="JobHeldUser"),
    HoldRule(HoldKind.ADMIN, reason="JobHeldAdmin"),
    HoldRule(HoldKind.SLURM, reason="JobHoldMaxRequeue"),
    HoldRule(HoldKind.SLURM, reason="BadConstraints", stopped=True),
    HoldRule(HoldKind.SLURM, reason="BurstBufferOperation", stopped=True),
    HoldRule(HoldKind.SLURM, reason="ReservationDeleted", stopped=True),
    # Another reason is shown before the hold: a begin time, a requeue, one that we do not know.
    HoldRule(HoldKind.UNKNOWN, stopped=True),
    HoldRule(HoldKind.NONE),
)


def hold_shown(state: JobBaseState, reason: str, description: str, *, stopped: bool) -> HoldKind:
    """The hold that Slurm's words about a job show.

    Args:
        stopped: whether its priority is 0.

    >>> hold_shown(JobBaseState.PENDING, "BeginTime", "", stopped=True)
    <HoldKind.UNKNOWN: 'unknown'>
    """
    if state is not JobBaseState.PENDING:
        return HoldKind.NONE
    return next(rule.hold for rule in HOLD_RULES if rule.fits(reason, description, stopped))


class OurPart(enum.Enum):
    """What we did last with a job that pends now."""

    WAITING = "waiting"  # it is to have no GPUs: we want it held
    RELEASING = "releasing"  # we are about to release it, or did not hear Slurm's answer
    RELEASED = "released"  # Slurm took our release of this run
    LOST = "lost"  # the same, and slurmctld was started anew since: it may be back from before
    LEAVING = "leaving"  # it was to stop, and pends, put back by us or by others
    RAN = "ran"  # it had started, and pends again


class Holder(enum.Enum):
    """Who keeps a pending job from starting."""

    WE = "ef-slurm"
    OWNER = "its owner"
    OPERATOR = "an operator"
    SLURM = "Slurm"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class HolderRule:
    """One row: who holds the job. None, and an empty set, fit everything.

    Args:
        holds: what Slurm shows.
        parts: what we did last.
        ours: how we hold: as an operator (ADMIN), or as the jobs' owner (USER).
        forgotten: whether Slurm has forgotten the run that the job reports.
    """

    holder: Holder
    holds: frozenset[HoldKind] = frozenset()
    parts: frozenset[OurPart] = frozenset()
    ours: HoldKind | None = None
    forgotten: bool | None = None

    def fits(self, hold: HoldKind, part: OurPart, ours: HoldKind, forgotten: bool) -> bool:
        """Whether the row speaks of this situation."""
        return (
            (not self.holds or hold in self.holds)
            and (not self.parts or part in self.parts)
            and self.ours in (None, ours)
            and self.forgotten in (None, forgotten)
        )


HOLDER_RULES = (
    HolderRule(Holder.NOBODY, holds=frozenset({HoldKind.NONE})),
    # Where we hold as the owner, an operator's hold is never ours, and we cannot end it.
    HolderRule(Holder.OPERATOR, holds=frozenset({HoldKind.ADMIN}), ours=HoldKind.USER),
    # Held is what we want, or what our release has not ended yet.
    HolderRule(Holder.WE, parts=frozenset({OurPart.WAITING, OurPart.RELEASING, OurPart.LOST})),
    # Back from a past in which we had not released it yet.
    HolderRule(Holder.WE, forgotten=True),
    # Put back by somebody, and not by us alone. An operator's hold may be ours of just now.
    HolderRule(
        Holder.OWNER,
        holds=frozenset({HoldKind.USER}),
        parts=frozenset({OurPart.LEAVING}),
        ours=HoldKind.ADMIN,
    ),
    HolderRule(Holder.WE, parts=frozenset({OurPart.LEAVING})),
    HolderRule(Holder.SLURM, holds=frozenset({HoldKind.SLURM})),
    HolderRule(Holder.OPERATOR, holds=frozenset({HoldKind.ADMIN})),
    HolderRule(Holder.OWNER, holds=frozenset({HoldKind.USER})),
    # Slurm does not start what we released, and does not say that anybody asked for that.
    HolderRule(
        Holder.SLURM, holds=frozenset({HoldKind.UNKNOWN}), parts=frozenset({OurPart.RELEASED})
    ),
    # `scontrol requeuehold` by its owner, behind the begin time of every requeue.
    HolderRule(Holder.OWNER, holds=frozenset({HoldKind.UNKNOWN})),
)


ENDED = "ended"
"""Argument of an intent to requeue: whether the job had ended, and is put back held by that."""

BOOTED = "booted"
"""Argument of an intent to release: which slurmctld was asked (`Observation.booted`)."""


_ENDS_A_RUN = frozenset(
    {
        IntentAction.ORDER_STOP,
        IntentAction.ORDER_RELAUNCH,
        IntentAction.SHRINK,
        IntentAction.REQUEUE,
    }
)
"""What is done to a job while it runs. The first three do not put it back; a requeue of an
operator's leaves no owner's hold (`interface.Slurm.requeue`), but of a job that had ended."""


def our_part(state: JobState, intent: Intent | None, restarts: int, booted: str = "") -> OurPart:
    """What we did last with a job that pends.

    Args:
        state: the row's. It is STARTING from the moment at which a release is written down.
        intent: its unfinished intent, or the last one.
        restarts: how often Slurm has requeued it.
        booted: which slurmctld says that it pends; "" for not known.
    """
    if state is JobState.STOPPING:
        if intent is None or intent.action not in _ENDS_A_RUN or intent.arguments.get(ENDED):
            return OurPart.WAITING
        return OurPart.LEAVING
    if state not in (JobState.STARTING, JobState.RUNNING):
        return OurPart.WAITING
    if intent is None or intent.action is not IntentAction.RELEASE:
        return OurPart.RAN
    asked = intent.arguments.get("restarts")
    if isinstance(asked, int) and asked > restarts:
        return OurPart.LOST  # Slurm never counts back: it has forgotten that whole run
    if asked != restarts:
        return OurPart.RAN
    if intent.state is IntentState.OPEN:
        return OurPart.RELEASING
    if intent.state is IntentState.ABANDONED:
        return OurPart.RAN
    if booted and intent.arguments.get(BOOTED, "") not in ("", booted):
        return OurPart.LOST
    return OurPart.RAN if intent.state is IntentState.CLOSED else OurPart.RELEASED


def is_run_of_others(intent: Intent | None, restarts: int) -> bool:
    """Whether a run came about without us: Slurm, or somebody, put the job back and started it.

    Args:
        intent: the job's unfinished intent, or its last one: whatever we did last.
        restarts: how often Slurm has requeued it.
    """
    asked = None if intent is None else intent.arguments.get("restarts")
    return isinstance(asked, int) and asked < restarts


def may_be_forgotten(intent: Intent | None, restarts: int, booted: str = "") -> bool:
    """Whether Slurm may have forgotten the run for which a job pends, as the job's report says.

    Its owner could end an operator's hold with such a report. So it is not believed where the queue
    knows better: Slurm has counted a requeue since we last did anything, or the slurmctld that took
    our release of this run is the one that says that it pends.

    Args:
        intent: its unfinished intent, or the last one.
        restarts, booted: as `our_part` takes them.
    """
    if is_run_of_others(intent, restarts):
        return False
    if intent is None or intent.action is not IntentAction.RELEASE:
        return True
    if intent.arguments.get("restarts") != restarts:
        return True
    return not booted or intent.arguments.get(BOOTED) != booted


def holder(hold: HoldKind, part: OurPart, ours: HoldKind, *, forgotten: bool) -> Holder:
    """Who keeps a pending job from starting.

    Args:
        hold: what Slurm shows (`SlurmJob.hold`).
        part: what we did last.
        ours: how we hold, ADMIN or USER.
        forgotten: whether Slurm has forgotten the run that the job reports (`may_be_forgotten`).

    >>> holder(HoldKind.USER, OurPart.RELEASED, HoldKind.ADMIN, forgotten=False)
    <Holder.OWNER: 'its owner'>
    """
    rules = (rule for rule in HOLDER_RULES if rule.fits(hold, part, ours, forgotten))
    return next(rules).holder


_SECURE: Mapping[HoldKind, frozenset[HoldKind]] = {
    HoldKind.ADMIN: frozenset({HoldKind.ADMIN, HoldKind.SLURM}),
    HoldKind.USER: frozenset(HoldKind) - {HoldKind.NONE},
}


def is_secured(hold: HoldKind, ours: HoldKind) -> bool:
    """Whether a job with this hold waits for our release as well as our own hold makes it.

    An operator's hold replaces the owner's, which the owner could end.
    """
    return hold in _SECURE[ours]
