"""Ranks forked from one process that has imported torch: many worlds for the price of one import.

`Parent` starts this file as a program; what is told to it line by line it forks.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.unit.training.rank_environment import environment


class Parent:
    """The process that forks, seen from a test."""

    def __init__(self, *modules: str):
        variables = environment()
        if os.environ.get("EF_TEST_DEVICE") == "cuda":  # as in live_script
            del variables["CUDA_VISIBLE_DEVICES"]
            # As in the fork server: to ask the driver would keep forks from using it.
            variables |= {"EF_TEST_DEVICE": "cuda", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *modules],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._codes: dict[int, int] = {}
        self._rest = b""
        self._wait_for("ready")

    def fork(self, function: str, arguments: Any, environment: Mapping[str, str], log: Path) -> int:
        """Call `module:function` with the arguments in a new process; its pid."""
        assert self._process.stdin is not None
        words = {"call": function, "with": arguments, "env": dict(environment), "log": str(log)}
        self._process.stdin.write((json.dumps(words) + "\n").encode())
        self._process.stdin.flush()
        return int(self._wait_for("pid"))

    def code(self, pid: int, seconds: float = 180.0) -> int:
        """The exit code of a process, waited for."""
        end = time.monotonic() + seconds
        while pid not in self._codes:
            assert time.monotonic() < end, f"{pid} has not ended"
            self._read(0.1)
        return self._codes[pid]

    def running(self, pid: int) -> bool:
        """Whether a process has not ended yet."""
        while self._read(0.0):
            pass
        return pid not in self._codes

    def close(self) -> None:
        """End it, and with it all that it forked."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _wait_for(self, key: str) -> Any:
        while True:
            found = self._read(180.0)
            assert found is not None, f"no {key}"
            if key in found:
                return found[key]

    def _read(self, seconds: float) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        # What a file object has read ahead, select does not see.
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            if not select.select([descriptor], [], [], seconds)[0]:
                return None
            data = os.read(descriptor, 1 << 16)
            assert data, "the parent has died"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if "ended" in found:
            self._codes[found["ended"]] = found["code"]
        return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(modules: list[str]) -> None:
    """Fork what standard input says."""
    for module in modules:
        import_module(module)
    say({"ready": True})
    rest = b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                fork(json.loads(line))
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                say({"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])})


def fork(words: Mapping[str, Any]) -> None:
    """One process; it dies with this one."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        say({"pid": pid})
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    log = os.open(words["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(words["env"])
    module, _, name = words["call"].partition(":")
    function: Callable[[Any], None] = getattr(sys.modules[module], name)
    code = 1
    try:
        function(words["with"])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    # As it would end by itself, but for a second that torch's modules take to be torn down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(words: Mapping[str, Any]) -> None:
    """A line for the test."""
    os.write(1, (json.dumps(words) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
