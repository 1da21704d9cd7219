"""Writers to a queue, one after another: each line of standard input is for the next one.

Each tells its process id, writes without end, and says after each job that it is on disk. When it
was killed, "end" is told. They are forked, so that modules are imported once. For test_kill.
"""

import os
import sys
from pathlib import Path

from ef_slurm.model import (
    BatchScript,
    IntentAction,
    IntentState,
    JobKind,
    JobRequest,
    JobState,
    ThroughputCurve,
)
from ef_slurm.queue.store import Queue

ACTOR = "ef-schedd"


def write(queue: Queue, number: int) -> int:
    request = JobRequest(
        slurm_job_id=number,
        owner="user1",
        uid=3001,
        name="train",
        submitted=1.0,
        kind=JobKind.BEST_EFFORT,
        iterations=10,
        global_batch_size=8,
        curves=(("gpu", ThroughputCurve.of({1: 1.0})),),
        state_dir=f"/shared/{number}",
    )
    with queue.transaction():
        job = queue.jobs.add(request, BatchScript("#!/bin/sh\n"), actor="user1")
        queue.jobs.move(job.id, JobState.ADMITTED, at=2.0, actor=ACTOR, why="fits")
        intent = queue.intents.open(job.id, 0, IntentAction.RELEASE, {}, at=3.0, why="start")
    queue.intents.advance(intent.id, IntentState.EXECUTED, at=4.0)
    queue.intents.advance(intent.id, IntentState.VERIFIED, at=5.0)
    with queue.transaction():
        queue.intents.advance(intent.id, IntentState.CLOSED, at=6.0, why="started")
        queue.jobs.move(job.id, JobState.STARTING, at=6.0, actor=ACTOR, why="started")
    return job.id


def write_on(path: Path) -> None:
    print(os.getpid(), flush=True)
    with Queue.open(path) as queue:
        number = len(queue.jobs.all(JobState))
        while True:
            number += 1
            print(write(queue, number), flush=True)


def main() -> None:
    for _ in sys.stdin:
        writer = os.fork()
        if writer == 0:
            write_on(Path(sys.argv[1]))
        os.waitpid(writer, 0)
        print("end", flush=True)


if __name__ == "__main__":
    main()
