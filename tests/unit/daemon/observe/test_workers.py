"""Files that hang hold up nobody but their owner."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ef_slurm.daemon.observe.workers import NoAnswerError, Task, Workers, _Shared
from tests.fakes.patience import PATIENCE

ANSWER_SECONDS = 0.5


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs goes on when this is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def workers() -> Workers[int]:
    return Workers(patience=ANSWER_SECONDS, penance=60.0, per_owner=2, most=4)


def seconds(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def good(number: int, owner: int = 1) -> Task[int]:
    return Task(number, owner, lambda: number)


def hangs(
    gate: threading.Event, number: int, owner: int, begun: list[int] | None = None
) -> Task[int]:
    def work() -> int:
        if begun is not None:
            begun.append(number)
        gate.wait()
        return number

    return Task(number, owner, work)


def test_all_is_done_at_once(workers: Workers[int]) -> None:
    answers = workers.ask(good(number) for number in range(500))
    assert answers == {number: number for number in range(500)}


def test_an_error_is_told_and_not_raised(workers: Workers[int]) -> None:
    def fails() -> int:
        raise PermissionError("no")

    answers = workers.ask([Task(1, 1, fails), good(2)])
    assert isinstance(answers[1], PermissionError)
    assert answers[2] == 2
    with pytest.raises(PermissionError):
        workers.call(Task(3, 1, fails))


def test_one_owner_who_hangs_delays_nobody_and_is_not_waited_for_again(
    workers: Workers[int], gate: threading.Event
) -> None:
    begun: list[int] = []
    tasks = [hangs(gate, number, 13, begun) for number in range(50)]
    neighbours = [good(number, owner=1) for number in range(100, 150)]
    answers = workers.ask(tasks + neighbours)
    assert all(isinstance(answers[number], NoAnswerError) for number in range(50))
    assert all(answers[number] == number for number in range(100, 150))
    again = seconds(lambda: workers.ask(tasks + neighbours))
    assert again < ANSWER_SECONDS / 2
    assert len(begun) == 2  # threads of one owner, whatever there is to ask
    gate.set()
    end = time.monotonic() + PATIENCE
    while isinstance(workers.ask(tasks[:1])[0], NoAnswerError):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_owner_who_hangs_is_not_waited_for_again_however_late_the_caller_is(
    workers: Workers[int], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine: when the wait is over, what began is known to hang already."""
    begun: list[int] = []
    tasks = [hangs(gate, number, 13, begun) for number in range(10)]
    wait = threading.Condition.wait

    def late(self: threading.Condition, timeout: float | None = None) -> bool:
        moved = wait(self, timeout)
        if timeout is not None and len(begun) == 2:
            time.sleep(ANSWER_SECONDS * 1.5)
        return moved

    with monkeypatch.context() as patched:
        patched.setattr(threading.Condition, "wait", late)
        workers.ask(tasks)
    assert seconds(lambda: workers.ask(tasks)) < ANSWER_SECONDS / 2


def test_what_hangs_is_not_asked_again(workers: Workers[int], gate: threading.Event) -> None:
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        gate.wait()
        return 7

    for _ in range(5):
        assert isinstance(workers.ask([Task(1, 1, work)])[1], NoAnswerError)
    assert len(calls) == 1


def test_when_all_threads_are_lost_nothing_is_waited_for(
    workers: Workers[int], gate: threading.Event
) -> None:
    lost = [hangs(gate, number, owner=number) for number in range(8)]
    for _ in range(4):
        workers.ask(lost)
    answers: dict[object, object] = {}
    assert seconds(lambda: answers.update(workers.ask([good(99, owner=99)]))) < ANSWER_SECONDS / 2
    assert isinstance(answers[99], NoAnswerError)
    gate.set()
    end = time.monotonic() + PATIENCE
    while isinstance(workers.ask([good(99, owner=99)])[99], NoAnswerError):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_done_is_never_taken_for_what_was_done_before(
    workers: Workers[int], gate: threading.Event
) -> None:
    done: list[int] = []

    def write(number: int) -> Task[int]:
        def work() -> int:
            gate.wait()
            done.append(number)
            return number

        return Task("orders", 0, work)

    with pytest.raises(NoAnswerError):
        workers.call(write(1))
    began = time.monotonic()
    with pytest.raises(NoAnswerError):
        workers.call(write(2))
    assert time.monotonic() - began < ANSWER_SECONDS / 2
    gate.set()
    end = time.monotonic() + PATIENCE
    while not done:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)
    assert workers.call(write(3)) == 3
    assert done == [1, 3]


def test_threads_that_have_nothing_to_do_wake_nobody(
    workers: Workers[int], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.ask([hangs(gate, 1, owner=1), hangs(gate, 2, owner=2), good(3, owner=3)])
    gate.set()
    workers.ask([good(4), good(5, owner=2)])  # several threads are there, and idle from here on
    looks = []
    plain = _Shared._next

    def counting(self: _Shared[int]) -> object:
        looks.append(threading.get_ident())
        return plain(self)

    monkeypatch.setattr(_Shared, "_next", counting)

    def nobody_looks() -> bool:
        looks.clear()
        time.sleep(0.3)
        return not looks

    end = time.monotonic() + PATIENCE
    while not nobody_looks():
        assert time.monotonic() < end


def test_threads_end_with_whoever_asked() -> None:
    class Asker:
        """As the daemon's: what is done is its own method."""

        def __init__(self) -> None:
            self.workers: Workers[int] = Workers(patience=5.0)
            self.thread = self.workers.call(Task(1, 1, self.work))

        def work(self) -> int:
            return threading.get_ident()

    asker = Asker()
    (thread,) = (one for one in threading.enumerate() if one.ident == asker.thread)
    assert thread.name == "ef-files"
    del asker
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()
