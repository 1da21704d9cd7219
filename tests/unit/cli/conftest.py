"""Jobs as the daemon would show them, and signals as a terminal sends them."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.model import (
    IfInfeasible,
    JobKind,
    JobState,
    JobView,
    PromiseOutcome,
    PromiseState,
    Reason,
    ReasonCode,
    Reservation,
)

NOW = 1_700_000_000.0

VIEW = JobView(
    job_id=1234,
    queue_id=5,
    name="bert",
    owner="alice",
    account="nlp",
    partition="ef",
    state=JobState.RUNNING,
    kind=JobKind.DEADLINE,
    requested_kind=JobKind.DEADLINE,
    if_infeasible=IfInfeasible.REJECT,
    submitted=NOW - 3600,
    deadline=NOW + 7200,
    grace=0.0,
    share=8,
    nodes=("n1", "n2"),
    gpu_type="gpu",
    iterations=1000,
    iteration=255.0,
    rate=12.345,
    progress_at=NOW - 1,
    verdict=None,
    promise=PromiseState.SAFE,
    promise_outcome=PromiseOutcome.OPEN,
    promise_fault=None,
    finish=NOW + 3600,
    started=NOW - 1800,
    ended=None,
    exit_code=None,
    generation=2,
    reshapes=1,
    schedule=(Reservation(NOW, NOW + 3600, 8, "gpu"),),
    reason=Reason(ReasonCode.GREW, gpus=8),
    note="",
    state_dir="/shared/x",
)


@pytest.fixture
def job() -> Callable[..., JobView]:
    def make(**changes: Any) -> JobView:
        return replace(VIEW, **changes)

    return make


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """As on a terminal: in a shell's background Ctrl-C is ignored, under nohup a lost terminal."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            heard = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, heard)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
