"""Each step's intent is recognised by what the step brings about."""

from __future__ import annotations

import pytest

from ef_slurm.contract import Action, LaunchState, Order
from ef_slurm.daemon.act.effects import action_of, arguments_of, effect_seen
from ef_slurm.daemon.act.steps import (
    CancelOrphan,
    Hold,
    OrderRelaunch,
    OrderStop,
    Release,
    Requeue,
    Resize,
    Step,
    Update,
)
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.model import Intent, IntentState
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.daemon.make import (
    FOUR_NODES,
    NOW,
    TWO_NODES,
    launch,
    pending,
    running,
    slurm_job,
    stop,
)


def intent(step: Step, status: JobStatus) -> Intent:
    return Intent(1, 1, 1, action_of(step), arguments_of(step, status), IntentState.OPEN, NOW, NOW)


ENDED = JobStatus(slurm_job(JobBaseState.CANCELLED))


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (Hold(), pending(hold=HoldKind.NONE), pending()),
        (Update(TWO_NODES), pending(), pending(TWO_NODES)),
        (Release(TWO_NODES), pending(TWO_NODES), running(TWO_NODES)),
        (Requeue(), running(TWO_NODES), pending(restarts=1)),
        (Resize(TWO_NODES), running(FOUR_NODES), running(TWO_NODES)),
        (OrderStop(1), running(TWO_NODES), running(TWO_NODES, order=stop())),
        (
            OrderRelaunch(1),
            running(TWO_NODES, launch=launch(LaunchState.WAITING)),
            running(TWO_NODES, order=Order(1, Action.RELAUNCH, NOW)),
        ),
        (
            OrderRelaunch(1, 4),
            running(TWO_NODES, order=Order(1, Action.RELAUNCH, NOW, gpus=2)),
            running(TWO_NODES, order=Order(1, Action.RELAUNCH, NOW, gpus=4)),
        ),
        (CancelOrphan(), pending(), ENDED),
    ],
)
def test_an_effect_is_seen_when_it_is_there(
    step: Step, before: JobStatus, after: JobStatus
) -> None:
    meant = intent(step, before)
    assert not effect_seen(meant, before)
    assert effect_seen(meant, after)
    assert effect_seen(meant, ENDED)


def test_a_later_run_overtakes_what_was_meant_for_an_earlier() -> None:
    meant = intent(Release(TWO_NODES), pending(TWO_NODES))
    assert effect_seen(meant, pending(restarts=1))
