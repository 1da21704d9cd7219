"""What is closed after refusals, for how long, and what opens it again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.observe.closures import (
    CLOSED_SECONDS,
    LONGEST_CLOSED_SECONDS,
    MOST_KEPT,
    Closed,
    Closures,
    refusal_data,
)
from ef_slurm.model import ACTOR, Bar, Block, Event, EventKind, Json
from ef_slurm.slurm.refusals import Refused

NODES = ("n1", "n2", "n3", "n4")
WORDS = {
    Refused.SIZE: "QOSMaxGRESPerUser",
    Refused.NODES: "ReqNodeNotAvail",
    Refused.JOB: "InvalidQOS",
    Refused.BUSY: "Resources",
    Refused.UNKNOWN: "what is this",
}
PAIR = Block("a100", ("n1", "n2"), 4)


def closes(closed: Closed, block: Block) -> bool:
    """Whether a block is closed."""
    if closed.max_gpus is not None and block.gpus > closed.max_gpus:
        return True
    return any(
        block.gpus >= bar.from_gpus and not bar.nodes.isdisjoint(block.nodes) for bar in closed.bars
    )


def blocks() -> st.SearchStrategy[Block]:
    """Aligned blocks of four nodes with four GPUs each."""
    inside = st.builds(
        lambda node, gpus: Block("a100", (node,), gpus),
        st.sampled_from(NODES),
        st.sampled_from([1, 2, 4]),
    )
    whole = st.sampled_from(
        [Block("a100", NODES[:2], 4), Block("a100", NODES[2:], 4), Block("a100", NODES, 4)]
    )
    return inside | whole


@given(st.sampled_from(Refused), blocks())
def test_what_was_refused_is_closed_and_opens_in_time(refused: Refused, block: Block) -> None:
    closures = Closures()
    closures.refuse(1, block, WORDS[refused], now=100.0)
    closed = closures.of(1, now=100.0)
    assert closed is not None
    assert closes(closed, block)
    assert closed.until == closures.next_opening(100.0) == 100.0 + CLOSED_SECONDS[refused]
    assert closures.of(1, now=closed.until) is None
    assert closures.of(2, now=100.0) is None
    assert closures.next_opening(closed.until) == math.inf


@given(st.lists(st.tuples(st.sampled_from(Refused), blocks()), min_size=1, max_size=50))
def test_what_was_refused_is_never_asked_for_while_it_is_closed(
    refusals: list[tuple[Refused, Block]],
) -> None:
    closures = Closures()
    for refused, block in refusals:
        closures.refuse(1, block, WORDS[refused], now=0.0)
    closed = closures.of(1, now=1.0)
    assert closed is not None
    assert all(closes(closed, block) for _, block in refusals[-MOST_KEPT:])


@pytest.mark.parametrize(
    ("refused", "smaller", "elsewhere"),
    [
        (Refused.SIZE, False, True),
        (Refused.NODES, True, False),
        (Refused.JOB, True, True),
        (Refused.BUSY, False, False),
        (Refused.UNKNOWN, False, False),
    ],
)
def test_how_far_a_refusal_reaches(refused: Refused, smaller: bool, elsewhere: bool) -> None:
    closures = Closures()
    closures.refuse(1, PAIR, WORDS[refused], now=0.0)
    closed = closures.of(1, now=0.0)
    assert closed is not None
    assert closes(closed, Block("a100", ("n1",), 4)) is smaller
    assert closes(closed, Block("a100", ("n3", "n4"), 4)) is elsewhere
    assert closes(closed, Block("a100", NODES, 4))  # larger, and around it


@given(st.sampled_from(Refused), st.integers(2, 40))
def test_each_refusal_closes_for_longer(refused: Refused, times: int) -> None:
    closures, now, lengths = Closures(), 0.0, []
    for _ in range(times):
        closures.refuse(1, PAIR, WORDS[refused], now)
        closed = closures.of(1, now)
        assert closed is not None
        lengths.append(closed.until - now)
        now = closed.until
    assert lengths == sorted(lengths)
    assert lengths[1] == min(2 * lengths[0], LONGEST_CLOSED_SECONDS)
    assert lengths[-1] <= LONGEST_CLOSED_SECONDS


@given(st.sampled_from(Refused), blocks())
def test_a_start_opens_what_it_shows_to_be_possible(refused: Refused, block: Block) -> None:
    closures = Closures()
    closures.refuse(1, block, WORDS[refused], now=0.0)
    closures.started(1, block)
    assert closures.of(1, now=0.0) is None


def test_a_small_start_leaves_a_large_size_closed() -> None:
    closures = Closures()
    closures.refuse(1, PAIR, WORDS[Refused.SIZE], now=0.0)
    closures.started(1, Block("a100", ("n1",), 4))
    closed = closures.of(1, now=0.0)
    assert closed is not None
    assert (closed.max_gpus, closed.bars) == (4, ())


def test_nodes_are_named() -> None:
    closures = Closures()
    closures.refuse(1, PAIR, "ReqNodeNotAvail, UnavailableNodes:n1", now=0.0)
    closed = closures.of(1, now=0.0)
    assert closed is not None
    assert closed.bars == (Bar(frozenset({"n1"})),)  # n2 may be good
    assert closed.words == "ReqNodeNotAvail, UnavailableNodes:n1"
    closures.forget(1)
    assert closures.of(1, now=0.0) is None


def test_what_the_audit_log_keeps_closes_the_same_again() -> None:
    closures, later = Closures(), Closures()
    refusals = [(PAIR, WORDS[Refused.NODES]), (Block("a100", ("n3",), 2, 2), "what is this")]
    events = []
    for at, (block, words) in enumerate(refusals):
        closures.refuse(7, block, words, now=float(at))
        data = refusal_data(block, words)
        events.append(Event(float(at), EventKind.ERROR, ACTOR, "told", 7, data))
    later.recall(events, {7})
    assert later.of(7, now=5.0) == closures.of(7, now=5.0)


def test_other_lines_of_the_log_close_nothing() -> None:
    closures, data = Closures(), dict(refusal_data(PAIR, "QOSMaxGRESPerUser"))
    lines: tuple[tuple[int | None, dict[str, Json]], ...] = (
        (7, {}),
        (7, {**data, "nodes": []}),
        (7, {**data, "gpus_per_node": "4"}),
        (8, data),  # it has ended
        (None, data),
    )
    events = [Event(0.0, EventKind.ERROR, ACTOR, "told", job, some) for job, some in lines]
    closures.recall(events, {7})
    assert closures.of(7, now=1.0) is None
    assert closures.of(8, now=1.0) is None


def test_a_clock_that_is_set_back_opens_what_was_closed_by_it() -> None:
    closures, hour = Closures(), 3600.0
    closures.refuse(1, PAIR, WORDS[Refused.NODES], now=hour)
    closures.refuse_live(1, Refused.NODES, hour)
    assert closures.of(1, now=hour - 1.0) is not None
    assert not closures.live_open(1, now=hour - 1.0)
    assert closures.of(1, now=0.0) is None
    assert closures.live_open(1, now=0.0)
    assert closures.next_opening(0.0) == math.inf
