"""From a forked child of the server to a rank: all is as `python -u script.py` would have it."""

from __future__ import annotations

import atexit
import builtins
import ctypes
import importlib
import importlib.machinery
import os
import signal
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from forkserver import leave

_PR_SET_PDEATHSIG = 1  # see prctl(2)
FOR_RANKS = frozenset({signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM})
"""What sbatch's `--signal` sends to all processes of the step is for the ranks, not for the server:
it has them blocked."""
_TORCH_SEED = 67280421310721
"""With it older versions of torch begin in every process; newer ones draw one."""


def main_module(script: str) -> types.ModuleType:
    """Put the `__main__` of a script into its place; the one that was there must be kept."""
    module = types.ModuleType("__main__")
    path = os.path.abspath(script)  # noqa: PTH100
    values: dict[str, Any] = vars(module)
    values["__file__"] = path
    values["__cached__"] = None
    values["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        values["__annotations__"] = {}
    values["__loader__"] = importlib.machinery.SourceFileLoader("__main__", path)
    sys.modules["__main__"] = module
    return module


def command(script: str, arguments: Sequence[str]) -> list[str]:
    """The words that torchrun would start a rank with."""
    return [sys.executable, "-u", script, *arguments]


def set_paths(script: str, arguments: Sequence[str]) -> None:
    """`sys.argv` and the first place of `sys.path`."""
    sys.argv[:] = [script, *arguments]
    setattr(sys, "orig_argv", command(script, arguments))  # noqa: B010 - new in Python 3.10
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        first = os.path.dirname(os.path.realpath(script))  # noqa: PTH120
        if sys.path and sys.path[0] == "":
            sys.path[0] = first
        else:
            sys.path.insert(0, first)


def die_with(parent: int) -> None:
    """End with the server: Slurm waits for all processes of a step, and GPU and port are wanted."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before this was set
        os._exit(128 + signal.SIGKILL)


def become_rank(environment: Mapping[str, str], handlers: Mapping[int, Any]) -> None:
    """What differs from rank to rank, and what a fork would have them share.

    Args:
        environment: of the rank, all of it.
        handlers: of signals, as a program is started with them.
    """
    os.setsid()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*handlers.keys(), *FOR_RANKS})
    thread: Any = threading.main_thread()
    thread._set_native_id()
    os.environ.clear()
    os.environ.update(environment)
    importlib.invalidate_caches()
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)
    rename_process(command(sys.argv[0], sys.argv[1:]))


def draw_anew(torch_seed: int) -> None:
    """Random states that each process of its own would have drawn; Python sees to its own.

    Args:
        torch_seed: what torch had right after its import.
    """
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.initial_seed() == torch_seed != _TORCH_SEED:
        torch.default_generator.seed()


def run(module: types.ModuleType, script: str) -> NoReturn:
    """Run the script as the interpreter does, up to its exit code.

    The interpreter ends as ever when this raises: threads are waited for, `atexit` is heeded.
    """
    code = _compiled(script)
    try:
        exec(code, vars(module))  # noqa: S102 - this is what an interpreter does
    except SystemExit as end:
        stopped = getattr(end, leave.STOPPED, None)
        if type(stopped) is not int or stopped != end.code:
            raise
    except BaseException as error:
        trace = error.__traceback__
        trace = None if trace is None else trace.tb_next  # without this function
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, KeyboardInterrupt):
            _end_by_interrupt()
        raise SystemExit(1) from None
    else:
        raise SystemExit(0)
    leave.leave(module, stopped)  # behind the handler, which keeps the script's frames


def _compiled(script: str) -> types.CodeType:
    try:
        with open(script, "rb") as file:  # noqa: PTH123
            return compile(file.read(), script, "exec", dont_inherit=True)
    except OSError as error:
        problem = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {script!r}: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    except (SyntaxError, ValueError) as error:
        sys.excepthook(type(error), error.with_traceback(None), None)
        raise SystemExit(1) from None


def _end_by_interrupt() -> NoReturn:
    run_exit: Any = atexit._run_exitfuncs
    run_exit()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(130)


def rename_process(words: Sequence[str]) -> None:
    """Let `ps` show these words: those that this process was started with are written over."""
    with suppress(Exception):
        begin, end = _memory(45)
        text = b"\0".join(os.fsencode(word) for word in words)[: end - begin - 1]
        if begin and end > begin:
            ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def take_variable(name: str) -> str:
    """A variable's value, which nobody finds in the environment any more, `/proc` included."""
    value = os.environ.pop(name, "")
    with suppress(Exception):
        begin, end = _memory(47)
        at = b"\0" + ctypes.string_at(begin, end - begin)
        found = at.find(b"\0" + os.fsencode(name) + b"=")
        if found >= 0:
            ctypes.memset(begin + found, 0, at.index(b"\0", found + 1) - found - 1)
    return value


def _memory(field: int) -> tuple[int, int]:
    """Where words or environment lie that this process was started with; see proc(5)."""
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[field]), int(fields[field + 1])
