"""What a person and a program are told after a submission."""

import json
from dataclasses import replace
from datetime import UTC

import pytest

from ef_slurm.cli.common.errors import ExitCode
from ef_slurm.cli.sbatch.verdicts import (
    VerdictView,
    as_json,
    lines,
    measuring_json,
    measuring_lines,
    plan_lines,
)
from ef_slurm.formats.codec import pretty
from ef_slurm.model import (
    IfInfeasible,
    JobKind,
    JobRequest,
    Measuring,
    Outcome,
    Reason,
    ReasonCode,
    Reservation,
    ThroughputCurve,
)

NOW = 1_700_000_000.0

REQUEST = JobRequest(
    slurm_job_id=7,
    owner="alice",
    uid=1,
    name="bert",
    submitted=NOW,
    kind=JobKind.DEADLINE,
    iterations=100,
    global_batch_size=8,
    curves=(("gpu", ThroughputCurve.of({1: 1.0})),),
    state_dir="/shared/x",
    deadline=NOW + 3600,
)
PROMISED = VerdictView(
    request=REQUEST,
    outcome=Outcome.PROMISED,
    reason=Reason(ReasonCode.STARTED, gpus=4),
    share=2,
    finish=NOW + 3000,
    earliest_deadline=None,
    schedule=(
        Reservation(NOW + 60, NOW + 600, 4, "gpu"),
        Reservation(NOW + 600, NOW + 1800, 8, "gpu"),
    ),
    at=NOW,
)
LATER = replace(PROMISED, request=replace(REQUEST, begin=NOW + 60))
REFUSED = replace(
    PROMISED,
    outcome=Outcome.REJECTED,
    reason=Reason(ReasonCode.REJECTED, until=NOW + 100),
    share=0,
    finish=None,
    earliest_deadline=NOW + 7200.25,
    schedule=(),
)


def text(shown: VerdictView) -> str:
    return "\n".join(lines(shown, UTC, lambda name: name))


def test_promised() -> None:
    assert text(PROMISED).splitlines() == [
        "Promised",
        "  deadline   2023-11-14 23:13:20 UTC",
        "  share      2 GPUs are enough; planned now: 4",
        "  starts     2023-11-14 22:14:20 UTC, predicted (in 1 min)",
        "  finishes   2023-11-14 22:43:20 UTC, predicted (in 30 min)",
        "  slack      30 min",
    ]
    assert PROMISED.exit_code is ExitCode.OK


def test_promised_within_its_grace() -> None:
    request = replace(REQUEST, kind=JobKind.SOFT_DEADLINE, deadline=NOW + 600, grace=1800.0)
    told = text(replace(PROMISED, request=request))
    assert told.startswith("Promised within its grace\n")
    assert "at most 30 min later" in told
    assert "slack      -20 min" in told


def test_refused_with_an_offer_that_survives_being_pasted() -> None:
    told = text(REFUSED)
    assert "Not promised: the cluster is promised to others" in told
    assert REFUSED.offer is not None
    assert REFUSED.offer == int(REFUSED.offer)
    assert NOW + 7200.25 + 60 < REFUSED.offer < NOW + 7200 + 400
    assert "--deadline=2023-11-15T00:15:50+00:00" in told
    assert REFUSED.exit_code is ExitCode.INFEASIBLE


def test_refused_without_an_offer() -> None:
    told = text(replace(REFUSED, earliest_deadline=None))
    assert "--deadline" not in told


def test_waitlisted_is_what_was_asked_for() -> None:
    shown = replace(REFUSED, outcome=Outcome.WAITLISTED)
    assert text(shown).startswith("Waitlisted: ")
    assert shown.exit_code is ExitCode.OK


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (JobKind.BEST_EFFORT, "Best effort: runs on GPUs that no promise needs"),
        (JobKind.DEADLINE, "Not promised, runs as best effort: "),
    ],
)
def test_best_effort(kind: JobKind, first: str) -> None:
    deadline = None if kind is JobKind.BEST_EFFORT else NOW + 3600
    request = replace(REQUEST, kind=kind, deadline=deadline)
    told = text(replace(PROMISED, request=request, outcome=Outcome.BEST_EFFORT))
    assert told.startswith(first)


def test_the_plan() -> None:
    assert list(plan_lines(PROMISED.schedule, UTC)) == [
        "  2023-11-14 22:14:20 UTC    4 GPUs of gpu for 9 min",
        "  2023-11-14 22:23:20 UTC    8 GPUs of gpu for 20 min",
    ]


def test_json() -> None:
    value = json.loads(pretty(as_json(PROMISED)))
    assert value["job_id"] == 7
    assert (value["outcome"], value["share"]) == ("promised", 2)
    assert (value["finish"], value["planned_finish"]) == (NOW + 3000, NOW + 1800)
    assert value["slack"] == 1800.0


