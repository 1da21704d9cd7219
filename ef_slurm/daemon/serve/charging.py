"""Work for somebody's request, whose cost is charged to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from ef_slurm.api.messages import FailureCode
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.serve.limits import Buckets, ServeLimits
from ef_slurm.daemon.serve.workers import FairWorkers

T = TypeVar("T")


class Charged:
    """How much each may ask, a user by uid and a visitor nobody knows by address."""

    def __init__(self, limits: ServeLimits) -> None:
        self._limits = limits
        self._requests = Buckets(limits.requests_per_second, limits.burst)

    def take(self, key: Hashable) -> None:
        """Count one request.

        Raises:
            RequestError: it is one too many for now.
        """
        seconds = self._requests.take(key, time.monotonic())
        if seconds:
            raise RequestError(
                FailureCode.TOO_MANY,
                f"more than {self._limits.requests_per_second:g} requests a second: try again in "
                f"{seconds:.1f} s",
            )

    async def run(self, key: Hashable, workers: FairWorkers, work: Callable[[], T]) -> T:
        """Have something done by a worker; what it costs beyond the usual is charged."""
        spent = 0.0

        def timed() -> T:
            nonlocal spent
            began = time.thread_time()
            try:
                return work()
            finally:
                spent = time.thread_time() - began

        try:
            return await workers.run(key, timed)
        finally:
            more = spent / self._limits.cheap_seconds - 1.0
            if more > 0.0:
                self._requests.charge(key, more, time.monotonic())
