"""Columns: what is written comes back, and what an earlier release wrote is still read."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ef_slurm.formats.codec import DecodeError
from ef_slurm.model import (
    Block,
    Overhead,
    Reason,
    ReasonCode,
    Reservation,
    Running,
    ThroughputCurve,
)
from ef_slurm.queue import codec
from tests.unit.formats.records import JSON, OWN, values

CURVES = st.dictionaries(st.text(max_size=3), OWN[ThroughputCurve], max_size=3)
COLUMNS: tuple[tuple[st.SearchStrategy[Any], Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (CURVES.map(lambda table: tuple(table.items())), codec.dump_curves, codec.load_curves),
    (values(tuple[str, ...]), codec.dump_strings, codec.load_strings),
    (values(Overhead), codec.dump_overhead, codec.load_overhead),
    (values(Block | None), codec.dump_block, codec.load_block),
    (values(Running | None), codec.dump_running, codec.load_running),
    (values(tuple[Reservation, ...]), codec.dump_schedule, codec.load_schedule),
    (values(Reason), codec.dump_reason, codec.load_reason),
    (st.dictionaries(st.text(), JSON, max_size=3), codec.dump, codec.load),
)


@pytest.mark.parametrize(("kind", "dump", "load"), COLUMNS)
@given(data=st.data())
@settings(deadline=None)
def test_a_column_comes_back_as_it_went(
    kind: st.SearchStrategy[Any],
    dump: Callable[[Any], Any],
    load: Callable[[Any], Any],
    data: st.DataObject,
) -> None:
    value = data.draw(kind)
    assert load(dump(value)) == value


@pytest.mark.parametrize(
    ("load", "text", "value"),
    [
        (codec.load_strings, '["--account=a b","caf\\udce9"]', ("--account=a b", "caf\udce9")),
        (
            codec.load_curves,
            '{"a100":[[1,12.5],[2,23]],"h\\u00f6":[[4,1e-1]]}',
            (("a100", ThroughputCurve(((1, 12.5), (2, 23)))), ("hö", ThroughputCurve(((4, 0.1),)))),
        ),
        (
            codec.load_overhead,
            '{"start":30,"reshape":30.0,"shrink":20.5,"per_doubling":0.0}',
            Overhead(start=30.0, grow=30.0, shrink=20.5, move=30.0, restart=30.0),
        ),
        (
            codec.load_overhead,
            '{"start":30,"grow":2,"shrink":1.5,"move":30,"restart":40,"per_doubling":1}',
            Overhead(30.0, 2.0, 1.5, 30.0, 40.0, 1.0),
        ),
        (
            codec.load_block,
            '{"gpu_type":"a100","nodes":["n1","n2"],"gpus_per_node":4,"first_gpu":0}',
            Block("a100", ("n1", "n2"), 4),
        ),
        (
            codec.load_running,
            '{"block":{"gpu_type":"a100","nodes":["n1"],"gpus_per_node":2,"first_gpu":2},'
            '"since":10,"trains_from":40.5}',
            Running(Block("a100", ("n1",), 2, 2), 10.0, 40.5),
        ),
        (
            codec.load_schedule,
            '[[10.0,20.5,4,"a100",0],[20.5,null,8,"a100",8]]',
            (Reservation(10.0, 20.5, 4, "a100"), Reservation(20.5, math.inf, 8, "a100", 8)),
        ),
        (
            codec.load_reason,
            '{"code":"grew","job":"0000000007","gpus":4,"until":20.0}',
            Reason(ReasonCode.GREW, "0000000007", 4, 20.0),
        ),
        (
            codec.load_reason,
            '{"code":"rejected","job":null,"gpus":null,"until":null}',
            Reason(ReasonCode.REJECTED),
        ),
    ],
)  # fmt: skip
def test_what_an_earlier_release_wrote(
    load: Callable[[str], object], text: str, value: object
) -> None:
    assert load(text) == value


def test_an_open_end_is_null_for_whoever_queries_the_column() -> None:
    assert (
        codec.dump_schedule((Reservation(1.0, math.inf, 2, "gpu", 4),)) == '[[1.0,null,2,"gpu",4]]'
    )


def test_what_is_no_column_says_what_it_should_be() -> None:
    with pytest.raises(DecodeError, match=r"\[0\]\[2\]: expected a whole number, got 'x'"):
        codec.load_schedule('[[1.0,2.0,"x","gpu",0]]')
    with pytest.raises(DecodeError, match="code: expected one of 'started'"):
        codec.load_reason('{"code":"because"}')
    with pytest.raises(TypeError, match="NaN"):
        codec.dump({"x": math.nan})


def test_what_users_may_make_long_is_not_kept() -> None:
    """4,096 scripts' options would be gigabytes, whether their jobs are there or not."""
    short, long = codec.dump_strings(["--time=60"]), codec.dump_strings(["x" * 3000])
    assert codec.load_strings(short) is codec.load_strings(short)
    assert codec.load_strings(long) is not codec.load_strings(long)
    assert codec.load_strings(long) == ("x" * 3000,)
