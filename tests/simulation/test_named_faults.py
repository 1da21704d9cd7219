"""Whose fault it is that a promise breaks, where only one has done anything."""

from __future__ import annotations

import pytest

from ef_slurm.model import Fault, PromiseOutcome
from tests.simulation.life import begun
from tests.simulation.story import Behaviour, Event, Story, Submitted, What


@pytest.mark.parametrize(
    "behaviour", [Behaviour.SLOW, Behaviour.SAYS_DONE, Behaviour.NEVER_ENDS], ids=str
)
def test_what_a_job_does_alone_is_laid_to_it(behaviour: Behaviour) -> None:
    late = Submitted(iterations=4000, deadline=100.0, behaviour=behaviour)
    events = (
        Event(5.0, What.SUBMIT, job=late),
        Event(8.0, What.SUBMIT, job=Submitted(user=1, iterations=2000, deadline=900.0)),
        Event(400.0, What.LOOK),  # whoever has not ended by then is cancelled
    )
    with begun(Story(events)) as life:
        life.play()
        promises = life.site.record.promises.all()
    assert [(one.outcome, one.fault) for one in promises] == [
        (PromiseOutcome.BROKEN, Fault.JOB),
        (PromiseOutcome.KEPT, None),
    ]
