"""What is counted is what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from ef_slurm.daemon.metrics import GpuUse, Metrics, command_name, failure_name
from ef_slurm.daemon.observe.gpu_use import LONGEST_SECONDS, GpuAccount, gpus_by_use
from ef_slurm.daemon.serve.audit_counts import AuditCounts
from ef_slurm.daemon.serve.present import Present
from ef_slurm.model import Event, EventKind, JobState, Json
from ef_slurm.slurm.errors import (
    RefusedError,
    SlurmError,
    SlurmTimeoutError,
    UpdateIncompleteError,
)
from tests.unit.daemon.exported import Samples, samples, value
from tests.unit.daemon.world import World

GPUS = 16
CPU = ("process_cpu_seconds_total", frozenset[tuple[str, str]]())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "queue.sqlite")
    yield world
    world.queue.close()


@pytest.fixture
def counts(world: World) -> AuditCounts:
    counts = AuditCounts(world.metrics.registry)
    counts.begin(world.queue)
    world.metrics.registry.register(Present(world.metrics, world.path, lambda: 0))
    return counts


def exported(world: World, counts: AuditCounts) -> Samples:
    counts.read(world.queue)
    return samples(generate_latest(world.metrics.registry).decode())


def gpu_seconds(found: Samples) -> dict[str, float]:
    return {use.value: value(found, "ef_slurm_gpu_seconds_total", use=use.value) for use in GpuUse}


def test_a_life_is_counted(world: World, counts: AuditCounts) -> None:
    promised = world.submit(20_000, deadline=900.0)
    world.submit(50_000, None)
    refused = world.submit(10_000_000, deadline=60.0)
    world.run(30)
    found = exported(world, counts)
    states = {
        state.value: sum(
            number
            for (name, labels), number in found.items()
            if name == "ef_slurm_jobs" and ("state", state.value) in labels
        )
        for state in JobState
    }
    assert states["running"] == 2
    assert sum(states.values()) == 2
    assert value(found, "ef_slurm_promises", state="safe") == 1
    assert value(found, "ef_slurm_verdicts_total", outcome="promised") == 1
    assert value(found, "ef_slurm_verdicts_total", outcome="rejected") == 1
    assert world.state(refused) is JobState.REJECTED
    assert value(found, "ef_slurm_verdict_seconds_count") == 3
    world.run_until(world.finished)
    world.run(10)
    found = exported(world, counts)
    assert value(found, "ef_slurm_job_states_total", state="completed") == 2
    assert value(found, "ef_slurm_promises_given_total") == 1
    assert value(found, "ef_slurm_promises_settled_total", outcome="kept", fault="none") == 1
    assert value(found, "ef_slurm_promise_early_seconds_count") == 1
    early = world.row(promised).request.deadline
    ended = world.row(promised).ended_at
    assert early is not None
    assert ended is not None
    assert value(found, "ef_slurm_promise_early_seconds_sum") == pytest.approx(early - ended)
    assert value(found, "ef_slurm_prediction_error_ratio_count") == 1
    assert value(found, "ef_slurm_share_changes_total", direction="start") == 2
    assert value(found, "ef_slurm_change_seconds_count", kind="start") == 2
    assert value(found, "ef_slurm_tick_seconds_count") > 10
    assert value(found, "ef_slurm_plan_seconds_count") >= 2


def test_each_event_counts_once_however_often_one_asks(world: World, counts: AuditCounts) -> None:
    world.submit(20_000, deadline=900.0)
    world.run(30)
    twice = [exported(world, counts) for _ in range(2)]
    first, second = (
        {key: number for key, number in found.items() if key[0].endswith("_total")}
        for found in twice
    )
    assert first.pop(CPU) <= second.pop(CPU)
    assert first == second


def test_what_was_there_before_the_daemon_does_not_count(world: World) -> None:
    world.submit(20_000, deadline=900.0)
    world.run(30)
    counts = AuditCounts(world.metrics.registry)
    counts.begin(world.queue)
    found = exported(world, counts)
    assert value(found, "ef_slurm_promises_given_total") == 0


def test_a_log_with_other_words_in_it_makes_no_new_labels(
    world: World, counts: AuditCounts
) -> None:
    before = {labels for _, labels in exported(world, counts)}
    words: tuple[dict[str, Json], ...] = (
        {"from": "a", "to": "b"},
        {"outcome": "x"},
        {"what": "grow", "value": "much"},
        {},
    )
    for kind in EventKind:
        for data in words:
            world.queue.events.log(Event(1.0, kind, "root", "", data=data))
    new = {labels for _, labels in exported(world, counts)} - before
    assert {label for labels in new for _, label in labels} <= {"other", "void", "none"}


def test_gpu_seconds_are_those_of_the_cluster(world: World, counts: AuditCounts) -> None:
    world.submit(20_000, deadline=900.0)
    world.submit(80_000, None)
    world.cluster.occupy("other", ("n4",), 2, 1e9, world.clock.now)
    began = world.clock.now
    world.run(300)
    used = gpu_seconds(exported(world, counts))
    assert sum(used.values()) == pytest.approx(GPUS * (world.clock.now - began), rel=0.05)
    assert used["strangers"] == pytest.approx(2 * (world.clock.now - began), rel=0.05)
    assert used["promised"] > 0
    assert used["best-effort"] > 0
    assert 0 < used["changes"] < 0.3 * GPUS * 300
    world.cluster.drain("n1")
    world.run(60)
    assert gpu_seconds(exported(world, counts))["unavailable"] > 0


def test_a_look_counts_once_and_a_long_silence_not_at_all(world: World) -> None:
    world.run(10)
    metrics = Metrics()
    account = GpuAccount(world.settings.scope, metrics)
    seen = world.slurm.observe()

    def idle() -> float:
        text = generate_latest(metrics.registry).decode()
        return gpu_seconds(samples(text))["idle"]

    for seconds, counted in ((0.0, 0.0), (10.0, 10.0), (11.0, 10.0), (20.0, 20.0), (5.0, 20.0)):
        account.look(replace(seen, at=seen.at + seconds), ())
        assert idle() == counted * GPUS
    account.look(replace(seen, at=seen.at + 20.0 + 2 * LONGEST_SECONDS), ())
    assert idle() == 20.0 * GPUS


def test_no_gpu_is_counted_twice(world: World) -> None:
    world.submit(20_000, deadline=900.0)
    for _ in range(60):
        world.step()
        jobs = world.queue.jobs.all()
        used = gpus_by_use(world.slurm.observe(), world.settings.scope, jobs)
        assert sum(used.values()) == GPUS


def test_commands_and_their_failures() -> None:
    metrics = Metrics()
    for command, error in (
        (("squeue", "--json"), None),
        (("scontrol", "--oneliner", "show", "nodes"), SlurmTimeoutError("late")),
        (("scontrol", "update", "jobid=7"), UpdateIncompleteError("no", differences=())),
        (("/tmp/$(rm)", "x"), SlurmError("?")),
        (("scontrol", "explode"), None),
    ):
        metrics.slurm_command(command, 0.2, error)
    found = samples(generate_latest(metrics.registry).decode())
    seconds = "ef_slurm_slurm_command_seconds_count"
    failed = "ef_slurm_slurm_command_failures_total"
    assert value(found, seconds, command="squeue") == 1
    assert value(found, seconds, command="other") == 2
    assert value(found, failed, command="scontrol show", reason="timeout") == 1
    assert value(found, failed, command="scontrol update", reason="refused") == 1
    assert value(found, failed, command="other", reason="other") == 1


@pytest.mark.parametrize("word", ["show", "update", "hold", "release", "requeuehold"])
def test_what_the_daemon_asks_scontrol_has_a_name(word: str) -> None:
    assert command_name(["scontrol", word, "7"]) == f"scontrol {word}"


def test_the_nearest_kind_of_an_error_counts() -> None:
    assert failure_name(SlurmTimeoutError("")) == "timeout"
    assert failure_name(RefusedError("")) == "refused"


def test_a_clock_that_is_set_is_noticed() -> None:
    now = [100.0]
    metrics = Metrics(clock=lambda: now[0])
    for passed, shown in ((0, 1000.0), (5, 1005.2), (1, 1006.0), (1, 4607.0), (1, 1008.0)):
        now[0] += passed
        metrics.clock_is(shown)
    found = samples(generate_latest(metrics.registry).decode())
    assert value(found, "ef_slurm_clock_steps_total", direction="forward") == 1
    assert value(found, "ef_slurm_clock_steps_total", direction="back") == 1


def test_ages_grow_until_something_is_seen(world: World, counts: AuditCounts) -> None:
    world.run(10)
    assert value(exported(world, counts), "ef_slurm_since_look_seconds") < 10
    world.clock.now += 500.0
    found = exported(world, counts)
    assert value(found, "ef_slurm_since_look_seconds") >= 500
    assert value(found, "ef_slurm_since_tick_seconds") >= 500


def test_counting_costs_a_tick_next_to_nothing() -> None:
    """Of a hundred, more than a tick has, each takes half a millisecond at most, however busy."""
    metrics = Metrics()
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(100):
            metrics.slurm_command(("scontrol", "update", "jobid=7"), 0.1, None)
        best = min(best, time.perf_counter() - began)
    assert best < 0.05


def test_nobodys_name_is_in_it(world: World, counts: AuditCounts) -> None:
    world.submit(20_000, deadline=900.0, name="secret-project", model_name="secret-model")
    world.run(60)
    counts.read(world.queue)
    text = generate_latest(world.metrics.registry).decode()
    assert "secret" not in text
    assert "user1" not in text
