"""A process on each host that runs the tests' commands there, see `answering`."""

import json
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

HOST_DIED = 137
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Request:
    """A command of a user on a host.

    Attributes:
        directory: where it runs.
        timeout: in seconds.
        imported: it is one of ef-slurm's, and need not be started anew.
    """

    words: Sequence[str]
    user: str
    directory: str
    stdin: str = ""
    timeout: float = 120
    imported: bool = False


class Standing:
    """The processes of one cluster: as many on a host as are asked at the same time.

    Args:
        start: starts one on a host, with pipes.
    """

    def __init__(self, start: Callable[[str], subprocess.Popen[str]]) -> None:
        self._start = start
        self._idle: dict[str, list[subprocess.Popen[str]]] = defaultdict(list)
        self._lock = threading.Lock()

    def run(self, host: str, request: Request) -> subprocess.CompletedProcess[str]:
        """What came of a command.

        Raises:
            subprocess.TimeoutExpired: it took longer than it may.
        """
        process = self._take(host)
        reply = ""
        try:
            reply = _ask(process, f"{json.dumps(asdict(request))}\n")
        finally:
            if reply:
                with self._lock:
                    self._idle[host].append(process)
            else:
                _end(process)
        words = [*request.words]
        if not reply:
            return subprocess.CompletedProcess(words, HOST_DIED, "", f"{host} does not answer\n")
        answer = json.loads(reply)
        if answer["code"] is None:
            raise subprocess.TimeoutExpired(
                words, request.timeout, answer["stdout"], answer["stderr"]
            )
        return subprocess.CompletedProcess(
            words, answer["code"], answer["stdout"], answer["stderr"]
        )

    def close(self) -> None:
        """End those that nobody is asking."""
        with self._lock:
            for process in [one for idle in self._idle.values() for one in idle]:
                _end(process)
            self._idle.clear()

    def _take(self, host: str) -> subprocess.Popen[str]:
        with self._lock:
            while self._idle[host]:
                process = self._idle[host].pop()
                if process.poll() is None:
                    return process
                _end(process)  # its host was killed meanwhile
        return self._start(host)


def _ask(process: subprocess.Popen[str], line: str) -> str:
    """Its answer; empty if it does not live."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def _end(process: subprocess.Popen[str]) -> None:
    """It ends with its input; what it is just doing is left to its host."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
