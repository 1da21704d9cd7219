"""The library of measured rates: the latest counts, and everybody deletes their own only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ef_slurm.model import MeasuredRate, ProfileKey, QueueJob, ThroughputCurve
from ef_slurm.queue import profiles
from ef_slurm.queue.store import Queue

KEY = ProfileKey("bert", 256, "bf16", "a100")
RATE = MeasuredRate(
    KEY, 8, 4, 12.5, 30.0, "user1", "acct1", 1000.0, "mini", 7, software="torch 2.6"
)


def test_what_is_added_comes_back(queue: Queue) -> None:
    queue.profiles.add(RATE)
    assert queue.profiles.rates_for(KEY, "user1", ()) == (RATE,)
    assert queue.profiles.list("user1") == (RATE,)
    assert queue.profiles.gpu_types("bert", 256, "bf16") == ("a100",)


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, model_name="gpt"),
        replace(KEY, global_batch_size=128),
        replace(KEY, precision="fp32"),
        replace(KEY, gpu_type="t4"),
    ],
)
def test_another_key_is_another_training(queue: Queue, other: ProfileKey) -> None:
    queue.profiles.add(RATE)
    assert queue.profiles.rates_for(other, "user1", ()) == ()


def test_the_latest_of_an_owner_counts(queue: Queue) -> None:
    queue.profiles.add(RATE)
    newer = replace(RATE, rate=13.0, at=2000.0, job_id=8)
    queue.profiles.add(newer)
    theirs = replace(RATE, owner="user2")
    queue.profiles.add(theirs)
    assert queue.profiles.rates_for(KEY, "user1", ()) == (newer, theirs)
    assert queue.profiles.list("user2") == (theirs,)


def test_imports_are_for_their_owner_alone(queue: Queue) -> None:
    imported = replace(RATE, job_id=None, account="", source="bert.csv")
    queue.profiles.add(imported)
    assert queue.profiles.rates_for(KEY, "user1", ()) == (imported,)
    assert queue.profiles.rates_for(KEY, "user2", ("acct1",)) == ()


def test_ones_own_are_deleted_and_nobody_elses(queue: Queue) -> None:
    other_key = replace(RATE, key=replace(KEY, model_name="gpt"))
    theirs = replace(RATE, owner="user2")
    for rate in (RATE, other_key, theirs):
        queue.profiles.add(rate)
    assert queue.profiles.delete("user1", model_name="bert", gpu_type="t4") == 0
    assert queue.profiles.delete("user1", model_name="bert") == 1
    assert queue.profiles.list("user1") == (other_key,)
    assert queue.profiles.delete("user1") == 1
    assert queue.profiles.list("user2") == (theirs,)


def test_old_ones_go_in_pieces(queue: Queue) -> None:
    for number in range(5):
        queue.profiles.add(replace(RATE, gpus=1 << number, gpus_per_node=1, at=1000.0 + number))
    assert queue.profiles.prune(1000.0, limit=10) == 0
    assert queue.profiles.prune(1003.0, limit=2) == 2
    assert queue.profiles.prune(1003.0, limit=2) == 1
    assert [rate.at for rate in queue.profiles.list("user1")] == [1003.0, 1004.0]


def test_nobody_fills_the_library(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MOST_OF_AN_OWNER", 3)
    queue.profiles.add(replace(RATE, owner="user2", at=1.0))
    for number in range(6):
        key = replace(KEY, model_name=f"m{number}")
        queue.profiles.add(replace(RATE, key=key, at=1000.0 + number))
    assert [rate.key.model_name for rate in queue.profiles.list("user1")] == ["m3", "m4", "m5"]
    assert len(queue.profiles.list("user2")) == 1


def test_accounts_are_those_of_ones_jobs(queue: Queue, add: Callable[..., QueueJob]) -> None:
    add(1)
    add(2, account="acct2")
    add(3, uid=9, account="other")
    add(4, account="")
    assert queue.profiles.accounts_of(3001) == ("acct1", "acct2")


def test_a_row_keeps_its_key_and_its_expected_curves(
    queue: Queue, add: Callable[..., QueueJob]
) -> None:
    curves = (("a100", ThroughputCurve.of({1: 11.0, 2: 20.0})),)
    job = add(1, model_name="bert", precision="bf16", growth_curves=curves)
    kept = queue.jobs.get(job.id).request
    assert (kept.model_name, kept.precision, kept.growth_curves) == ("bert", "bf16", curves)
    assert queue.jobs.get(job.id).for_planner().growth_curves == curves
