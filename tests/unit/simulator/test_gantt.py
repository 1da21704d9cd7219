"""The script of the Gantt chart, run by Node with a canvas that keeps what is drawn on it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.simulator.report.html import run_page
from ef_slurm.simulator.simulate import Result

NODE = shutil.which("node")
WIDTH, HEIGHT = 1000, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 6, 38

BROWSER = """
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const drawn = { rects: [], texts: [], strokes: 0 }, listeners = {};
const context = new Proxy({ fillStyle: "" }, {
  get(state, name) {
    if (name === "fillRect") return (...box) => drawn.rects.push([...box, state.fillStyle]);
    if (name === "fillText") return (text) => drawn.texts.push(text);
    if (name === "strokeRect") return () => { drawn.strokes += 1; };
    return name in state ? state[name] : () => {};
  },
  set(state, name, value) { state[name] = value; return true; },
});
const tip = { style: {}, offsetWidth: 80 };
const canvas = {
  id: "gantt0", clientWidth: input.width, style: {}, offsetTop: 0,
  parentElement: { querySelector: () => tip },
  getAttribute: () => String(input.height),
  getContext: () => context,
  getBoundingClientRect: () => ({ left: 0, top: 0 }),
  addEventListener: (kind, listener) => { listeners[kind] = listener; },
};
globalThis.window = { devicePixelRatio: 1, addEventListener: () => {} };
globalThis.document = {
  getElementById: (id) => ({ textContent: input.elements[id] }),
  querySelectorAll: () => [canvas],
};
(0, eval)(input.script);
for (const [kind, x, y] of input.events) {
  Object.assign(drawn, { rects: [], texts: [], strokes: 0 });
  listeners[kind]({ clientX: x, clientY: y });
}
console.log(JSON.stringify({ ...drawn, tip: tip.textContent, shown: tip.style.display }));
"""


def draw(result: Result, *events: tuple[str, float, float]) -> Any:
    """What stands on the canvas after the last event: rectangles, texts, and the tip."""
    if NODE is None:
        pytest.skip("needs node")
    page = run_page(result)
    script = resources.files("ef_slurm.simulator.report") / "gantt.js"
    given = {
        "width": WIDTH,
        "height": HEIGHT,
        "elements": elements(page),
        "script": script.read_text(encoding="utf-8"),
        "events": events,
    }
    done = subprocess.run(
        [NODE, "-e", BROWSER], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def elements(page: str) -> dict[str, str]:
    return dict(re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page))


def test_every_rectangle_is_drawn_where_it_belongs(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    found = elements(run_page(result))
    shared, chart = json.loads(found["page-data"]), json.loads(found["gantt0-data"])
    visible = [r for r in chart["rectangles"] if r[1] <= shared["seconds"]]
    background, *drawn = draw(result)["rects"]
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    assert background[:4] == [LEFT, TOP, across, up]
    for (_, start, end, row, gpus), (x, y, wide, tall, _) in zip(visible, drawn, strict=False):
        assert x == pytest.approx(LEFT + start / shared["seconds"] * across)
        assert wide == pytest.approx(max((end - start) / shared["seconds"] * across, 0.35), abs=0.7)
        assert y == pytest.approx(TOP + (1 - (row + gpus) / shared["gpus"]) * up, abs=0.7)
        assert tall == pytest.approx(gpus / shared["gpus"] * up, abs=0.7)
    marks = [box for box in drawn[len(visible) :] if box[2] != 1]
    assert len(drawn) > len(visible)
    assert not marks, "after the rectangles come the marks of the axis, and nothing else"


def test_the_axes_are_named(results: dict[str, Result]) -> None:
    texts = draw(results["elasticflow"])["texts"]
    assert "days since the first submission" in texts
    assert texts[-6:] == ["0", "4", "8", "12", "16", "GPU"]


def test_a_job_is_described_where_it_is_pointed_at(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    found = elements(run_page(result))
    shared, chart = json.loads(found["page-data"]), json.loads(found["gantt0-data"])
    seconds = shared["seconds"]
    longest = max(chart["rectangles"], key=lambda r: min(r[2], seconds) - r[1])
    number, start, end, row, gpus = longest
    x = LEFT + (start + min(end, seconds)) / 2 / seconds * (WIDTH - LEFT - RIGHT)
    y = TOP + (1 - (row + gpus / 2) / shared["gpus"]) * (HEIGHT - TOP - BOTTOM)
    seen = draw(result, ("mousemove", x, y))
    job = result.jobs[number]
    first, second, *_, last = seen["tip"].splitlines()
    assert first == f"job {job.spec.id}   {job.spec.model}/{job.spec.batch_size}"
    assert second == f"{gpus} GPUs here, {job.reshapes} reshapes in all"
    assert last == shared["outcomes"][chart["jobs"][number][0]]
    assert seen["shown"] == "block"
    assert seen["strokes"] == sum(r[0] == number for r in chart["rectangles"])


def test_nothing_is_described_outside(results: dict[str, Result]) -> None:
    assert draw(results["elasticflow"], ("mousemove", 5.0, 5.0))["shown"] == "none"


def test_dragging_zooms_and_a_double_click_shows_all(results: dict[str, Result]) -> None:
    result = results["elasticflow"]
    whole = len(draw(result)["rects"])
    drag = (("mousedown", 600.0, 50.0), ("mousemove", 700.0, 50.0), ("mouseup", 700.0, 50.0))
    assert len(draw(result, *drag)["rects"]) < whole
    assert len(draw(result, *drag, ("dblclick", 0.0, 0.0))["rects"]) >= whole


def test_the_script_is_in_the_page(results: dict[str, Result]) -> None:
    script = Path(str(resources.files("ef_slurm.simulator.report") / "gantt.js"))
    assert script.read_text(encoding="utf-8") in run_page(results["elasticflow"])
