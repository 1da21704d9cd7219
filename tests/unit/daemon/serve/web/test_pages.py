"""What pages hold: for whom, escaped, and within which bounds."""

from __future__ import annotations

import html.parser
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from ef_slurm.api import identity
from ef_slurm.charts import library
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.web.access import WebSettings
from tests.unit.daemon.serve.web.site import HOSTILE, Daemon, Scheduler, serving

T = TypeVar("T")

PAGES = ("now", "promises", "waiting", "health", "job?id=101", "job?id=102", "job?id=105")


@pytest.fixture(scope="module", autouse=True)
def no_javascript() -> Iterator[None]:
    """The library's own takes two seconds to fetch, and is a browser's to run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "javascript", lambda: "window.vegaEmbed = null;")
        yield


@dataclass
class Seen(html.parser.HTMLParser):
    """The elements of a page, and what its charts are given."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    _in_script: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.data.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.data[-1] += data
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        """What is read."""
        return " ".join(" ".join(self.text).split())


def parsed(text: str) -> Seen:
    seen = Seen()
    seen.feed(text)
    seen.close()
    return seen


PATIENT = ServeLimits(requests_per_second=1e4, burst=1e6)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("site"), limits=PATIENT) as running:
        yield running


def page(daemon: Daemon, name: str, **more: str) -> Seen:
    status, _, body = daemon.get(f"/web/{name}", **more)  # type: ignore[arg-type]
    assert status == 200, body
    return parsed(body)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_and_loads_only_what_is_its_own(daemon: Daemon, name: str) -> None:
    status, headers, body = daemon.get(f"/web/{name}")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    for tag, attributes in parsed(body).tags:
        assert not [key for key in attributes if key.startswith("on") or key == "style"]
        if tag == "script":
            source = attributes.get("src")
            assert source is None or re.fullmatch(r"(vega|draw|live)\.js\?[0-9a-f]{12}", source)
            assert source or attributes["type"] == "application/json"
        for key in ("src", "href"):
            assert not re.match(r"(?:[a-z]+:)?//|javascript:", attributes.get(key) or "", re.I)
        assert tag not in ("img", "iframe", "object", "embed", "base", "form", "style")


@pytest.mark.parametrize("name", PAGES)
def test_a_hostile_name_stays_text(daemon: Daemon, name: str) -> None:
    _, _, body = daemon.get(f"/web/{name}")
    assert "<img" not in body
    assert "\x1b" not in body
    assert "\u202e" not in body
    for text in parsed(body).data:
        if text:
            json.loads(text)


def test_it_is_read_as_it_was_given(daemon: Daemon) -> None:
    seen = page(daemon, "job?id=102")
    start = HOSTILE.partition("\x1b")[0]
    assert start in seen.words
    assert "{{ 7*7 }}" in seen.words
    charts = [json.loads(text) for text in page(daemon, "now").data if '"layer"' in text]
    items = [item for chart in charts for rows in chart["datasets"].values() for item in rows]
    assert any(start in item["name"] for item in items)


def test_what_goes_on_is_there(daemon: Daemon) -> None:
    words = page(daemon, "now").words
    assert "12 of 14 GPUs in use" in words
    assert "1 promises at risk" in words
    assert "101 bert-large" in words
    assert "waits for GPUs until" in words
    assert "pauses: the promise to job 101 needs its GPUs" in words


def test_the_record_of_promises(daemon: Daemon) -> None:
    seen = page(daemon, "promises?days=30")
    assert "85.7% kept in 30 days" in seen.words
    assert "kept kept within its grace broken void 18 0 3 3" in seen.words
    assert "cluster" in seen.words
    first = seen.words.index("102 </script>")
    assert first < seen.words.index("101 bert-large")  # at risk before safe
    assert page(daemon, "promises?days=1").words.count("nightly") == 1


def test_a_job_has_its_story_its_shares_and_its_curve(daemon: Daemon) -> None:
    seen = page(daemon, "job?id=101")
    assert "61 %: 12345 of 20000 iterations, 3.7 a second" in seen.words
    assert "The promise" not in seen.words
    assert "2 → 4 GPUs on gpu01: grows to 4 GPUs." in seen.words
    assert "Measured: 1.1 on 1, 2.05 on 2, 6.9 on 8." in seen.words
    charts = [json.loads(text) for text in seen.data if '"layer"' in text]
    assert len(charts) == 2


def test_every_chart_has_words_and_a_table(daemon: Daemon) -> None:
    for name in PAGES:
        seen = page(daemon, name)
        charts = [found for _, found in seen.tags if found.get("class") == "chart"]
        assert all(one["role"] == "img" and one["aria-label"] for one in charts)
        if charts:
            assert any(tag == "table" for tag, _ in seen.tags)


