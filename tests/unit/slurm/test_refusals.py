"""Slurm's words of refusal: what each of them says, and that any words say something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.slurm.refusals import Refused, is_hopeless, refusal_of


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("QOSMaxGRESPerUser", Refused.SIZE),
        ("AssocGrpGRES", Refused.SIZE),
        ("MaxCpuPerAccount of QOS", Refused.SIZE),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
         Refused.SIZE),
        ("PartitionNodeLimit", Refused.SIZE),
        ("BadConstraints", Refused.SIZE),
        ("Requested node configuration is not available", Refused.SIZE),
        ("More processors requested than permitted", Refused.SIZE),
        ("Memory required by task is not available", Refused.SIZE),
        ("Node count specification invalid", Refused.SIZE),
        ("Invalid generic resource (gres) specification", Refused.SIZE),
        ("ReqNodeNotAvail", Refused.NODES),
        ("ReqNodeNotAvail, UnavailableNodes:n[3-4]", Refused.NODES),
        ("NodeDown", Refused.NODES),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
         "partitions", Refused.NODES),
        ("Invalid node name specified", Refused.NODES),
        ("Reservation", Refused.NODES),
        ("launch failed requeued held", Refused.NODES),
        ("DependencyNeverSatisfied", Refused.JOB),
        ("JobHoldMaxRequeue", Refused.JOB),
        ("InvalidAccount", Refused.JOB),
        ("Invalid account or account/partition combination specified", Refused.JOB),
        ("InvalidQOS", Refused.JOB),
        ("Invalid qos specification", Refused.JOB),
        ("PartitionTimeLimit", Refused.JOB),
        ("QOSMaxWallDurationPerJobLimit", Refused.JOB),
        ("AssocMaxJobsLimit", Refused.JOB),
        ("QOSMaxSubmitJobPerUserLimit", Refused.JOB),
        ("PartitionDown", Refused.JOB),
        ("Licenses", Refused.JOB),
        ("Access/permission denied", Refused.JOB),
        ("Resources", Refused.BUSY),
        ("Priority", Refused.BUSY),
        ("None", Refused.BUSY),
        ("", Refused.BUSY),
        ("Requested nodes are busy", Refused.BUSY),
        ("Unspecified error", Refused.UNKNOWN),
        ("SomethingThatOnlyVersion99Says", Refused.UNKNOWN),
    ],
)  # fmt: skip
def test_words(words: str, refused: Refused) -> None:
    assert refusal_of(words) is refused
    assert refusal_of(f"  {words} ") is refused


@given(st.text())
def test_any_words_say_something(words: str) -> None:
    assert isinstance(refusal_of(words), Refused)


def test_what_passes_by_itself_is_waited_for() -> None:
    assert [is_hopeless(reason) for reason in ("Priority", "Resources", "ReqNodeNotAvail")] == [
        False,
        False,
        False,
    ]
    assert [is_hopeless(reason) for reason in ("BadConstraints", "InvalidQOS")] == [True, True]
