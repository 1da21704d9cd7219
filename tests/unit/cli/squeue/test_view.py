"""The full-screen view, played with Textual's pilot; nothing is asked of a network."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from ef_slurm.api.client import UnreachableError
from ef_slurm.api.messages import Explain, Request, Response
from ef_slurm.cli.common.errors import ExitCode
from ef_slurm.cli.squeue import watching
from ef_slurm.cli.squeue.choice import Choice, Found, Known, parse_sort
from ef_slurm.cli.squeue.layouts import DEFAULT_FORMAT, named
from ef_slurm.cli.squeue.listing import View, look_at
from ef_slurm.cli.squeue.view.app import QueueApp
from ef_slurm.cli.squeue.view.log_tail import MOST_BYTES, MOST_LINES, LogError, read_tail
from ef_slurm.cli.squeue.view.screen_rows import SORTED_BY, Picking
from ef_slurm.cli.squeue.view.source import DaemonSource, Log
from ef_slurm.model import Event, EventKind, JobList, JobState, JobView, PromiseState, Story
from ef_slurm.siteconfig.tables import SiteConfig

NOW = 1_700_000_000.0
Make = Callable[..., JobView]
T = TypeVar("T")
HOSTILE = (
    "\x1b[2J\x1b[Hgone",
    "\x1b]8;;http://x\x07link",
    "[bold red]markup[/]",
    "[/nothing]",
    "[@click=app.quit]here[/]",
    "a\nb\r\tc",
    "\u202egnp",
    "学習" * 40,
    "$variable {brace}",
    "",
)
"""Names that would do something, were they more than text."""


class Told:
    """A source that knows the answers."""

    def __init__(self, *jobs: JobView) -> None:
        self.found = list(jobs)
        self.problems: tuple[str, ...] = ()
        self.error: Exception | None = None
        self.hangs = False
        self.lines = ["epoch 1", "epoch 2"]
        self.asked: list[tuple[str, int]] = []

    def _answer(self, answer: T) -> Future[T]:
        future: Future[T] = Future()
        if self.error is not None:
            future.set_exception(self.error)
        elif not self.hangs:
            future.set_result(answer)
        return future

    def jobs(self) -> Future[Found]:
        return self._answer(Found(JobList(NOW, tuple(self.found)), self.problems))

    def story(self, job_id: int) -> Future[Story]:
        self.asked.append(("story", job_id))
        job = next(job for job in self.found if job.job_id == job_id)
        event = Event(NOW, EventKind.VERDICT, "ef-schedd", f"promised to {job.name}")
        return self._answer(Story(job, (event,)))

    def log(self, job_id: int) -> Future[Log]:
        self.asked.append(("log", job_id))
        return self._answer(Log(Path("/home/alice/slurm-1.out"), self.lines))


Play = Callable[[QueueApp, Pilot[None]], Awaitable[None]]


def play(
    source: Told, actions: Play, size: tuple[int, int] = (120, 40), order: str = "jobid"
) -> None:
    async def run() -> None:
        app = QueueApp(source, named(DEFAULT_FORMAT), parse_sort(order, "-S"), UTC, 3600.0)
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            await actions(app, pilot)

    body: Coroutine[Any, Any, None] = run()
    asyncio.run(body)


async def settled(pilot: Pilot[None]) -> None:
    """What was asked has been answered and drawn."""
    for _ in range(4):
        await pilot.pause()


def table(app: QueueApp) -> DataTable[Any]:
    found: DataTable[Any] = app.query_one("#jobs", DataTable)
    return found


def rows(app: QueueApp) -> list[int]:
    return [int(key.value or 0) for key in table(app).rows]


def headings(app: QueueApp) -> list[str]:
    return [str(column.label) for column in table(app).columns.values()]


def text(app: QueueApp, name: str = "text") -> str:
    return str(app.query_one(f"#{name}", Static).content)


def screen(app: QueueApp) -> list[str]:
    """What a person sees, line by line."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


@pytest.fixture
def three(job: Make) -> Told:
    return Told(
        job(job_id=1, name="bert", owner="alice"),
        job(job_id=2, name="gpt", owner="bob", deadline=NOW + 60, promise=PromiseState.AT_RISK),
        job(job_id=3, name="vit", owner="alice", state=JobState.PAUSED, share=0, nodes=()),
    )


def test_jobs_and_the_story_of_the_first(three: Told) -> None:
    async def actions(app: QueueApp, _: Pilot[None]) -> None:
        assert rows(app) == [1, 2, 3]
        assert "Job 1 (bert) of alice" in text(app)
        assert "Promised to bert" in text(app)
        assert "3 jobs" in text(app, "status")
        seen = "\n".join(screen(app))
        assert "PROMISE" in seen
        assert "AT-RISK" in seen
        assert "n[1-2]" in seen

    play(three, actions)


