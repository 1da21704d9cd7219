"""Standard input, output and error where they are closed, full, or read by nobody."""

from __future__ import annotations

import os
import sys


def stand_in_for_closed_streams() -> None:
    """Let what is closed (`>&-`) read and write nothing.

    A file that the command opens would have its number, and be written to by whatever it starts.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def lost_output() -> str:
    """Write what is left of standard output; why it cannot be written, or ""."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def forget_unwritten() -> None:
    """Keep the interpreter from trying again at exit, which ends with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
