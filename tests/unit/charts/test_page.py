"""Charts in HTML."""

from __future__ import annotations

import json
import re

import pytest

from ef_slurm.charts.chart import Chart, Clock, Elapsed
from ef_slurm.charts.gantt import Allocation, Bar, Item, Lane, gantt
from ef_slurm.charts.lines import Line, SpeedCurve, Values, speed_curves, steps
from ef_slurm.charts.page import data_block, figure, inline_script

HOSTILE = "</script><script>alert(1)</script>"


def test_nothing_ends_the_block_of_data() -> None:
    block = str(data_block({"name": HOSTILE, "<!--": 1}))
    assert block.count("<") == 2
    found = re.fullmatch(r"<script[^>]*>(.*)</script>", block)
    assert found is not None
    assert json.loads(found[1]) == {"name": HOSTILE, "<!--": 1}


def test_what_is_no_number_is_no_data() -> None:
    with pytest.raises(ValueError, match="JSON"):
        data_block({"x": float("nan")})


def test_a_label_is_text() -> None:
    text = str(figure(Chart(f'a "chart" of {HOSTILE}', {})))
    assert "<script>" not in text
    assert 'aria-label="a &#34;chart&#34; of' in text


def test_a_script_in_a_page_ends_where_it_ends() -> None:
    text = str(inline_script(f'x = "{HOSTILE}<!--"'))
    assert text.count("</script>") == 1
    assert "<!--" not in text


def test_a_nodes_name_is_no_expression() -> None:
    name = '"] + alert(1) + ["'
    shown = Allocation(
        4, [Item("j", "g", "t")], [Bar(0, 0, 9, 0, 2)], {"g": "#fff"}, [Lane(name, 0, 4)]
    )
    axis = gantt("", shown, Elapsed(0, 10, 1, "seconds")).spec["encoding"]["y"]["axis"]
    literal, _, rest = axis["labelExpr"].partition("[indexof(")
    assert json.loads(literal) == [name]
    assert rest == "[2.0], datum.value)]"


def test_what_is_outside_the_time_shown_ends_at_its_edge() -> None:
    shown = Allocation(2, [Item("j", "g", "t")], [Bar(0, 5, 500, 0, 2)], {"g": "#fff"})
    layers = gantt("", shown, Clock(10, 100)).spec["layer"]
    bars = [value for layer in layers for value in layer["data"]["values"] if "i" in value]
    assert {(bar["s"], bar["e"]) for bar in bars} == {(10_000, 100_000)}


def test_many_bars_are_painted_and_have_no_names() -> None:
    bars = [Bar(0, place, place + 1, 0, 1) for place in range(4000)]
    shown = Allocation(1, [Item("j", "g", "t")], bars, {"g": "#fff"})
    chart = gantt("", shown, Elapsed(0, 4000, 1, "seconds"))
    assert chart.dense
    assert not [one for one in chart.spec["layer"] if one["mark"]["type"] == "text"]


def test_whole_numbers_have_whole_ticks() -> None:
    for most in (1, 2, 3, 7, 64, 100, 1024):
        line = Line("x", [(0.0, 0.0), (1.0, float(most))])
        chart = steps("", [line], Elapsed(0, 2, 1, "seconds"), Values("GPUs", whole=True))
        ticks = chart.spec["encoding"]["y"]["axis"]["values"]
        assert all(isinstance(tick, int) for tick in ticks)
        assert ticks[-1] >= most
        assert 2 <= len(ticks) <= 8


def test_a_curve_of_one_size_has_an_axis() -> None:
    chart = speed_curves("", [SpeedCurve("a100", [(4, 2.0)], (), [(4, 2.1)])])
    low, high = chart.spec["encoding"]["x"]["scale"]["domain"]
    assert low < 4 < high