def test_headings_links_and_language_are_for_everybody(daemon: Daemon) -> None:
    for name in PAGES:
        tags = page(daemon, name).tags
        assert sum(tag == "h1" for tag, _ in tags) == 1
        assert ("html", {"lang": "en"}) in tags
        assert [one["href"] for tag, one in tags if one.get("class") == "skip"] == ["#main"]
        ids = [one["id"] for _, one in tags if "id" in one]
        assert len(ids) == len(set(ids))
        assert all(one["aria-labelledby"] in ids for _, one in tags if "aria-labelledby" in one)
        for tag, one in tags:
            assert tag != "th" or "scope" in one


def test_times_are_for_the_readers_zone(daemon: Daemon) -> None:
    stamps = [one["datetime"] for tag, one in page(daemon, "now").tags if tag == "time"]
    assert stamps
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", str(s)) for s in stamps)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("private"), private=True, limits=PATIENT) as running:
        yield running


class TestPrivate:
    @pytest.mark.parametrize("name", ["now?hours=168", "promises?days=3660", "waiting", "health"])
    def test_nobody_known_sees_no_job(self, private: Daemon, name: str) -> None:
        words = private.get(f"/web/{name}", over="tcp")[2]
        for told in ("bert", "vit", "llama", "nightly", "sweep", "alice", "bob", "physics"):
            assert told not in words
        assert re.search(r"job\?id=\d", words) is None

    def test_nor_that_there_is_one(self, private: Daemon) -> None:
        hidden = private.get("/web/job?id=101", over="tcp")
        absent = private.get("/web/job?id=999", over="tcp")
        assert hidden[0] == absent[0] == 404
        assert hidden[2].replace("101", "999") == absent[2]

    def test_who_the_kernel_knows_sees_theirs(self, private: Daemon) -> None:
        # This process is the daemon's own user, who sees all.
        assert "bert-large" in private.get("/web/now")[2]

    def test_a_field_on_a_loopback_port_changes_nothing(self, private: Daemon) -> None:
        words = private.get("/web/now", {"X-Remote-User": "root"}, over="tcp")[2]
        assert "bert" not in words


def test_a_proxy_on_the_socket_says_who_asks(tmp_path: Path) -> None:
    pages = WebSettings(user_header="X-Remote-User", proxy_uid=os.getuid())
    with serving(tmp_path, private=True, pages=pages) as daemon:
        assert "bert" not in daemon.get("/web/now")[2]
        assert "bert" in daemon.get("/web/now", {"X-Remote-User": "root"})[2]
        other = daemon.get("/web/now", {"X-Remote-User": "nobody"})
        assert "You are nobody." in other[2]
        assert "bert" not in other[2]
        unknown = daemon.get("/web/now", {"X-Remote-User": "no.such.user"})
        assert unknown[0] == 403
        assert "whom this host does not know" in unknown[2]
        assert daemon.get("/v1/jobs")[0] == 403


def test_the_port_has_the_page_and_nothing_else(daemon: Daemon) -> None:
    for path in ("/v1/ping", "/v1/jobs", "/v1/openapi.json", "/metrics", "/web/../v1/jobs", "/x"):
        assert daemon.get(path, over="tcp")[0] == 404
    for method in ("POST", "DELETE", "PUT"):
        assert daemon.get("/web/now", method=method, over="tcp")[0] == 405


def test_another_name_for_this_host_is_refused_everywhere(daemon: Daemon) -> None:
    for path in ("/web/now", "/v1/jobs", "/"):
        assert daemon.get(path, {"Host": "evil.example"})[0] == 403
    assert daemon.get("/web/now", {"Host": "evil.example"}, over="tcp")[0] == 403


def test_another_sites_page_cannot_act_as_its_reader(daemon: Daemon) -> None:
    body = b'{"job_ids": [101]}'
    origin = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    answer = daemon.get("/v1/cancellations", origin, method="POST", body=body)
    assert answer[0] == 403


def test_the_beginning_leads_to_the_page(daemon: Daemon) -> None:
    for path, where in (("/", "web/now"), ("/web", "web/now"), ("/web/", "now")):
        status, headers, _ = daemon.get(path)
        assert (status, headers["Location"]) == (302, where)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("now?hours=0", "a whole number from 1 to 168"),
        ("now?hours=x", "a whole number from 1 to 168"),
        ("now?hours=1e9", "a whole number from 1 to 168"),
        ("now?days=1", "unknown parameter"),
        ("job", "id is missing"),
        ("job?id=-1", "a whole number"),
        ("job?id=%3Cscript%3E", "a whole number"),
        ("promises?days=%ff", "query"),
    ],
)
def test_a_wrong_address_is_told_what_would_be_right(daemon: Daemon, path: str, told: str) -> None:
    status, _, body = daemon.get(f"/web/{path}")
    assert status == 400
    assert told in parsed(body).words
    assert "<script>" not in body