def test_the_story_follows_the_cursor(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down")
        await settled(pilot)
        assert "Job 3 (vit)" in text(app)
        assert three.asked[-1] == ("story", 3)

    play(three, actions)


def test_the_log_and_nothing(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        await settled(pilot)
        assert text(app).splitlines() == ["== /home/alice/slurm-1.out ==", "epoch 1", "epoch 2"]
        three.lines = [*three.lines, "\x1b[31mepoch 3 [bold]x[/]"]
        await pilot.press("f")
        await settled(pilot)
        assert text(app).splitlines()[-1] == "\\x1b[31mepoch 3 [bold]x[/]"
        await pilot.press("l")
        await settled(pilot)
        assert not app.query_one("#detail").display
        assert text(app) == ""

    play(three, actions)


def test_a_filter_is_typed_kept_and_taken_away(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"alice", "space", *"paused")
        await settled(pilot)
        assert rows(app) == [3]
        assert "1 of 3 jobs" in text(app, "status")
        await pilot.press("enter", "s")
        assert rows(app) == [3]
        assert "by deadline" in text(app, "status")
        await pilot.press("escape")
        assert rows(app) == [2, 1, 3]
        await pilot.press("slash", *"nosuch")
        assert rows(app) == []
        await settled(pilot)

    play(three, actions)


def test_the_order_and_its_reverse(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        await pilot.press("r")
        assert rows(app) == [3, 2, 1]
        assert "by jobid (reversed)" in text(app, "status")
        await pilot.press("s")
        assert rows(app)[0] == 2

    play(three, actions)

    async def other(app: QueueApp, _: Pilot[None]) -> None:
        assert rows(app) == [3, 2, 1]

    play(three, other, order="-jobid")


def test_the_cursor_stays_on_its_job(three: Told, job: Make) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        await pilot.press("down")
        three.found = [job(job_id=0), *three.found]
        await pilot.press("f")
        await settled(pilot)
        assert rows(app) == [0, 1, 2, 3]
        assert table(app).cursor_row == 2
        three.found = three.found[-1:]
        await pilot.press("f")
        await settled(pilot)
        assert rows(app) == [3]

    play(three, actions)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_whatever_a_job_is_called_is_text(job: Make, size: tuple[int, int]) -> None:
    jobs = [
        job(job_id=place, name=name, owner=name, note=name, account=name)
        for place, name in enumerate(HOSTILE, start=1)
    ]
    told = Told(*jobs)
    told.lines = [*HOSTILE, *(name * 100 for name in HOSTILE)]
    told.problems = HOSTILE

    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        for keys in [["down"]] * len(HOSTILE) + [["l"], ["slash", *"red"]]:
            await pilot.press(*keys)
            await settled(pilot)
            seen = screen(app)
            assert [line for line in seen if not line.isprintable()] == []
            assert len(seen) == size[1]
        assert app.is_running
        assert rows(app) == [3]
        assert "[bold red]" in "\n".join(seen)

    play(told, actions, size)


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 10), (20, 5)])
def test_it_fits_the_terminal(three: Told, size: tuple[int, int]) -> None:
    async def actions(app: QueueApp, _: Pilot[None]) -> None:
        shown = headings(app)
        assert ("FINISH" in shown) is (size[0] >= 120)
        if size[0] >= 80:
            seen = "\n".join(screen(app))
            assert "PROMISE" in seen
            assert "n[1-2]" in seen
        widths = [column.width for column in table(app).columns.values()]
        assert sum(widths) <= size[0]
        assert app.query_one("#jobs").size.height >= 1 or size[1] < 10

    play(three, actions, size)


