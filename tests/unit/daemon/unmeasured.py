"""What a test runs without coverage's tracing, which takes two thirds of the time of a tick."""

import sys
from collections.abc import Callable
from typing import TypeVar

MEASURED = 200
"""Ticks of one world that are measured: later ones run the same lines again."""

Answer = TypeVar("Answer")


def once_enough(ticks: int, action: Callable[[], Answer]) -> Answer:
    """Do something; nothing of it is measured if a world has had enough ticks.

    Coverage itself could be stopped and started, but in a process of xdist that looks at all
    modules each time. A debugger keeps its tracing.
    """
    tracer = sys.gettrace()
    if ticks <= MEASURED or not type(tracer).__module__.startswith("coverage"):
        return action()
    sys.settrace(None)
    try:
        return action()
    finally:
        sys.settrace(tracer)
