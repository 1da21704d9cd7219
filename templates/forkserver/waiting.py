"""A server that is started beside a running launch, of which its ranks take the place.

It imports, agrees with the other nodes, and says so by making a file. Its ranks are forked when the
batch script says a line on stdin. A batch script that has ended says nothing more, however it did:
the stream ends, and so does the server. It ends, too, when one of the other nodes leaves meanwhile:
its ranks would wait for theirs.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

FAILED = "failed\n"
"""What stands in the file where the launch cannot begin; it is empty where it can."""
_SCORE = "/proc/self/oom_score_adj"


class Waiting:
    """The part of it that waits.

    Args:
        ready: the file to make; "" for a server that waits for nobody.
        speaks: whether this is the first node, which the batch script's word is for.
    """

    def __init__(self, ready: str, speaks: bool):
        self._ready = ready
        self._speaks = speaks
        self._score = ""

    def begin(self) -> None:
        """Where memory is short, let this process be killed, and not the training beside it."""
        if not self._ready:
            return
        if not self._speaks:
            _close_stdin()
        with suppress(OSError):
            with open(_SCORE) as file:  # noqa: PTH123
                self._score = file.read()
            _write(_SCORE, "1000")

    def await_word(self, others: Iterable[Any] = ()) -> bool:
        """On the first node, when all of them are ready: whether the ranks may begin.

        Args:
            others: connections to the other nodes, which say nothing until they end.
        """
        if not self._ready or not self._speaks:
            return True
        with suppress(OSError):  # the batch script does not wait for it for ever
            _write(self._ready, "")
        word = b""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            for connection in others:
                selector.register(connection, selectors.EVENT_READ)
            while not word.endswith(b"\n"):
                if any(key.fd for key, _ in selector.select()):
                    with suppress(OSError):
                        _replace(self._ready, FAILED)
                    return False
                read = os.read(0, 16)
                if not read:
                    return False
                word += read
            if any(key.fd for key, _ in selector.select(0)):
                return False
        _close_stdin()
        # Whoever takes it away has decided: the batch script may have given up.
        try:
            os.unlink(self._ready)  # noqa: PTH108
        except OSError:
            return False
        return True

    def end(self) -> None:
        """The ranks are killed no more readily than others."""
        if self._score:
            with suppress(OSError):
                _write(_SCORE, self._score)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


def _replace(path: str, text: str) -> None:
    """Nobody reads a part of it."""
    _write(f"{path}.new", text)
    os.replace(f"{path}.new", path)  # noqa: PTH105


def _close_stdin() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
