"""Who holds a pending job: every row of the two tables, and every situation that they speak of."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import Intent, IntentAction, IntentState, JobState, Json
from ef_slurm.slurm.pending import (
    BOOTED,
    HOLD_RULES,
    HOLDER_RULES,
    Holder,
    OurPart,
    hold_shown,
    holder,
    is_secured,
    may_be_forgotten,
    our_part,
)
from ef_slurm.slurm.types import HoldKind, JobBaseState

OURS = (HoldKind.ADMIN, HoldKind.USER)
REASONS = {rule.reason for rule in HOLD_RULES if rule.reason is not None}


@pytest.mark.parametrize(
    ("reason", "description", "stopped", "hold"),
    [
        ("JobHeldUser", "launch failed requeued held", True, HoldKind.SLURM),
        ("JobHeldUser", "", True, HoldKind.USER),
        ("JobHeldUser", "job requeued in held state", True, HoldKind.USER),
        ("JobHeldAdmin", "", True, HoldKind.ADMIN),
        ("JobHoldMaxRequeue", "", True, HoldKind.SLURM),
        ("BadConstraints", "", True, HoldKind.SLURM),
        ("BurstBufferOperation", "", True, HoldKind.SLURM),
        ("ReservationDeleted", "", True, HoldKind.SLURM),
        ("BadConstraints", "", False, HoldKind.NONE),
        ("BeginTime", "", True, HoldKind.UNKNOWN),
        ("BeginTime", "", False, HoldKind.NONE),
        ("Resources", "", False, HoldKind.NONE),
        ("", "", True, HoldKind.UNKNOWN),
        ("", "", False, HoldKind.NONE),
    ],
)
def test_what_slurm_shows(reason: str, description: str, stopped: bool, hold: HoldKind) -> None:
    assert hold_shown(JobBaseState.PENDING, reason, description, stopped=stopped) is hold


@given(st.text(), st.booleans())
def test_a_reason_that_nobody_knows_says_nothing_by_itself(reason: str, stopped: bool) -> None:
    hold = hold_shown(JobBaseState.PENDING, reason, "", stopped=stopped)
    if reason not in REASONS:
        assert hold is (HoldKind.UNKNOWN if stopped else HoldKind.NONE)


@pytest.mark.parametrize("state", [state for state in JobBaseState if state.value != "PENDING"])
@pytest.mark.parametrize("reason", sorted(REASONS))
def test_what_does_not_pend_is_not_held(state: JobBaseState, reason: str) -> None:
    assert hold_shown(state, reason, "launch failed requeued held", stopped=True) is HoldKind.NONE


W, RG, RD, LOST, GO, RAN = OurPart
WE, OWNER, OPERATOR, SLURM, NOBODY = Holder
# What Slurm shows → who holds it, by what we did last: waiting, releasing, released, released to
# another slurmctld, told to leave, ran.
AS_OPERATOR = {
    HoldKind.NONE: (NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY),
    HoldKind.USER: (WE, WE, OWNER, WE, OWNER, OWNER),
    HoldKind.ADMIN: (WE, WE, OPERATOR, WE, WE, OPERATOR),
    HoldKind.SLURM: (WE, WE, SLURM, WE, WE, SLURM),
    HoldKind.UNKNOWN: (WE, WE, SLURM, WE, WE, OWNER),
}
AS_OWNER = AS_OPERATOR | {
    HoldKind.USER: (WE, WE, OWNER, WE, WE, OWNER),
    HoldKind.ADMIN: (OPERATOR,) * 6,
}
EXPECTED = {HoldKind.ADMIN: AS_OPERATOR, HoldKind.USER: AS_OWNER}


@pytest.mark.parametrize(("hold", "part", "ours"), list(itertools.product(HoldKind, OurPart, OURS)))
def test_who_holds_it(hold: HoldKind, part: OurPart, ours: HoldKind) -> None:
    expected = EXPECTED[ours][hold][(W, RG, RD, LOST, GO, RAN).index(part)]
    assert holder(hold, part, ours, forgotten=False) is expected
    if expected not in (NOBODY, OPERATOR) or (hold, ours) == (HoldKind.ADMIN, HoldKind.ADMIN):
        assert holder(hold, part, ours, forgotten=True) is WE
    else:
        assert holder(hold, part, ours, forgotten=True) is expected


def test_every_row_counts() -> None:
    situations = itertools.product(HoldKind, OurPart, OURS, (False, True))
    reached = {
        next(rule for rule in HOLDER_RULES if rule.fits(*situation)) for situation in situations
    }
    assert reached == set(HOLDER_RULES)
    words = itertools.product(
        [*REASONS, "BeginTime"], ["", "launch failed requeued held"], (False, True)
    )
    assert {next(rule for rule in HOLD_RULES if rule.fits(*seen)) for seen in words} == set(
        HOLD_RULES
    )


def release(state: IntentState, restarts: int = 0, booted: str = "") -> Intent:
    arguments: dict[str, Json] = {"restarts": restarts, BOOTED: booted}
    return Intent(1, 1, 1, IntentAction.RELEASE, arguments, state, 0.0, 0.0)


def said(action: IntentAction, **arguments: Json) -> Intent:
    return Intent(1, 1, 1, action, {"restarts": 0, **arguments}, IntentState.CLOSED, 0.0, 0.0)


@pytest.mark.parametrize(
    ("state", "intent", "part"),
    [
        (JobState.ADMITTED, None, OurPart.WAITING),
        (JobState.STOPPING, None, OurPart.WAITING),
        (JobState.STOPPING, said(IntentAction.REQUEUE), OurPart.LEAVING),
        (JobState.STOPPING, said(IntentAction.REQUEUE, ended=False), OurPart.LEAVING),
        # That is put back held by itself: of a daemon that was killed then, nothing more is there.
        (JobState.STOPPING, said(IntentAction.REQUEUE, ended=True), OurPart.WAITING),
        (JobState.STOPPING, said(IntentAction.COMPANION_CANCEL), OurPart.WAITING),
        (JobState.STOPPING, said(IntentAction.ORDER_STOP), OurPart.LEAVING),
        (JobState.STOPPING, said(IntentAction.ORDER_RELAUNCH), OurPart.LEAVING),
        (JobState.STOPPING, said(IntentAction.SHRINK), OurPart.LEAVING),
        (JobState.STARTING, release(IntentState.OPEN), OurPart.RELEASING),
        (JobState.STARTING, release(IntentState.EXECUTED), OurPart.RELEASED),
        # Slurm never counts back: it has forgotten the run that was released.
        (JobState.STARTING, release(IntentState.EXECUTED, restarts=1), OurPart.LOST),
        (JobState.RUNNING, release(IntentState.CLOSED, restarts=1), OurPart.LOST),
        (JobState.STARTING, None, OurPart.RAN),
        (JobState.RUNNING, None, OurPart.RAN),
    ],
)
def test_our_part(state: JobState, intent: Intent | None, part: OurPart) -> None:
    assert our_part(state, intent, restarts=0) is part


@pytest.mark.parametrize(
    ("booted", "now", "state", "part"),
    [
        ("monday", "monday", IntentState.EXECUTED, OurPart.RELEASED),
        ("monday", "tuesday", IntentState.EXECUTED, OurPart.LOST),
        ("monday", "monday", IntentState.CLOSED, OurPart.RAN),
        ("monday", "tuesday", IntentState.CLOSED, OurPart.LOST),
        ("monday", "tuesday", IntentState.OPEN, OurPart.RELEASING),
        ("monday", "tuesday", IntentState.ABANDONED, OurPart.RAN),
        ("monday", "", IntentState.EXECUTED, OurPart.RELEASED),
        ("", "tuesday", IntentState.EXECUTED, OurPart.RELEASED),
        ("", "tuesday", IntentState.CLOSED, OurPart.RAN),
    ],
)
def test_what_another_slurmctld_shows_may_be_from_before_our_release(
    booted: str, now: str, state: IntentState, part: OurPart
) -> None:
    released = release(state, booted=booted)
    assert our_part(JobState.STARTING, released, 0, now) is part
    assert our_part(JobState.STARTING, released, 1, now) is OurPart.RAN
    assert our_part(JobState.PAUSED, released, 0, now) is OurPart.WAITING


@pytest.mark.parametrize("hold", HoldKind)
def test_a_hold_that_its_owner_could_end_is_not_enough_for_an_operator(hold: HoldKind) -> None:
    assert is_secured(hold, HoldKind.ADMIN) is (hold in (HoldKind.ADMIN, HoldKind.SLURM))
    assert is_secured(hold, HoldKind.USER) is (hold is not HoldKind.NONE)


@pytest.mark.parametrize(
    ("intent", "restarts", "believed"),
    [
        (None, 0, True),
        (release(IntentState.CLOSED, 1, "monday"), 0, True),
        (release(IntentState.CLOSED, 0, "sunday"), 0, True),
        (release(IntentState.CLOSED, 0), 0, True),
        (release(IntentState.CLOSED, 0, "monday"), 0, False),  # no slurmctld has come since
        (release(IntentState.CLOSED, 0, "sunday"), 1, False),  # Slurm has counted its requeue
        (replace(release(IntentState.CLOSED, 0), action=IntentAction.ORDER_STOP), 1, False),
        (replace(release(IntentState.CLOSED, 0), action=IntentAction.ORDER_STOP), 0, True),
    ],
)
def test_what_a_job_says_of_a_forgotten_run_is_held_against_the_books(
    intent: Intent | None, restarts: int, believed: bool
) -> None:
    assert may_be_forgotten(intent, restarts, "monday") is believed
