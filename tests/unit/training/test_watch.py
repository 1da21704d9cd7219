"""The agreement: all ranks act at the same iteration, whatever their speeds and delays."""

import errno
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order, StateDir
from ef_slurm.training import watch
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import wait_until
from ef_slurm.training.watch import Changes, Kind, Meeting, Request, Signals, Watcher
from tests.unit.training.connected import connected

GENERATION = 4


class Party:
    """Threads that play the ranks of one launch, with a barrier for the gradients' all-reduce."""

    def __init__(
        self,
        world: int,
        state: StateDir,
        save_seconds: float = 1e9,
        changes: Changes | None = None,
    ):
        self.ranks, self.hub = connected(world)
        self.state = state
        self.meetings = [Meeting(0) for _ in range(world)]
        self.signals = [Signals("USR2") for _ in range(world)]
        self.acted: list[list[tuple[Kind, int]]] = [[] for _ in range(world)]
        self.barrier = threading.Barrier(world)
        self._saved_at = time.monotonic()
        self._save_seconds = save_seconds
        self.watchers = [
            Watcher(
                self.ranks[rank],
                self.meetings[rank],
                self.signals[rank],
                Reporter(state if rank == 0 else None, GENERATION, world),
                state,
                GENERATION,
                self._save_due,
                lambda: None,
                changes if rank == 0 else None,
            )
            for rank in range(world)
        ]
        # Daemons: a test that fails must not keep the test run from ending.
        self.threads = [
            threading.Thread(target=self._train, args=(r,), daemon=True) for r in range(world)
        ]

    def run(self) -> None:
        for watcher in self.watchers:
            watcher.start()
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(timeout=30)
            assert not thread.is_alive()
        for watcher in self.watchers:
            watcher.close()
        for ranks in reversed(self.ranks):
            ranks.close()

    def _save_due(self) -> bool:
        return time.monotonic() - self._saved_at > self._save_seconds

    def _train(self, rank: int) -> None:
        chance = random.Random(rank)
        for iteration in range(1, 100_000):
            time.sleep(chance.random() * 0.004)
            self.barrier.wait(timeout=20)
            request = self.meetings[rank].arrive(iteration)
            if request is not None:
                self.acted[rank].append((request.kind, iteration))
                if request.kind is Kind.STOP:
                    return
                if rank == 0:
                    self._saved_at = time.monotonic()


@pytest.fixture(params=[1, 2, 7])
def party(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Party]:
    party = Party(request.param, StateDir(tmp_path), save_seconds=0.4)
    yield party
    for signals in reversed(party.signals):
        signals.restore()


def assert_agreed(party: Party) -> None:
    assert all(acted == party.acted[0] for acted in party.acted)
    assert party.acted[0][-1][0] is Kind.STOP


@pytest.mark.parametrize("action", [Action.STOP, Action.RELAUNCH])
def test_order_stops_all_at_one_iteration_after_saves(party: Party, action: Action) -> None:
    """Before it is launched again in place, too."""
    party.run()
    time.sleep(1.5)
    party.state.write_order(Order(GENERATION, action, 0.0, "test"))
    party.join()
    assert_agreed(party)
    saves = [kind for kind, _ in party.acted[0][:-1]]
    assert saves
    assert set(saves) == {Kind.SAVE}


def test_term_on_any_rank_stops_all(party: Party) -> None:
    party.run()
    time.sleep(0.3)
    party.signals[-1].terminated_at = time.monotonic()
    party.join()
    assert_agreed(party)


def test_other_orders_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    party = Party(1, StateDir(tmp_path))
    party.run()
    state = party.state
    state.write_order(Order(GENERATION - 1, Action.STOP, 0.0))
    time.sleep(0.3)
    state.write_order(Order(GENERATION - 1, Action.RELAUNCH, 0.0))
    time.sleep(0.3)
    state.write_order(Order(GENERATION, Action.NONE, 0.0))
    time.sleep(0.3)
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("{")
    nonsense.replace(state.order_file)  # at once: an empty file would be a second complaint
    time.sleep(0.5)
    assert not party.acted[0]
    assert caplog.text.count("the order is not understood") == 1
    state.write_order(Order(GENERATION, Action.STOP, 0.0))
    party.join()
    assert_agreed(party)
    party.signals[0].restore()


class Away:
    """Changes that are looked up on a disk that is away now and then."""

    def __init__(self, looks: bool) -> None:
        self.looks = looks
        self.failed = 0

    def look(self, iteration: int, at: float) -> None:
        del iteration, at
        self._fail(self.looks)

    def due(self, order: Order | None) -> Request | None:
        del order
        self._fail(not self.looks)
        return None

    def without(self, members: Sequence[int]) -> Request | None:
        del members
        return None

    def _fail(self, away: bool) -> None:
        if away and self.failed < 5:
            self.failed += 1
            raise OSError(errno.ESTALE, "Stale file handle")


@pytest.mark.parametrize("looks", [True, False])
def test_a_disk_that_is_away_for_a_moment_ends_no_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, looks: bool
) -> None:
    """Orders are obeyed afterwards, and checkpoints saved."""
    changes = Away(looks)
    party = Party(2, StateDir(tmp_path), save_seconds=0.4, changes=changes)
    party.run()
    for enough in (lambda: changes.failed == 5, lambda: len(party.acted[0]) >= 2):
        assert wait_until(enough)
    party.state.write_order(Order(GENERATION, Action.STOP, 0.0))
    party.join()
    assert_agreed(party)
    assert [kind for kind, _ in party.acted[0][:2]] == [Kind.SAVE] * 2
    assert caplog.text.count("the files of the job cannot be seen: [Errno 116]") == 1
    for signals in reversed(party.signals):
        signals.restore()


def test_rank_beyond_its_promise_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting(5)
    assert meeting.arrive(6) is None
    assert meeting.promise(margin=1) == 8
    assert meeting.arrive(7) is None
    request = Request(Kind.STOP, "test")
    timer = threading.Timer(0.1, meeting.decide, (9, request))
    timer.start()
    assert meeting.arrive(8) is None  # waited; the others agreed on 9
    assert meeting.arrive(9) == request
    assert not meeting.busy
    timer.join()
    meeting.promise(margin=0)
    monkeypatch.setattr(watch, "wait_until", lambda _: False)
    with pytest.raises(TimeoutError, match="did not agree"):
        meeting.arrive(10)
