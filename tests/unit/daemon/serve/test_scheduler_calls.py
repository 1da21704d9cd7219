"""Whose what-if comes when, and who wakes the scheduler."""

import threading
import time

import pytest

from ef_slurm.daemon.serve.scheduler_calls import (
    MOST_WAITING,
    SchedulerCalls,
    TooManyCallsError,
)
from tests.fakes.patience import PATIENCE


def test_users_have_theirs_answered_in_turn() -> None:
    calls, order = SchedulerCalls(), list[int]()
    for uid in (1, 1, 1, 2, 3, 3):
        calls.what_if(uid, lambda uid=uid: order.append(uid))  # type: ignore[misc]
    while calls.answer_one():
        pass
    assert order == [1, 2, 3, 1, 3, 1]


def test_one_user_waits_for_so_many() -> None:
    calls = SchedulerCalls()
    futures = [calls.what_if(1, lambda: 0) for _ in range(MOST_WAITING)]
    with pytest.raises(TooManyCallsError):
        calls.what_if(1, lambda: 0)
    calls.what_if(2, lambda: 0)
    futures[0].cancel()
    calls.what_if(1, lambda: 0)


def test_errors_belong_to_whoever_asked() -> None:
    calls = SchedulerCalls()
    bad, good = calls.what_if(1, lambda: 1 // 0), calls.what_if(1, lambda: 5)
    assert calls.answer_one()
    assert calls.answer_one()
    assert not calls.answer_one()
    assert isinstance(bad.exception(0), ZeroDivisionError)
    assert good.result(0) == 5


def test_what_nobody_waits_for_is_not_done() -> None:
    calls, done = SchedulerCalls(), list[int]()
    calls.what_if(1, lambda: done.append(1)).cancel()
    assert not calls.answer_one()
    assert done == []


def test_a_wake_is_one_ticks_and_says_whether_to_ask_slurm() -> None:
    calls = SchedulerCalls()
    wanted = [calls.tick_wanted]
    calls.wake()
    wanted.append(calls.tick_wanted)
    assert not calls.begin_tick()
    calls.wake(refresh=True)
    calls.wake()
    assert calls.begin_tick()
    wanted.append(calls.tick_wanted)
    assert wanted == [False, True, False]
    assert not calls.begin_tick()


def test_a_what_if_wakes_but_wants_no_tick() -> None:
    calls = SchedulerCalls()
    began = time.monotonic()
    threading.Timer(0.05, lambda: calls.what_if(1, lambda: 0)).start()
    calls.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert not calls.tick_wanted
    assert calls.answer_one()
    assert not calls.answer_one()
    began = time.monotonic()
    calls.wait(0.05)  # nothing is left to wake for
    assert time.monotonic() - began >= 0.04