@pytest.mark.parametrize(
    ("earliest", "margin"),
    # Five seconds and a fiftieth of the time until then, and never more than five minutes.
    [(NOW - 10, 5.0), (NOW + 1000, 25.0), (NOW + 100_000, 300.0)],
)
def test_an_offer_holds_for_as_long_as_it_takes_to_paste(earliest: float, margin: float) -> None:
    assert replace(REFUSED, earliest_deadline=earliest).offer == earliest + margin


def test_what_starts_within_a_second_starts_now() -> None:
    def starts(seconds: float) -> str:
        part = Reservation(NOW + seconds, NOW + 600, 4, "gpu")
        return next(
            line
            for line in text(replace(PROMISED, schedule=(part,))).splitlines()
            if line.startswith("  starts")
        )

    assert starts(0.5).endswith("predicted (now)")
    assert starts(2.0).endswith("predicted (in 2 s)")


@pytest.mark.parametrize(
    ("choice", "then"),
    [
        (IfInfeasible.REJECT, "it ends (--if-infeasible=reject)."),
        (IfInfeasible.WAIT, "it waits (--if-infeasible=wait)."),
        (IfInfeasible.BEST_EFFORT, "it goes on as best effort."),
    ],
)
def test_what_is_measured_first(choice: IfInfeasible, then: str) -> None:
    request = replace(REQUEST, curves=(), if_infeasible=choice)
    assert list(measuring_lines(request, (4, 1), 60.0, UTC)) == [
        "Not known yet how fast it trains: it is measured while it trains, for about 1 min on 1 "
        "and 4 GPUs, then answered",
        "  deadline   2023-11-14 23:13:20 UTC",
        "  It trains beside the promises to others; on a full cluster it waits for its turn.",
        f"  If the deadline cannot be promised then, {then}",
    ]
    (first, *_) = measuring_lines(request, (1,), 30.0, UTC)
    assert "on 1 GPU, then answered" in first
    (first, *_) = measuring_lines(REQUEST, (1,), 30.0, UTC)
    assert first == (
        "Not known yet how many iterations it has: it starts on 1 GPU, and is answered once its "
        "script has told"
    )


def test_json_has_the_same_keys_before_and_after_it_is_measured() -> None:
    before = measuring_json(REQUEST, (4, 1), Measuring(NOW, "gpu", (4, 1)))
    assert before.keys() == as_json(PROMISED).keys()
    assert (before["outcome"], before["measured_on"]) == (None, (1, 4))
    assert json.loads(pretty(before))["measuring"]["wanted"] == [4, 1]


@pytest.mark.parametrize("outcome", Outcome)
def test_before_when_it_may_not_begin_is_always_told(outcome: Outcome) -> None:
    shown = replace(LATER, outcome=outcome)
    told = [line for line in lines(shown, UTC, str) if "begins" in line]
    assert told == ["  begins     not before 2023-11-14 22:14:20 UTC"]
    assert as_json(shown)["begin"] == NOW + 60
    assert told[0] in list(measuring_lines(shown.request, (1,), 60.0, UTC))


@pytest.mark.parametrize(
    ("reason", "helps"),
    [
        (Reason(ReasonCode.REJECTED, until=NOW + 100), True),
        (Reason(ReasonCode.RESTRICTED, until=NOW + 100), True),
        (Reason(ReasonCode.LIMITED, limit="GrpTRES=gres/gpu=4 of QOS small"), True),
        (Reason(ReasonCode.LIMITED, gpu_hours=9.0, gpu_hours_limit=5.0), True),
        (Reason(ReasonCode.TOO_LARGE), False),
        (Reason(ReasonCode.RESTRICTED), False),
        (Reason(ReasonCode.TIME_LIMIT, limit="--time=1:00"), False),
        (Reason(ReasonCode.LIMITED, gpus=2), False),
        (Reason(ReasonCode.BEGIN, until=NOW + 100), False),
    ],
)
def test_waiting_is_advised_only_where_it_can_help(reason: Reason, helps: bool) -> None:
    told = text(replace(REFUSED, reason=reason))
    assert ("--if-infeasible=wait" in told) is helps
    assert "run with --best-effort" in told
    asked = replace(REFUSED.request, if_infeasible=IfInfeasible.WAIT)
    told = text(replace(REFUSED, reason=reason, request=asked))
    assert ("would wait in vain" in told) is not helps


def test_a_job_that_is_kept_to_some_nodes_is_told_so() -> None:
    told = text(replace(REFUSED, reason=Reason(ReasonCode.RESTRICTED, until=NOW + 100)))
    assert "Not promised: the nodes that it may have are promised to others until " in told
    told = text(replace(REFUSED, reason=Reason(ReasonCode.RESTRICTED)))
    assert "not even all nodes that it may have finish it by its deadline" in told
