"""Jobs in the queue."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import (
    ACTIVE,
    Block,
    EventKind,
    JobKind,
    JobState,
    Measuring,
    ModelError,
    PromiseState,
    QueueJob,
    Reason,
    ReasonCode,
    Reservation,
    Running,
    Standing,
    ThroughputCurve,
    planner_id,
    queue_id,
)
from ef_slurm.queue.errors import (
    ConflictError,
    DuplicateJobError,
    ForbiddenTransitionError,
    NoSuchRowError,
)
from ef_slurm.queue.store import Queue
from ef_slurm.queue.transitions import TRANSITIONS

Add = Callable[..., QueueJob]
BLOCK = Block("a100", ("n1", "n2"), 4)
CURVE = ("a100", ThroughputCurve.of({1: 10.0, 4: 30.0}))


def move(queue: Queue, job: QueueJob, *states: JobState) -> QueueJob:
    for number, state in enumerate(states):
        job = queue.jobs.move(job.id, state, at=2000.0 + number, actor="ef-schedd", why="test")
    return job


def test_what_is_added_is_read_back(queue: Queue, add: Add) -> None:
    job = add()
    assert queue.jobs.get(job.id) == job
    assert queue.jobs.of_slurm(100) == job
    assert queue.jobs.of_slurm(100, "mini") == job
    assert queue.jobs.of_slurm(100, "elsewhere") is None
    assert (job.state, job.request.curves[1][0], job.share) == (JobState.NEW, "t4", 0)
    (event,) = queue.events.all(job_id=job.id)
    assert (event.kind, event.actor, event.at) == (EventKind.SUBMITTED, "user1", 1000.0)


def test_everything_that_changes_is_kept(queue: Queue, add: Add) -> None:
    job = replace(
        add(),
        best_effort=True,
        generation=3,
        iteration=123.5,
        checkpoint_iteration=100.0,
        rate=17.25,
        progress_at=1500.0,
        first_started_at=1100.0,
        running=Running(BLOCK, 1400.0, 1430.0),
        plan=(Reservation(1400.0, 2000.0, 8, "a100", 8), Reservation(3000.0, math.inf, 4, "a100")),
        finish=4000.0,
        promise=PromiseState.AT_RISK,
        reason=Reason(ReasonCode.GREW, job="0000000002", gpus=8, until=2000.0),
        last_reshape=1400.0,
        reshapes=2,
        failed_starts=1,
        exit_code=75,
        note="slower than promised",
    )
    saved = queue.jobs.save(job)
    assert saved == replace(job, revision=job.revision + 1)
    assert queue.jobs.get(job.id) == saved
    assert saved.share == 8


def test_an_outdated_job_is_not_saved(queue: Queue, add: Add) -> None:
    job = add()
    queue.jobs.save(replace(job, iteration=10.0))
    with pytest.raises(ConflictError):
        queue.jobs.save(replace(job, iteration=5.0))
    assert queue.jobs.get(job.id).iteration == 10.0


def test_one_slurm_job_is_in_the_queue_once(queue: Queue, add: Add) -> None:
    first = add()
    with pytest.raises(DuplicateJobError, match="100"):
        add()
    add(cluster="other", state_dir="/shared/jobs/other")
    # Slurm recycles the ids of ended jobs.
    move(queue, first, JobState.CANCELLED)
    second = add()
    assert second.id != first.id
    assert queue.jobs.of_slurm(100, "mini") == second


def test_every_allowed_transition_and_no_other(queue: Queue, add: Add) -> None:
    paths: dict[JobState, tuple[JobState, ...]] = {JobState.NEW: ()}
    while len(paths) < len(TRANSITIONS):
        for before, path in list(paths.items()):
            for after in TRANSITIONS[before]:
                paths.setdefault(after, (*path, after))
    pairs = itertools.product(paths, JobState)
    with queue.transaction():
        for slurm_job_id, (before, after) in enumerate(pairs, 1000):
            job = move(queue, add(slurm_job_id), *paths[before])
            assert job.state is before
            if after is before or after in TRANSITIONS[before]:
                assert move(queue, job, after).state is after
                continue
            with pytest.raises(ForbiddenTransitionError, match=before.value):
                move(queue, job, after)
            assert queue.jobs.get(job.id) == job


def test_the_database_knows_the_transitions_too(queue: Queue, add: Add) -> None:
    job = move(queue, add(), JobState.REJECTED)
    with pytest.raises(ForbiddenTransitionError):
        queue._database.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (job.id,))
    with pytest.raises(ForbiddenTransitionError):
        queue._database.execute("UPDATE jobs SET state = 'no-state' WHERE id = ?", (job.id,))


def test_a_transition_is_logged_with_numbers(queue: Queue, add: Add) -> None:
    job = add()
    queue.jobs.move(
        job.id, JobState.ADMITTED, at=5.0, actor="ef-schedd", why="fits", data={"share": 4}
    )
    event = queue.events.all(kinds=[EventKind.STATE])[-1]
    assert event.data == {"share": 4, "from": "new", "to": "admitted"}
    assert (event.message, event.at) == ("fits", 5.0)
    move(queue, job, JobState.ADMITTED)
    assert len(queue.events.all(kinds=[EventKind.STATE])) == 1


def test_a_held_job_remembers_where_it_was(queue: Queue, add: Add) -> None:
    job = move(queue, add(), JobState.WAITLISTED, JobState.HELD)
    assert job.held_from is JobState.WAITLISTED
    assert move(queue, job, JobState.WAITLISTED).held_from is None


def test_when_it_ended(queue: Queue, add: Add) -> None:
    job = move(queue, add(), JobState.LOST)
    assert job.ended_at == 2000.0
    assert move(queue, job, JobState.NEW).ended_at is None


def test_lists(queue: Queue, add: Add) -> None:
    first, second, third = add(1), add(2, uid=3002, owner="user2"), add(3)
    move(queue, third, JobState.CANCELLED)
    ids = [job.id for job in queue.jobs.all()]
    assert ids == [first.id, second.id]
    assert [job.id for job in queue.jobs.all(uid=3002)] == [second.id]
    everything = queue.jobs.all(JobState)
    assert [job.id for job in everything] == [first.id, second.id, third.id]
    assert [job.id for job in queue.jobs.ended(JobState, since=2000.0)] == [third.id]
    assert queue.jobs.ended([JobState.CANCELLED], since=2000.1) == ()
    assert queue.jobs.ended([JobState.FAILED], since=0.0) == ()
    assert queue.jobs.all([JobState.RUNNING]) == ()


def test_another_slurm_job_carries_it_on(queue: Queue, add: Add) -> None:
    job, other = add(1), add(2)
    assert queue.jobs.rebind(job.id, 7, at=1.0, actor="ef-schedd").request.slurm_job_id == 7
    with pytest.raises(DuplicateJobError):
        queue.jobs.rebind(other.id, 7, at=1.0, actor="ef-schedd")
    assert queue.events.all(job_id=job.id)[-1].data == {"slurm_job_id": 7, "was": 1}


def test_unknown_jobs(queue: Queue, add: Add) -> None:
    with pytest.raises(NoSuchRowError, match="no job 9"):
        queue.jobs.get(9)
    with pytest.raises(NoSuchRowError):
        queue.jobs.save(replace(add(), id=9))
    with pytest.raises(NoSuchRowError):
        queue.jobs.move(9, JobState.ADMITTED, at=1.0, actor="", why="")


def test_values_that_the_queue_refuses(queue: Queue, add: Add) -> None:
    for field, value in (("iterations", 0), ("deadline", None), ("owner", ""), ("max_gpus", 0)):
        with pytest.raises(ModelError, match=field.replace("max_gpus", "max GPUs")):
            add(**{field: value})
    with pytest.raises(ModelError, match="global batch size"):
        add(global_batch_size=1 << 63)
    assert queue.jobs.all() == ()
    assert queue.events.all() == ()


@pytest.mark.parametrize("iterations", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_what_was_submitted_beside_what_was_assumed_is_kept(
    queue: Queue, add: Add, *, iterations: bool, batch: bool
) -> None:
    job = add(assumed=True, iterations_stated=iterations, batch_stated=batch)
    kept = queue.jobs.get(job.id).request
    assert (kept.assumed, kept.iterations_stated, kept.batch_stated) == (True, iterations, batch)


def test_what_a_request_left_open_is_filled_in(queue: Queue, add: Add) -> None:
    job = add(iterations=None, global_batch_size=None, curves=())
    assert not job.request.complete
    assert job.remaining == math.inf
    whole = replace(job.request, iterations=7, global_batch_size=8, curves=(CURVE,), assumed=False)
    later = queue.jobs.complete(job.id, whole)
    assert later.request == whole
    assert later.revision == job.revision + 1
    measuring = Measuring(1.0, "gpu", (4, 1), ((1, 2.5),), (2,), 30.0, 30.0)
    queue.jobs.save(replace(later, measuring=measuring, script_iterations=7))
    assert queue.jobs.last_told(job.request.uid, "", "unspecified") is None
    told = replace(queue.jobs.get(job.id), script_global_batch_size=8)
    queue.jobs.save(told)
    seen = queue.jobs.last_told(job.request.uid, "", "unspecified")
    assert seen is not None
    assert (seen.measuring, seen.standing) == (measuring, Standing.NEW)


def test_for_the_planner(queue: Queue, add: Add) -> None:
    job = queue.jobs.save(
        replace(add(), iteration=1000.0, running=Running(BLOCK, 1.0, 2.0), reshapes=1)
    )
    seen = job.for_planner()
    assert (seen.id, queue_id(seen.id)) == (planner_id(job.id), job.id)
    assert (seen.iterations, seen.deadline, seen.max_gpus) == (4000.0, 9000.0, 8)
    assert (seen.standing, seen.running, seen.reshapes) == (Standing.NEW, job.running, 1)
    assert job.for_planner(iterations=7.0).iterations == 7.0
    best_effort = replace(job, best_effort=True).for_planner()
    assert (best_effort.kind, best_effort.deadline) == (JobKind.BEST_EFFORT, None)


def test_states_have_one_meaning() -> None:
    assert {JobState.NEW, JobState.HELD} < ACTIVE


def test_two_jobs_that_go_on_share_no_state_directory(queue: Queue, add: Add) -> None:
    first = add(100, state_dir="/shared/jobs/x")
    with pytest.raises(ModelError, match="as job 100 does"):
        add(101, state_dir="/shared/jobs/x")
    add(102, state_dir="/shared/jobs/x", uid=4711, owner="somebody")  # whose it cannot be
    move(queue, first, JobState.CANCELLED)
    add(101, state_dir="/shared/jobs/x")


def test_a_job_begins_with_what_its_checkpoint_has(add: Add) -> None:
    job = add(done=1200)
    assert (job.iteration, job.checkpoint_iteration, job.remaining) == (1200.0, 1200.0, 3800.0)
    with pytest.raises(ModelError, match="more than the 5000 of its checkpoint"):
        add(101, done=5000)


def test_jobs_that_are_waited_for_get_their_own_ids_whether_or_not_the_cluster_is_named(
    queue: Queue, add: Add
) -> None:
    """A job that nobody has submitted does not say on which cluster it would be."""
    first = add(100)
    dependency = parse_dependency("afterok:100:101")
    for cluster in ("mini", ""):
        wanted = replace(first.request, cluster=cluster, dependency=dependency)
        found = queue.jobs.with_rows(wanted).dependency.conditions
        assert [one.row for one in found] == [first.id, None]
    elsewhere = replace(first.request, cluster="other", dependency=dependency)
    assert queue.jobs.with_rows(elsewhere).dependency.conditions[0].row is None