def test_columns_come_and_go_with_the_width(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        assert "FINISH" in headings(app)
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert "FINISH" not in headings(app)
        assert rows(app) == [1, 2, 3]
        await pilot.resize_terminal(200, 60)
        await settled(pilot)
        assert "FINISH" in headings(app)

    play(three, actions, (200, 60))


def test_what_is_wrong_is_told_and_the_jobs_stay(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        three.error = UnreachableError("nobody \x1b[2J answers")
        await pilot.press("f")
        await settled(pilot)
        assert "nobody \\x1b[2J answers" in text(app, "status")
        assert rows(app) == [1, 2, 3]
        three.error = None
        await pilot.press("f")
        await settled(pilot)
        assert "nobody" not in text(app, "status")

    play(three, actions)


def test_a_daemon_that_hangs_holds_up_nobody(three: Told) -> None:
    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        three.hangs = True
        await pilot.press("f", "down", "s")
        assert "by deadline" in text(app, "status")
        await pilot.press("q")

    play(three, actions)


def test_an_empty_queue(job: Make) -> None:
    del job

    async def actions(app: QueueApp, pilot: Pilot[None]) -> None:
        await pilot.press("down", "l", "s", "r", "e")
        await settled(pilot)
        assert rows(app) == []
        assert "0 jobs" in text(app, "status")

    play(Told(), actions)


def test_every_column_that_a_key_goes_through_is_one(job: Make) -> None:
    jobs = (job(job_id=2), job(job_id=1))
    picking = Picking()
    for name in SORTED_BY:
        assert picking.by == name
        assert len(picking.of(jobs, look_at(JobList(NOW, jobs), bars=False))) == 2
        picking = picking.next_column()
    assert picking == Picking()


# --- where answers come from


class Client:
    """A daemon, asked in one thread only."""

    def __init__(self, job: JobView) -> None:
        self.job = job
        self.threads: set[int] = set()

    def ask(self, request: Request) -> Response:
        self.threads.add(threading.get_ident())
        if isinstance(request, Explain):
            return Story(self.job, ())
        return JobList(NOW, (self.job,))

    def close(self) -> None:
        self.threads.add(threading.get_ident())


def test_one_thread_asks_the_daemon(job: Make, tmp_path: Path) -> None:
    client, log = Client(job()), tmp_path / "log"
    log.write_text("epoch 1\n")
    source = DaemonSource(lambda: client, Choice(), Known("ef"), lambda _: log)
    assert [one.job_id for one in source.jobs().result().jobs.jobs] == [1234]
    assert source.story(1234).result().job.name == "bert"
    assert source.log(1234).result() == Log(log, ["epoch 1"])
    log.unlink()
    assert "No such file" in source.log(1234).result().problem
    source.close()
    source._asking.thread.join(30.0)
    assert len(client.threads) == 1
    assert threading.get_ident() not in client.threads


def test_a_file_system_that_hangs_keeps_nobody_at_the_end() -> None:
    program = (
        "import time\n"
        "from ef_slurm.cli.squeue.choice import Choice, Known\n"
        "from ef_slurm.cli.squeue.view.source import DaemonSource\n"
        "hang = lambda *_: time.sleep(600)\n"
        "source = DaemonSource(hang, Choice(), Known(''), hang)\n"
        "asked = source.log(1), source.jobs()\n"
        "source.close()\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=True).returncode == 0


def test_a_job_of_which_slurm_does_not_tell_where_it_writes(job: Make) -> None:
    source = DaemonSource(lambda: Client(job()), Choice(), Known("ef"), lambda _: None)
    assert source.log(1).result() == Log(None, (), "Slurm does not tell where this job writes")
    source.close()


@pytest.mark.parametrize("terminal", [True, False])
def test_without_textual_there_is_a_plain_table(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    job: Make,
    terminal: bool,
) -> None:
    shown: list[float] = []

    def refreshed(_client: object, _view: object, _known: object, seconds: float) -> ExitCode:
        shown.append(seconds)
        return ExitCode.OK

    monkeypatch.setattr(watching, "refresh", refreshed)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.delitem(sys.modules, "ef_slurm.cli.squeue.view.app")
    monkeypatch.setitem(sys.modules, "textual", None)
    view = View(Choice(), named(DEFAULT_FORMAT), (), True, False)
    assert watching.watch_jobs(SiteConfig(), Client(job()), view, Known("ef"), 7.0) is ExitCode.OK
    assert shown == [7.0]
    told = capsys.readouterr().err
    assert ("install ef-slurm[view]; here is a plain table" in told) is terminal


# --- the log's end


def test_the_end_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"first\nstep 1\rstep 2\rstep 3\n\x1b[31mred\x1b[0m\ttab\nlast\xff")
    assert read_tail(file) == ["first", "step 3", "\\x1b[31mred\\x1b[0m    tab", "last\ufffd"]
    file.write_bytes(b"")
    assert read_tail(file) == []


def test_no_more_than_the_end_is_read(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("".join(f"line {number}\n" for number in range(200_000)))
    lines = read_tail(file)
    assert len(lines) == MOST_LINES
    assert lines[-1] == "line 199999"
    file.write_text("x" * (10 * MOST_BYTES) + "\nend\n")
    assert read_tail(file) == ["end"]


def test_what_is_no_log_does_not_notice_that_somebody_looks(tmp_path: Path) -> None:
    """As a watchdog would, which reboots the host of whoever has opened it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ended = threading.Event()

    def write() -> None:
        os.close(os.open(fifo, os.O_WRONLY))  # waits until somebody opens it to read
        ended.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    time.sleep(0.1)
    for _ in range(10):
        with pytest.raises(LogError, match="no regular file"):
            read_tail(fifo)
    assert not ended.wait(0.2)
    os.close(os.open(fifo, os.O_RDONLY))
    writer.join(10.0)
    assert ended.is_set()


def test_what_is_no_log_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0)
    for path in (fifo, tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(LogError):
            read_tail(path)
    if os.geteuid():
        with pytest.raises(LogError, match="Permission"):
            read_tail(secret)
