"""How long the codec takes over what commands, daemon and queue exchange all the time.

`pytest tests/benchmarks/test_codec.py --benchmark-timer=time.process_time` prints the time for a
list of 500 jobs, as `ef-squeue` gets it, and for the JSON columns of 500 rows of the queue.
"""

from __future__ import annotations

import math

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ef_slurm.formats.codec import decode, encode
from ef_slurm.model import (
    Block,
    JobKind,
    JobList,
    JobRequest,
    JobState,
    Outcome,
    Overhead,
    PromiseState,
    QueueJob,
    Reason,
    ReasonCode,
    Reservation,
    Running,
    StoredVerdict,
    ThroughputCurve,
    view,
)
from ef_slurm.queue import codec

pytestmark = pytest.mark.benchmark

JOBS = 500
CURVES = (
    ("a100", ThroughputCurve.of({1: 2.0, 2: 3.5, 4: 6.0, 8: 10.5})),
    ("t4", ThroughputCurve.of({1: 1.0, 2: 1.9})),
)
OVERHEAD = Overhead(30.0, 30.0, 20.0, 30.0, 30.0)
RUNNING = Running(Block("a100", ("n1", "n2"), 4), 100.5, 130.5)
PLAN = (
    Reservation(1.5, 50.5, 4, "a100"),
    Reservation(50.5, math.inf, 8, "a100", 8),
)
REASON = Reason(ReasonCode.GREW, "0000000001", 8, 50.5)


def job(number: int) -> QueueJob:
    request = JobRequest(
        slurm_job_id=number,
        owner="user1",
        uid=3001,
        name=f"train{number}",
        submitted=1.5,
        kind=JobKind.DEADLINE,
        iterations=1000,
        global_batch_size=64,
        curves=CURVES,
        state_dir="/shared/home/user1/.ef-slurm/jobs/1",
        deadline=100.25,
        overhead=OVERHEAD,
    )
    return QueueJob(
        number,
        request,
        JobState.RUNNING,
        iteration=12.5,
        rate=2.25,
        progress_at=3.5,
        running=RUNNING,
        plan=PLAN,
        finish=98.5,
        promise=PromiseState.SAFE,
        reason=REASON,
    )


def job_list() -> JobList:
    verdict = StoredVerdict(1, 1, 2.5, Outcome.PROMISED, REASON, 4, 99.5, None, "promised")
    return JobList(1.5, tuple(view(job(number), verdict, None) for number in range(JOBS)))


def test_a_list_of_jobs_is_written(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode, job_list()).startswith(b'{"now":1.5,')


def test_a_list_of_jobs_is_read(benchmark: BenchmarkFixture) -> None:
    jobs = job_list()
    assert benchmark(decode, JobList, encode(jobs)) == jobs


def write_columns() -> list[tuple[str, ...]]:
    return [
        (
            codec.dump_curves(CURVES),
            codec.dump_overhead(OVERHEAD),
            codec.dump_running(RUNNING) or "",
            codec.dump_schedule(PLAN),
            codec.dump_reason(REASON),
        )
        for _ in range(JOBS)
    ]


def read_columns(rows: list[tuple[str, ...]]) -> list[tuple[object, ...]]:
    return [
        (
            codec.load_curves(curves),
            codec.load_overhead(overhead),
            codec.load_running(running),
            codec.load_schedule(plan),
            codec.load_reason(reason),
        )
        for curves, overhead, running, plan, reason in rows
    ]


def test_columns_are_written(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(write_columns)) == JOBS


def test_columns_are_read(benchmark: BenchmarkFixture) -> None:
    rows = benchmark(read_columns, write_columns())
    assert rows == [(CURVES, OVERHEAD, RUNNING, PLAN, REASON)] * JOBS
