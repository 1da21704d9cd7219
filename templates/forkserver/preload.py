"""Imports for all ranks at once, and whether a process can be forked into ranks after them."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from forkserver import learned, script
from forkserver.launch import of_a_rank

_HARMLESS = frozenset({"null", "zero", "full", "random", "urandom", "tty", "console"})
ALL = "*"
"""For a package: all but torch."""
_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""With it torch looks for GPUs without touching them."""


class NotForkableError(Exception):
    """An import leaves what no fork survives.

    Args:
        package: what was imported.
        why: what it left, as the end of a sentence that begins with it.
    """

    def __init__(self, package: str, why: str):
        super().__init__(f"{package} {why} when it is imported")
        self.package = package
        self.why = why


@dataclass
class Preloaded:
    """What was imported for the ranks.

    Args:
        modules: name -> file.
        variables: that the imports have set; ranks have them too. None: unset.
        torch_seed: with which torch began.
    """

    modules: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str | None] = field(default_factory=dict)
    torch_seed: int = 0


class Preloader:
    """Imports, and looks after each package at what it has left.

    Args:
        left: packages that are left to the ranks.
    """

    def __init__(self, left: frozenset[str]):
        self._left = left
        self._reads: list[str] = []
        self._torch_seed: int | None = None

    def run(
        self, beginning: script.Beginning, modules: Mapping[str, str], more: tuple[str, ...]
    ) -> Preloaded:
        """Do what the script's beginning does, then import torch, `modules` and `more`.

        Args:
            modules: learned ones: name -> the file that it must come from.
            more: names that the job's owner gave.

        Raises:
            NotForkableError: names the first package after which nothing can be forked.
            ImportError: there is no torch.
        """
        # What is imported stays: to look for garbage among it is a fifth of the time.
        collects = gc.isenabled()
        gc.disable()
        before = dict(os.environ)
        own: dict[str, str | None] = {}
        with self._watched():
            os.environ[_NVML] = "1"
            own[_NVML] = before.get(_NVML)
            for step in beginning.steps:
                if step.name:
                    own.setdefault(step.name, before.get(step.name))
                    if not (step.only_if_unset and step.name in os.environ):
                        os.environ[step.name] = step.value
                elif not step.unless_attribute:
                    if _is_installed(step.module):
                        self._import(step.module)
                elif step.is_missing(sys.modules):
                    self._import(step.module)
            self._import("torch", needed=True)
            self._import("torch.distributed")
            for name, place in modules.items():
                if "." in name or name in sys.modules or _place(name) == place:
                    self._import(name)
            for name in more:
                self._import(name)
        if collects:
            gc.enable()
        after = dict(os.environ)
        for name, value in own.items():
            _set(after, name, value)
        os.environ.clear()
        os.environ.update(before)
        changed = {k: after.get(k) for k in {*before, *after} if before.get(k) != after.get(k)}
        return Preloaded(learned.installed_modules(), changed, self._torch_seed or 0)

    def _import(self, name: str, *, needed: bool = False) -> None:
        package = name.partition(".")[0]
        if name in sys.modules or package in self._left or name in self._left:
            return
        if ALL in self._left and package != "torch":
            return
        self._reads.clear()
        try:
            importlib.import_module(name)
        except Exception:
            # The script will see the error itself, if it gets there. What it has left is looked at.
            if needed:
                raise
        torch: Any = sys.modules.get("torch")
        if torch is not None and self._torch_seed is None:
            self._torch_seed = int(torch.initial_seed())
        unit = name if package == "torch" and name != "torch" else package
        if self._reads and unit != "torch":
            raise NotForkableError(unit, f"asks for {self._reads[0]}, which is a rank's,")
        why = what_is_left()
        if why:
            raise NotForkableError(unit, why)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note who asks for variables that only a rank has: the answer would hold for all ranks."""
        kind: Any = type(os.environ)
        get = kind.__getitem__

        def noting(environment: Any, name: Any) -> Any:
            if isinstance(name, str) and of_a_rank(name):
                self._reads.append(name)
            return get(environment, name)

        kind.__getitem__ = noting
        try:
            yield
        finally:
            kind.__getitem__ = get


def what_is_left() -> str:
    """Why this process cannot be forked into ranks; "" if it can."""
    with suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        return "starts processes"
    device = _open_device()
    if device:
        return f"opens {device}"
    # Libraries that know of forks end their threads before one: look after a trial.
    if _threads() > 1 and (_try_fork() or _threads() > 1):
        return "starts threads"
    return ""


def end_children() -> None:
    """Kill what the imports have started: it would outlive this program in the next one's name."""
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children") as file:  # noqa: PTH123
        pids = [int(word) for word in file.read().split()]
    for pid in pids:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def cuda_is_untouched() -> bool:
    """Whether a child of this process could use CUDA."""
    return not _try_fork()


def settle() -> None:
    """Make what is there ready to be shared: nothing is buffered, no collection writes to it."""
    sys.stdout.flush()
    sys.stderr.flush()
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
    gc.freeze()


def _try_fork() -> bool:
    """Fork once; whether the child could not use CUDA."""
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    pid = os.fork()
    if pid == 0:
        bad = True
        try:
            bad = cuda is not None and bool(cuda._is_in_bad_fork())
        finally:
            os._exit(1 if bad else 0)
    return os.waitpid(pid, 0)[1] != 0


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def _open_device() -> str:
    """A device that this process holds open: a GPU that a library has touched, for one."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(int(name)).st_mode):
                path = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
                last = path.split("/")[-1]
                if path.startswith("/dev/") and last not in _HARMLESS and not last.isdigit():
                    return path
    return ""


def _place(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return None if spec is None else spec.origin


def _is_installed(name: str) -> bool:
    """Whether a module's package is installed, without importing it."""
    package = name.partition(".")[0]
    if package == "ef_slurm":
        return True
    place = _place(package)
    return place in ("built-in", "frozen") or (place is not None and learned.is_installed(place))


def _set(environment: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        environment.pop(name, None)
    else:
        environment[name] = value
