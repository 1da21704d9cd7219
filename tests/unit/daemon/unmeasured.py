"""What a test runs without coverage's tracing, which takes two thirds of the time of a tick."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from coverage import Coverage

MEASURED = 200
"""Ticks of one world that are measured: later ones run the same lines again."""


def once_enough(ticks: int) -> AbstractContextManager[None]:
    """Measures nothing meanwhile if a world has had enough ticks."""
    return _unmeasured() if ticks > MEASURED else nullcontext()


@contextmanager
def _unmeasured() -> Iterator[None]:
    coverage = Coverage.current()  # None where nothing is measured
    if coverage is None:
        yield
        return
    coverage.stop()
    try:
        yield
    finally:
        coverage.start()
