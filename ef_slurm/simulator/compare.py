"""Several simulations at once, each in a process of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.simulate import Request, Result, prepare, simulate

_POLL_SECONDS = 0.2

FEW_JOBS = 500
"""Jobs in all simulations up to which starting processes takes longer than simulating."""

# Set once in each worker, before its first task.
_done: Synchronized[Any] | None = None


def simulate_all(
    requests: Sequence[Request],
    processes: int,
    on_done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Simulates every request.

    Args:
        requests: what to simulate.
        processes: how many at a time; 1 for all in this process, as are all of few jobs.
        on_done: called with the number of jobs that left since the last call, in all simulations.

    Returns:
        The results in the order of the requests.

    Raises:
        SimulatorError: one of them cannot be done, or failed.
    """
    for request in requests:
        prepare(request)
    jobs = sum(len(request.trace.jobs) for request in requests)
    if processes <= 1 or len(requests) == 1 or jobs <= FEW_JOBS:
        return [simulate(request, on_done) for request in requests]
    context = multiprocessing.get_context("spawn")
    done: Synchronized[Any] = context.Value(ctypes.c_longlong, 0)
    pool = ProcessPoolExecutor(
        min(processes, len(requests)), mp_context=context, initializer=_start, initargs=(done,)
    )
    try:
        futures = [pool.submit(_work, request) for request in requests]
        seen, pending = 0, set(futures)
        while pending:
            finished, pending = wait(pending, _POLL_SECONDS, return_when=FIRST_EXCEPTION)
            if on_done is not None and done.value > seen:
                on_done(done.value - seen)
                seen = done.value
            for future in finished:
                future.result()
        results = [future.result() for future in futures]
        # Nothing runs any more. Left to the interpreter's exit, a traceback ends it now and then.
        pool.shutdown()
        return results
    except BrokenProcessPool:
        raise SimulatorError(
            "a simulation's process died (out of memory?): try --processes 1"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start(done: Synchronized[Any]) -> None:
    global _done
    _done = done
    # Ctrl-C reaches every process of the terminal; workers die without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _work(request: Request) -> Result:
    return simulate(request, _count)


def _count(jobs: int) -> None:
    if _done is not None:
        with _done.get_lock():
            _done.value += jobs
