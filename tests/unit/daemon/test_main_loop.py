"""The daemon's loop: ticks come first, whoever asks whatever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from ef_slurm.daemon import main
from ef_slurm.daemon.scheduler import Scheduler
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from tests.fakes.new_queue import open_queue


class Ticking:
    """Wants to tick ten times a second, and remembers when it did."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.refreshes = 0
        self.gave_way = False
        self.acted = 0.0

    def tick(self) -> float:
        self.ticks.append(time.monotonic())
        return 0.1

    def refresh_soon(self) -> None:
        self.refreshes += 1


Playing = Callable[[float], Ticking]


@pytest.fixture
def calls() -> SchedulerCalls:
    return SchedulerCalls()


@pytest.fixture
def play(
    tmp_path: Path, calls: SchedulerCalls, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Playing]:
    """Runs the loop for so many seconds."""

    class Signals:
        def __init__(self) -> None:
            self.received: list[int] = []

        def __enter__(self) -> list[int]:
            return self.received

        def __exit__(self, *_: object) -> None:
            pass

    signals = Signals()
    monkeypatch.setattr(main, "_stop_signals", lambda: signals)
    monkeypatch.setattr("gc.freeze", lambda: None)
    signs: list[float] = []

    def run(seconds: float) -> Ticking:
        ticking = Ticking()
        timer = threading.Timer(seconds, lambda: signals.received.append(15))

        def sign() -> None:
            if not signs:
                timer.start()
            signs.append(time.monotonic())

        with open_queue(tmp_path / "queue.sqlite") as queue:
            scheduler = cast(Scheduler, ticking)
            main._loop(scheduler, queue, calls, sign)
        return ticking

    yield run
    assert signs


def test_forty_users_asking_what_ifs_do_not_hold_up_the_tick(
    calls: SchedulerCalls, play: Playing
) -> None:
    answered: list[int] = []

    def verdict(uid: int) -> None:
        time.sleep(0.05)
        answered.append(uid)

    for uid in range(40):
        for _ in range(4):
            calls.what_if(uid, lambda uid=uid: verdict(uid))  # type: ignore[misc]
    ticking = play(3.0)
    gaps = [
        later - earlier for earlier, later in zip(ticking.ticks, ticking.ticks[1:], strict=False)
    ]
    assert len(ticking.ticks) >= 10
    assert max(gaps) < 1.0
    assert len(answered) >= 10
    assert len(set(answered[:40])) == len(answered[:40])  # users in turn


def test_whoever_keeps_waking_it_does_not_keep_what_ifs_waiting(
    calls: SchedulerCalls, play: Playing
) -> None:
    stop = threading.Event()

    def wake() -> None:
        while not stop.wait(0.001):
            calls.wake()

    waker = threading.Thread(target=wake)
    waker.start()
    futures = [calls.what_if(uid, lambda: 1) for uid in range(5)]
    play(1.0)
    stop.set()
    waker.join()
    assert [future.result(0) for future in futures] == [1] * 5


def test_a_cancellation_has_slurm_asked_again(calls: SchedulerCalls, play: Playing) -> None:
    calls.wake(refresh=True)
    assert play(0.3).refreshes == 1
