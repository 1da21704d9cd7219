"""Tokens and places."""

import pytest

from ef_slurm.daemon.serve.limits import Buckets, Places, ServeLimits


class TestBuckets:
    def test_a_burst_and_then_the_rate(self) -> None:
        buckets = Buckets(rate=2.0, burst=3.0)
        assert [buckets.take("a", 100.0) for _ in range(3)] == [0.0] * 3
        assert buckets.take("a", 100.0) == pytest.approx(0.5)
        assert buckets.take("a", 100.5) == 0.0
        assert buckets.take("a", 100.5) > 0.0

    def test_whoever_is_refused_pays_nothing(self) -> None:
        buckets = Buckets(rate=1.0, burst=1.0)
        buckets.take("a", 0.0)
        waits = [buckets.take("a", now) for now in (0.1, 0.5, 0.9, 1.0)]
        assert waits == pytest.approx([0.9, 0.5, 0.1, 0.0])

    def test_each_has_their_own(self) -> None:
        buckets = Buckets(rate=1.0, burst=1.0)
        assert buckets.take("a", 0.0) == 0.0
        assert buckets.take("b", 0.0) == 0.0

    def test_no_more_than_a_burst_is_saved_up(self) -> None:
        buckets = Buckets(rate=1.0, burst=2.0)
        buckets.take("a", 0.0)
        assert [buckets.take("a", 1000.0) == 0.0 for _ in range(3)] == [True, True, False]

    def test_a_clock_that_goes_back_gives_nothing(self) -> None:
        buckets = Buckets(rate=1.0, burst=1.0)
        buckets.take("a", 100.0)
        assert buckets.take("a", 50.0) == pytest.approx(1.0)

    def test_what_was_costly_is_paid_for_later(self) -> None:
        buckets = Buckets(rate=1.0, burst=2.0)
        buckets.charge("a", 5.0, 0.0)
        assert buckets.take("a", 0.0) == pytest.approx(4.0)
        assert buckets.take("a", 4.0) == 0.0
        buckets.charge("a", 1e9, 4.0)
        assert buckets.take("a", 4.0) == pytest.approx(9.0)  # it owes four bursts at most

    def test_full_ones_are_forgotten(self) -> None:
        buckets = Buckets(rate=1.0, burst=5.0)
        for uid in range(1000):
            buckets.take(uid, 0.0)
        assert len(buckets) == 1000
        buckets.take("late", 30.0)
        assert len(buckets) == 1


class TestPlaces:
    LIMITS = ServeLimits(connections=3, connections_per_user=4, reserved_per_user=2)

    def test_a_user_has_so_many(self) -> None:
        places = Places(self.LIMITS)
        assert [places.enter(1) for _ in range(4)] == [None] * 4
        assert "you have 4 connections" in (places.enter(1) or "")
        places.leave(1)
        assert places.enter(1) is None

    def test_everybody_gets_some_when_others_have_the_rest(self) -> None:
        places = Places(self.LIMITS)
        for uid in (1, 2):
            for _ in range(4):
                places.enter(uid)
        assert places.held(2) == 3  # three are shared, two of them the first user's
        assert [places.enter(3), places.enter(3)] == [None, None]
        assert "ef-schedd has 3 connections" in (places.enter(3) or "")

    def test_what_is_given_back_can_be_had(self) -> None:
        places = Places(self.LIMITS)
        for _ in range(100):
            for uid in (1, 2, 3):
                assert places.enter(uid) is None
                assert places.enter(uid) is None
                assert places.enter(uid) is None
            for uid in (1, 2, 3):
                for _ in range(3):
                    places.leave(uid)
        assert [places.held(uid) for uid in (1, 2, 3)] == [0, 0, 0]
