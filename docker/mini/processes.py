"""Process trees, read from /proc: finding them, and killing them so that nothing escapes."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
END_WAIT_SECONDS = 30.0


def environment_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty if it has gone."""
    try:
        words = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (word.decode(errors="replace").partition("=") for word in words if word)
    return {name: value for name, _, value in pairs}


def state_and_parent(pid: int) -> tuple[str, int]:
    """Kernel state letter and parent of a process.

    Raises:
        OSError: it has gone.
    """
    text = (PROC / str(pid) / "stat").read_text()
    # The command name, in parentheses, may contain anything.
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[1])


def is_alive(pid: int) -> bool:
    try:
        return state_and_parent(pid)[0] not in "ZX"
    except OSError:
        return False


def all_pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        with contextlib.suppress(OSError):
            state, parent = state_and_parent(pid)
            if state not in "ZX":
                children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), []):
            found.add(child)
            todo.append(child)
    return found


def kill_until_gone(find: Callable[[], set[int]]) -> None:
    """SIGKILL what `find` returns until it returns nothing."""
    deadline = time.monotonic() + END_WAIT_SECONDS
    while pids := find():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes do not die: {sorted(pids)}")
        time.sleep(0.02)


def kill_tree(root: int) -> None:
    """Kill a subreaper and all below it: stopped first, so that it keeps adopting orphans."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(root, signal.SIGSTOP)
        kill_until_gone(lambda: descendants(root))
        kill_until_gone(lambda: {root} if is_alive(root) else set())
    with contextlib.suppress(ChildProcessError):
        os.waitpid(root, os.WNOHANG)


def kill_all(variable: str, value: str) -> None:
    """Kill every process started with `variable=value`, except this one and its ancestors."""
    spared = {os.getpid()}
    pid = os.getpid()
    while pid > 1:
        pid = state_and_parent(pid)[1]
        spared.add(pid)

    def marked() -> set[int]:
        return {
            pid
            for pid in all_pids()
            if pid not in spared and is_alive(pid) and environment_of(pid).get(variable) == value
        }

    kill_until_gone(marked)
