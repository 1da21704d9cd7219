"""How long training goes on after the order to be launched again."""

import errno
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Order
from ef_slurm.training.next_launch import LONGEST_SECONDS, NextLaunch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


RELAUNCH = Order(1, Action.RELAUNCH, 0.0)


def test_until_it_is_ready(tmp_path: Path) -> None:
    following = NextLaunch(tmp_path / "ready", Clock())
    assert following.is_awaited(RELAUNCH)
    (tmp_path / "ready").touch()
    assert not following.is_awaited(RELAUNCH)


def test_not_for_ever_whatever_is_ordered_meanwhile(tmp_path: Path) -> None:
    clock = Clock()
    following = NextLaunch(tmp_path / "ready", clock)
    assert following.is_awaited(RELAUNCH)
    clock.now += LONGEST_SECONDS - 1
    assert following.is_awaited(Order(1, Action.RELAUNCH, 90.0, gpus=1))
    clock.now += 1
    assert not following.is_awaited(Order(1, Action.RELAUNCH, 90.0, gpus=1))
    assert not following.is_awaited(None)
    assert following.is_awaited(RELAUNCH), "another order, after one was withdrawn"


def test_what_cannot_be_seen_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    following = NextLaunch(tmp_path / "ready", clock)

    def away(_path: Path) -> bool:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "exists", away)
    assert following.is_awaited(RELAUNCH)
    clock.now += LONGEST_SECONDS
    assert not following.is_awaited(RELAUNCH)


@pytest.mark.parametrize("action", [a for a in Action if a is not Action.RELAUNCH])
def test_no_other_order_waits(tmp_path: Path, action: Action) -> None:
    assert not NextLaunch(tmp_path / "ready", Clock()).is_awaited(Order(1, action, 0.0))


def test_where_nobody_prepares_any() -> None:
    assert not NextLaunch(None, Clock()).is_awaited(RELAUNCH)
