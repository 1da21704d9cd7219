"""What is so now, computed when somebody asks for the metrics: jobs, promises, the queue's file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ef_slurm.daemon.metrics import Metrics
from ef_slurm.model import ACTIVE, JobKind, JobState, PromiseState


class Present(Collector):
    """Gauges that nobody keeps up to date.

    Args:
        metrics: with what the last tick left.
        queue: the file.
        hanging: how many of the threads that read jobs' files hang.
    """

    def __init__(self, metrics: Metrics, queue: Path, hanging: Callable[[], int]) -> None:
        self._metrics = metrics
        self._queue = queue
        self._hanging = hanging

    def describe(self) -> Iterator[Metric]:
        """Nothing to compute while it is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        yield from self._jobs()
        yield from self._files()
        yield GaugeMetricFamily(
            "ef_slurm_file_threads_hanging",
            "Threads that wait for a file system that does not answer.",
            self._hanging(),
        )

    def _jobs(self) -> Iterator[Metric]:
        jobs = self._metrics.seen.jobs
        states = Counter((job.state, job.kind) for job in jobs)
        family = GaugeMetricFamily("ef_slurm_jobs", "Jobs in the queue.", labels=["state", "kind"])
        for state, kind in product(JobState, JobKind):
            if state in ACTIVE:
                family.add_metric([state.value, kind.value], states[state, kind])
        yield family
        promises = Counter(job.promise for job in jobs)
        family = GaugeMetricFamily(
            "ef_slurm_promises", "Promises that stand, by the present plan.", labels=["state"]
        )
        for promise in PromiseState:
            if promise is not PromiseState.NONE:
                family.add_metric([promise.value], promises[promise])
        yield family

    def _files(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("ef_slurm_queue_bytes", "The queue's files.", labels=["file"])
        for name, suffix in (("database", ""), ("log", "-wal")):
            with suppress(OSError):
                path = self._queue.with_name(self._queue.name + suffix)
                family.add_metric([name], path.stat().st_size)
        yield family
        with suppress(OSError):
            disk = os.statvfs(self._queue.parent)
            sizes = (("free", disk.f_bavail), ("all", disk.f_blocks))
            for name, blocks in sizes:
                yield GaugeMetricFamily(
                    f"ef_slurm_queue_disk_{name}_bytes",
                    "Of the disk that the queue is on.",
                    blocks * disk.f_frsize,
                )
