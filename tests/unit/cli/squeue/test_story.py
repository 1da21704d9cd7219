"""The story of a job in sentences."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

import pytest

from ef_slurm.formats.job_story import lines
from ef_slurm.formats.job_words import why
from ef_slurm.model import (
    CompanionState,
    CompanionView,
    Event,
    EventKind,
    Fault,
    JobKind,
    JobState,
    JobView,
    Overhead,
    Promise,
    PromiseOutcome,
    Reason,
    ReasonCode,
    Story,
    ThroughputCurve,
)

NOW = 1_700_000_000.0
PROMISE = Promise(
    1, 5, NOW - 3600, NOW + 7200, 0.0, NOW + 3600, 4,
    (("gpu", ThroughputCurve.of({1: 1.0})),), Overhead(),
)  # fmt: skip
EVENTS = (
    Event(NOW - 3600, EventKind.SUBMITTED, "alice", "submitted as Slurm job 1234", 5),
    Event(NOW - 3600, EventKind.VERDICT, "ef-schedd", "promised: 4 GPUs are enough", 5),
    Event(NOW - 3600, EventKind.PROMISED, "ef-schedd", "promised with 4 GPUs", 5),
    Event(NOW - 3600, EventKind.STATE, "ef-schedd", "promised: 4 GPUs are enough", 5),
    Event(NOW - 60, EventKind.INTENT, "ef-schedd", "release", 5),
    Event(NOW + 10, EventKind.SHARE, "ef-schedd", "4 → 8 GPUs on n[1-2]", 5),
)
Make = Callable[..., JobView]


def test_companions_are_named(job: Make) -> None:
    brought = CompanionView(1240, ("n2",), CompanionState.JOINED)
    told = tell(job(companions=(brought,)))
    assert "Its companion, Slurm job 1240, trains with it on n2." in told


def tell(job: JobView, promise: Promise | None = PROMISE, *, everything: bool = False) -> list[str]:
    return list(lines(Story(job, EVENTS, promise), NOW, UTC, everything=everything))


def test_a_running_job(job: Make) -> None:
    assert tell(job()) == [
        "Job 1234 (bert) of alice: 1000 iterations by 2023-11-15 00:13:20 UTC.",
        "Promised on 2023-11-14 21:13:20 UTC: with at least 4 GPUs it finishes by"
        " 2023-11-15 00:13:20 UTC (then predicted: 2023-11-14 23:13:20 UTC).",
        "It is running, 25 % done, on 8 GPUs of n[1-2] at 12.3 iterations/s; predicted finish"
        " 2023-11-14 23:13:20 UTC, in 1 h; promise safe.",
        "It is expected to finish 1 h before its deadline.",
        "",
        "Tuesday 2023-11-14 (UTC)",
        "  21:13:20  Submitted as Slurm job 1234. [alice]",
        "  21:13:20  Promised: 4 GPUs are enough.",
        "  22:13:30  4 → 8 GPUs on n[1-2].",
    ]


def test_everything(job: Make) -> None:
    told = "\n".join(tell(job(), everything=True))
    assert "Release." in told
    assert told.count("Promised: 4 GPUs are enough.") == 2


def test_ends(job: Make) -> None:
    ended = job(state=JobState.FAILED, ended=NOW, exit_code=1, note="it crashed")
    told = "\n".join(tell(ended))
    assert "It is failed on 2023-11-14 22:13:20 UTC, 25 % done, exit code 1: it crashed." in told


def test_a_broken_promise_is_named(job: Make) -> None:
    broken = replace(PROMISE, outcome=PromiseOutcome.BROKEN, fault=Fault.OPERATOR)
    assert "The promise was BROKEN, by an operator." in "\n".join(tell(job(), broken))
    void = replace(PROMISE, outcome=PromiseOutcome.VOID, fault=Fault.OWNER)
    assert "The promise is void, by its owner." in "\n".join(tell(job(), void))


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_its_words(job: Make, fault: Fault) -> None:
    broken = replace(PROMISE, outcome=PromiseOutcome.BROKEN, fault=fault)
    assert "BROKEN, by " in tell(job(), broken)[1]


def test_too_late_is_named(job: Make) -> None:
    assert "30 min AFTER its deadline" in "\n".join(tell(job(finish=NOW + 9000)))


def test_best_effort_after_a_deadline_that_could_not_be_promised(job: Make) -> None:
    told = tell(job(kind=JobKind.BEST_EFFORT), None)
    assert "which could not be promised: it runs as best effort" in told[0]


def test_soft_and_best_effort(job: Make) -> None:
    assert (
        "(at most 2 min later)" in tell(job(requested_kind=JobKind.SOFT_DEADLINE, grace=120.0))[0]
    )
    assert tell(
        job(kind=JobKind.BEST_EFFORT, requested_kind=JobKind.BEST_EFFORT, deadline=None), None
    )[0].endswith("1000 iterations, best effort.")


def test_a_held_job_says_by_whom(job: Make) -> None:
    told = tell(job(state=JobState.HELD, share=0, nodes=(), note="held by its owner"))
    assert any("(held by its owner)" in line for line in told)


def test_of_a_held_job_not_what_its_last_plan_said(job: Make) -> None:
    reason = Reason(ReasonCode.STARTED, gpus=8)
    held = job(state=JobState.HELD, reason=reason, note="held by root, an operator")
    assert why(held, str) == "held by root, an operator"


def test_a_prediction_that_has_passed_is_not_in_the_past(job: Make) -> None:
    (present,) = (line for line in tell(job(finish=NOW - 100)) if "predicted finish" in line)
    assert "2023-11-14 22:11:40 UTC, in 0 s" in present
