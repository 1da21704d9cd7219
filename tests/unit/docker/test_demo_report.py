"""The demo's picture and page."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
from demo.figure import THEMES, main
from demo.report import Entry, chart, letters, page, picture
from demo.timeline import Bar, Timeline

SVG = "{http://www.w3.org/2000/svg}"


def timeline() -> Timeline:
    seen = Timeline(["n1", "n2"], 2)
    seen.see(0.0, ())
    seen.see(10.0, (("a", ("n1", "n2"), 2),))
    seen.see(20.0, (("a", ("n1",), 2), ("b<", ("n2",), 1)))
    seen.see(40.0, ())
    return seen


ENTRIES = [
    Entry(1, "a", "deadline", 5.0, 35.0, 10.0, 30.0, "KEPT", 2, "why"),
    Entry(2, "b<", "best effort", 15.0, None, 20.0, 40.0, "-", 1, "why"),
]


def test_bars() -> None:
    assert timeline().bars() == [
        Bar("a", "n1", 0, 2, 10.0, 40.0),
        Bar("a", "n2", 0, 2, 10.0, 20.0),
        Bar("b<", "n2", 0, 1, 20.0, 40.0),
    ]


def test_used() -> None:
    assert timeline().used() == (2 * 30 + 2 * 10 + 20) / (40 * 4)


def test_picture() -> None:
    lanes = picture(timeline(), 4)
    assert [label for label, _ in lanes] == ["n1", "", "n2", ""]
    assert lanes[0][1] == [None, "a", "a", "a"]
    assert lanes[2][1] == [None, "a", "b<", "b<"]
    assert lanes[3][1] == [None, "a", None, None]


def test_letters_are_unique() -> None:
    assert letters(["bert", "bart", "resnet"]) == {"bert": "B", "bart": "A", "resnet": "R"}


def test_the_chart_has_every_bar_and_deadline() -> None:
    layers = chart(timeline(), ENTRIES).spec["layer"]
    values = [one for layer in layers for one in layer["data"]["values"] if "i" in one]
    assert {(one["i"], one["s"], one["e"], one["y"]) for one in values if "e" in one} == {
        (0, 10.0, 40.0, 0),
        (0, 10.0, 20.0, 2),
        (1, 20.0, 40.0, 2),
    }
    assert [(one["i"], one["s"]) for one in values if "e" not in one] == [(0, 35.0)]


def test_the_page_escapes_names_and_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ef_slurm.charts.library.javascript", lambda: "")
    text = page(timeline(), ENTRIES, [(5.0, "a <arrives>")])
    assert "b&lt;" in text
    assert ">b<" not in text
    assert "a &lt;arrives&gt;" in text
    assert '<td class="n">5 s</td>' in text
    assert not re.search(r"(src|href)=", text)


def test_the_readmes_picture_is_drawn_from_a_report(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    report = tmp_path / "report.html"
    report.write_text(page(timeline(), ENTRIES, []), encoding="utf-8")
    assert main(str(report), str(tmp_path)) == 0
    for name, theme in THEMES:
        drawn = (tmp_path / f"demo-{name}.svg").read_text(encoding="utf-8")
        assert theme.paper in drawn
        shown = Counter(
            "".join(one.itertext())
            for one in ET.fromstring(drawn).iter(f"{SVG}text")
            if one.get("opacity") != "0"
        )
        # In the legend, and in each of its bars.
        assert [shown[name] for name in ("a", "b<", "n1")] == [3, 2, 1]


def test_a_report_without_a_chart_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>nothing</p>", encoding="utf-8")
    assert main(str(report), str(tmp_path)) == 1
    assert f"{report}: no chart in the report" in capsys.readouterr().err
