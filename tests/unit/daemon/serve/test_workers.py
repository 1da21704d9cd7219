"""However much one user asks, others get their turn."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from ef_slurm.daemon.serve.workers import FairWorkers


def test_the_result_or_the_error_comes_back() -> None:
    async def main() -> None:
        workers = FairWorkers("test", threads=1, at_once=1)
        assert await workers.run("a", lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await workers.run("a", lambda: 1 // 0)
        assert await workers.run("a", lambda: 8) == 8
        workers.close()

    asyncio.run(main())


def test_a_flood_of_one_does_not_keep_another_waiting() -> None:
    order: list[str] = []

    def work(name: str) -> Callable[[], None]:
        def run() -> None:
            time.sleep(0.01)
            order.append(name)

        return run

    async def main() -> None:
        workers = FairWorkers("test", threads=2, at_once=1)
        flood = [asyncio.create_task(workers.run("a", work("a"))) for _ in range(50)]
        await asyncio.sleep(0)
        other = [asyncio.create_task(workers.run("b", work("b"))) for _ in range(3)]
        await asyncio.gather(*flood, *other)
        workers.close()

    asyncio.run(main())
    assert order[:6].count("b") >= 2
    assert order.count("a") == 50


def test_one_has_no_more_than_their_share_of_the_threads() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    async def main() -> None:
        workers = FairWorkers("test", threads=8, at_once=2)
        await asyncio.gather(*(workers.run("a", work) for _ in range(20)))
        assert most[0] == 2
        await asyncio.gather(*(workers.run(key, work) for key in range(20)))
        workers.close()

    asyncio.run(main())
    assert most[0] <= 8


def test_whoever_goes_away_leaves_no_gap() -> None:
    async def main() -> None:
        workers = FairWorkers("test", threads=1, at_once=1)
        tasks = [asyncio.create_task(workers.run("a", lambda: time.sleep(0.01))) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[:15]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The thread may be busy with what was asked for and is not waited for any more.
        assert await asyncio.wait_for(workers.run("b", lambda: 1), 5) == 1
        assert await asyncio.wait_for(workers.run("a", lambda: 2), 5) == 2
        workers.close()

    asyncio.run(main())
