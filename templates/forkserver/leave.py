"""The end of a rank that was stopped as ordered: whoever gets its GPU waits for it.

An interpreter that ends takes apart every module that it has. For torch and what comes with it
that is about half a second of a core for each rank, most of it to copy memory that was shared with
the server, and changes nothing but the time: the end of a process frees the same. What somebody
could notice is done: threads are waited for, `atexit` is heeded, the script's own objects get their
end, files are closed.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import os
import sys
import threading
import types
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

STOPPED = "ef_stopped"
"""Attribute of the `SystemExit` with which `ef_slurm.training` ends a rank as ordered: its code."""


def leave(module: types.ModuleType, code: int) -> NoReturn:
    """End this process as the interpreter would, in its order, without taking packages apart.

    Args:
        module: the script's `__main__`.
        code: to exit with.
    """
    files = _open_files()
    shutdown: Any = threading._shutdown  # type: ignore[attr-defined]
    run_exit: Any = atexit._run_exitfuncs
    for act in (shutdown, run_exit):
        with suppress(Exception):
            act()
    # Values go before names are forgotten: a `__del__` may still use what the script imports.
    for name in [name for name in vars(module) if not name.startswith("__")]:
        if not isinstance(vars(module)[name], types.ModuleType):
            vars(module)[name] = None
    gc.collect()
    _close(files)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
    os._exit(code)


def _open_files() -> list[Any]:
    """Files that this rank has opened itself: what came from the server is out of sight, frozen."""
    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    kept = {id(part) for stream in streams for part in _parts(stream)}
    found = (one for one in gc.get_objects() if isinstance(one, io.IOBase) and id(one) not in kept)
    return [one for one in found if _writes(one)]


def _parts(stream: Any) -> Iterable[Any]:
    while stream is not None:
        yield stream
        stream = getattr(stream, "buffer", None) or getattr(stream, "raw", None)


def _writes(file: Any) -> bool:
    try:
        return bool(not file.closed and file.writable())
    except Exception:
        return False


def _close(files: Iterable[Any]) -> None:
    """From the outermost to the innermost: compressors write into buffers, and those into files."""
    order = (io.TextIOBase, io.BufferedIOBase, io.RawIOBase)
    plain = (io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair, io.BytesIO)

    def depth(file: Any) -> int:
        return order.index(next(kind for kind in order if isinstance(file, kind))) * 2 + isinstance(
            file, plain
        )

    known = [file for file in files if isinstance(file, order)]
    for file in sorted(known, key=depth):
        with suppress(Exception):
            file.close()