def test_files_may_be_kept_and_are_packed(daemon: Daemon) -> None:
    tags = page(daemon, "now").tags
    loading = [one for tag, one in tags if tag in ("script", "link")]
    files = [str(one.get("src") or one.get("href")) for one in loading]
    for name in (one for one in files if "?" in one):
        status, headers, _ = daemon.get(f"/web/{name}")
        assert status == 200
        assert "immutable" in headers["Cache-Control"]
    status, headers, _ = daemon.get("/web/page.css?other")
    assert headers["Cache-Control"] == "no-store"


def test_visitors_are_bounded_as_users_are(tmp_path: Path) -> None:
    limits = ServeLimits(requests_per_second=1.0, burst=3.0, cheap_seconds=1000.0)
    with serving(tmp_path, limits=limits, filled=False) as daemon:
        answers = [daemon.get("/web/health", over="tcp")[0] for _ in range(6)]
        assert 429 in answers
        assert daemon.get("/v1/ping")[0] == 200  # the daemon's user is not that visitor


def test_visitors_from_this_host_are_one_whatever_address_they_take(tmp_path: Path) -> None:
    limits = ServeLimits(requests_per_second=1.0, burst=3.0, cheap_seconds=1000.0)
    with serving(tmp_path, limits=limits, filled=False) as daemon:
        answers = []
        for last in range(2, 8):
            source = (f"127.0.0.{last}", 0)
            asking = http.client.HTTPConnection("127.0.0.1", daemon.port, 30, source)
            asking.request("GET", "/web/health")
            answers.append(asking.getresponse().status)
            asking.close()
        assert 429 in answers


def test_a_user_database_that_hangs_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ends = threading.Event(), threading.Event()

    def hangs(_: int) -> str:
        asked.set()
        ends.wait(30.0)
        return "me"

    monkeypatch.setattr(identity, "user_name", hangs)
    with serving(tmp_path, filled=False) as daemon:
        visitor = threading.Thread(target=daemon.get, args=("/web/health",))
        visitor.start()
        assert asked.wait(10.0)
        began = time.monotonic()
        assert daemon.get("/v1/ping")[0] == 200
        assert time.monotonic() - began < 10.0
        ends.set()
        visitor.join(10.0)


def test_nor_the_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by: list[str] = []

    def name(_: int) -> str:
        by.append(threading.current_thread().name)
        return "me"

    def scheduled(_calls: object, _uid: int, work: Callable[[], T]) -> Future[T]:
        done: Future[T] = Future()
        threading.Thread(target=lambda: done.set_result(work()), name="scheduler").start()
        return done

    monkeypatch.setattr(identity, "user_name", name)
    monkeypatch.setattr(SchedulerCalls, "what_if", scheduled)
    monkeypatch.setattr(Scheduler, "act", lambda *_, by_owner: f"held {by_owner}", raising=False)
    with serving(tmp_path) as daemon:
        hold = b'{"job_id": 101, "action": "hold"}'
        assert daemon.get("/v1/actions", method="POST", body=hold)[0] == 200
    assert by
    assert "scheduler" not in by


@pytest.mark.parametrize("path", ["//[", "//[::1/web/now", "//x/web/now", "///web/now"])
def test_what_looks_like_a_host_is_a_path(
    daemon: Daemon, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", daemon.port, 30)
    asking.request("GET", path)
    assert asking.getresponse().status == 404
    asking.close()
    assert not caplog.records


def test_an_empty_site_has_pages_too(tmp_path: Path) -> None:
    with serving(tmp_path, filled=False, seen=False) as daemon:
        for name in ("now", "promises", "waiting", "health"):
            page(daemon, name)
        assert "has not seen the cluster" in page(daemon, "now").words


def test_without_the_library_there_are_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise library.ChartsError("not installed")

    monkeypatch.setattr(library, "javascript", missing)
    monkeypatch.setattr(library, "is_there", lambda: False)
    with serving(tmp_path) as daemon:
        seen = page(daemon, "now")
        assert "if the daemon's host had ef-slurm[web]" in seen.words
        assert not [one for _, one in seen.tags if "vega.js" in str(one.get("src"))]
