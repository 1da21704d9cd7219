"""The page in a real browser: it runs, complains of nothing, and fits by day and by night."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.charts import library
from ef_slurm.daemon.serve.limits import ServeLimits
from tests.unit.daemon.serve.web.site import Daemon, serving

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no browser is driven without the Python package playwright"
)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no browser here: apt-get install chromium"),
    pytest.mark.skipif(not library.is_there(), reason=f"needs {library.PACKAGE}"),
]
PAGES = ("now", "promises", "waiting", "health", "job?id=101", "job?id=102")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    limits = ServeLimits(requests_per_second=1e4, burst=1e6)
    with serving(tmp_path_factory.mktemp("site"), limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.mark.parametrize(
    ("width", "scheme", "names"),
    [
        (390, "dark", PAGES),
        (1280, "light", PAGES),
        (390, "light", ("now",)),
        (1280, "dark", ("now",)),
    ],
)
def test_the_browser_complains_of_nothing(
    daemon: Daemon, browser: Any, tmp_path: Path, width: int, scheme: str, names: tuple[str, ...]
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, timezone_id="Asia/Tokyo"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    def dismiss(dialog: Any) -> None:
        said.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    for name in names:
        page.goto(f"http://127.0.0.1:{daemon.port}/web/{name}")
        page.wait_for_function("document.documentElement.dataset.drawn == 'yes'", timeout=30_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        charts = page.locator(".chart")
        drawn = page.locator(".chart.is-drawn .drawn > *")
        assert charts.count() == page.locator(".chart.is-drawn").count(), name
        assert drawn.count() >= charts.count()
        for place in range(charts.count()):
            box = charts.nth(place).locator(".drawn").bounding_box()
            assert box["width"] > 0.75 * (width - 60)
            assert box["height"] > 100
        page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
        times = page.locator("main time").all_text_contents()
        assert all(text.endswith(("GMT+9", "JST")) for text in times), times
    assert said == []
    context.close()


def test_with_the_keyboard_alone(daemon: Daemon, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{daemon.port}/web/now")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.getAttribute('href')"))
    assert {"?hours=24", "job?id=101", "job?id=105"} <= seen
    page.close()


def test_what_a_bar_says_is_text(daemon: Daemon, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"http://127.0.0.1:{daemon.port}/web/now")
    page.wait_for_function("document.documentElement.dataset.drawn == 'yes'", timeout=30_000)
    box = page.locator(".chart .drawn").first.bounding_box()
    told = set()
    for part in range(20, 70, 2):
        for row in (0.3, 0.55):
            page.mouse.move(box["x"] + box["width"] * part / 100, box["y"] + box["height"] * row)
            if page.locator(".tip").is_visible():
                told.add(page.locator(".tip").inner_text())
    assert any("bert-large" in text for text in told)
    assert any("</script><img" in text for text in told)
    assert page.locator(".tip *").count() == 0
    page.close()
