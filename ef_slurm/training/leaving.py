"""How this process ends where its script would have gone on, by SystemExit."""

import atexit
import gc
import os
import sys
from typing import NoReturn, Self

from ef_slurm.contract import Exit


class Unusable(SystemExit):
    """The training cannot work as asked, however often it is tried. Exit code 78."""

    def __init__(self, message: str):
        super().__init__(int(Exit.UNUSABLE))
        self.message = message

    def __str__(self) -> str:
        return self.message

    @classmethod
    def before_the_run(cls, message: str) -> Self:
        """For who has no run yet to give up: the first rank says so."""
        if os.environ.get("RANK", "0") == "0":
            print(f"ef-slurm: {message}", file=sys.stderr, flush=True)
        return cls(message)


class Stopped(SystemExit):
    """This rank ends as ordered, with nothing left to do: the fork server lets it go quickly."""

    def __init__(self, code: int):
        super().__init__(code)
        self.ef_stopped = code


def leave(code: int) -> NoReturn:
    """End this rank, as ordered.

    Raises:
        Stopped: always.
    """
    atexit.register(_shorten_exit)
    raise Stopped(code)


def _shorten_exit() -> None:
    """Leave out the last searches for garbage among torch's objects: most of a process's end.

    The script's own garbage is collected as ever; all else the end of the process frees.
    """
    gc.collect()
    gc.freeze()
