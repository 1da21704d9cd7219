"""Commands that run out of view behind others, with the CPU time that these leave."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TypeVar

Result = TypeVar("Result")
LEAST = 19
"""The niceness of what runs only while nobody else wants to (nice(1))."""
STOP_SECONDS = 10.0
"""Time for what is interrupted to end."""


class Behind:
    """What runs there; `behind` makes one, and ends what still runs.

    Args:
        gives_way: whether everybody else's work comes first.
    """

    def __init__(self, threads: ThreadPoolExecutor, *, gives_way: bool) -> None:
        self._threads = threads
        self._gives_way = gives_way
        self._lock = Lock()
        self._stopped = False
        self._running: list[subprocess.Popen[str]] = []

    def start(self, action: Callable[[], Result]) -> Future[Result]:
        """An action of its own thread; its commands are run with `kept`."""
        return self._threads.submit(action)

    def kept(self, command: list[str], cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
        """Run a command: its exit code, and all that it printed.

        Raises:
            OSError: there is none.
            KeyboardInterrupt: all is to end.
        """
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            # A session of its own: what it starts ends with it, and its priority is its own.
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.append(process)
        if self._gives_way:
            _give_way(process.pid)
        text, _ = process.communicate()
        with self._lock:
            self._running.remove(process)
        return process.returncode, text

    def stop(self) -> None:
        """End what runs; nothing begins any more."""
        with self._lock:
            self._stopped = True
            running = tuple(self._running)
        for process in running:
            _signal(process, signal.SIGINT)
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)


@contextmanager
def behind(*, gives_way: bool) -> Iterator[Behind]:
    """What is started there has ended afterwards, or is ended if it is not waited for."""
    with ThreadPoolExecutor() as threads:
        one = Behind(threads, gives_way=gives_way)
        try:
            yield one
        finally:
            one.stop()
            threads.shutdown(cancel_futures=True)


def _give_way(pid: int) -> None:
    with contextlib.suppress(OSError):  # it has ended
        os.setpriority(os.PRIO_PROCESS, pid, LEAST)
        # Where the kernel has sessions share the CPUs, niceness counts within one (sched(7)).
        Path(f"/proc/{pid}/autogroup").write_text(str(LEAST), encoding="ascii")


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
