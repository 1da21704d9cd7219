"""What is refused is told once for each job, whatever its owner does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.model import EventKind, JobState, QueueJob
from tests.unit.daemon.world import World


def test_refused_reports_are_told_once_and_the_neighbour_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path / "queue.sqlite")
    bad, good = world.submit(20_000, 3000.0), world.submit(20_000, 3000.0)
    plain = world.bench.read

    def read(job: QueueJob) -> JobReports:
        found = plain(job)
        if job.id != bad.id:
            return found
        # Another complaint with each look.
        return replace(found, progress=None, trouble=f"progress.json: {world.clock.now}")

    world.bench.read = read  # type: ignore[method-assign]
    world.run(60)
    assert world.state(good) is JobState.RUNNING
    told = {
        job.id: [
            event.message
            for event in world.queue.events.all(job_id=job.id, kinds=[EventKind.ERROR])
            if "not taken as it is" in event.message
        ]
        for job in (bad, good)
    }
    assert len(told[bad.id]) == 1
    assert not told[good.id]
    assert caplog.text.count("not taken as it is") == 1
    world.queue.close()
