"""What every implementation of `ef_slurm.slurm.interface.Slurm` must do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import pytest

from ef_slurm.slurm.errors import (
    HeldFirstError,
    NoSuchJobError,
    NotPermittedError,
    RefusedError,
    SlurmError,
    UpdateIncompleteError,
)
from ef_slurm.slurm.interface import Slurm, earliest_release
from ef_slurm.slurm.read_back import undone_after_release
from ef_slurm.slurm.types import (
    HoldKind,
    JobBaseState,
    JobUpdate,
    Shape,
    SignalTarget,
    SlurmJob,
    Submission,
)

Submit = Callable[..., SlurmJob]


class Site(Protocol):
    """A cluster as seen by several users (conftest.py)."""

    def of(self, user: str) -> Slurm: ...

    def wait(self, seconds: float) -> None: ...

    def now(self) -> float: ...

    def runs_steps(self, job_id: int, nodes: tuple[str, ...]) -> None: ...

    def until(self, true: Callable[[], bool]) -> None: ...

    def restart_slurmctld(self) -> None: ...


UNKNOWN = 4_000_000


def start(site: Site, operator: Slurm, job_id: int, shape: Shape) -> SlurmJob:
    """Give a pending job a shape and a limit, release it and wait until it runs.

    Whenever it is looked at from then on, Slurm shows what was asked for.
    """
    update = JobUpdate(shape=shape, time_limit=1800.0, start_now=True)
    operator.update(job_id, update)
    site.wait(max(0.0, earliest_release(site.now()) - site.now()))
    operator.release(job_id)

    def seen() -> SlurmJob:
        job = operator.job(job_id)
        assert undone_after_release(update, job) == [], job
        return job

    site.until(lambda: seen().is_running)
    return seen()


def is_final(slurm: Slurm, job_id: int) -> bool:
    return slurm.job(job_id).is_final


def test_a_submitted_job_is_held_and_its_owners(submit: Submit) -> None:
    job = submit("user1")
    assert job.is_pending
    assert job.hold is HoldKind.USER
    assert (job.user, job.name) == ("user1", "contract")
    assert job.requested.partition == "ef"
    assert (job.nodes, job.gpus, job.restarts, job.exit_code) == ((), (), 0, None)


def test_sbatch_says_why_it_refuses(site: Site) -> None:
    user = site.of("user1")
    with pytest.raises(RefusedError, match="invalid partition"):
        user.submit(Submission("#!/bin/sh\n# EF_STATE_DIR\n", options=("--partition=nowhere",)))
    with pytest.raises(RefusedError, match="batch script"):
        user.submit(Submission("no script\n", options=("--partition=ef",)))


def test_a_job_starts_on_exactly_the_nodes_and_gpus_it_was_given(
    site: Site, submit: Submit
) -> None:
    operator = site.of("ef-slurm")
    job = start(site, operator, submit().job_id, Shape(("n2", "n3"), 2))
    assert job.gpus == (("n2", 2), ("n3", 2))
    assert job.batch_host == "n2"
    assert job.hold is HoldKind.NONE
    assert job.start_time is not None
    assert job.holds_nodes


def test_an_update_is_read_back(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job_id = submit().job_id
    comment = "deadline 2030-01-01T00:00:00 a=b 'c'"
    asked = operator.update(
        job_id, JobUpdate(shape=Shape(("n1", "n4"), 4), time_limit=3601, comment=comment)
    ).requested
    assert (asked.min_nodes, asked.max_nodes, asked.tasks) == (2, 2, 2)
    assert (asked.gpus_per_node, set(asked.nodes)) == (4, {"n1", "n4"})
    assert (asked.time_limit, asked.comment) == (3660.0, comment)
    unlimited = operator.update(job_id, JobUpdate(time_limit=math.inf)).requested.time_limit
    assert unlimited in (math.inf, None)  # 22.05 does not tell
    # The shape stays, and may be changed again and again.
    smaller = operator.update(job_id, JobUpdate(shape=Shape(("n3",), 1))).requested
    assert (smaller.min_nodes, smaller.max_nodes, smaller.nodes) == (1, 1, ("n3",))
    assert (smaller.gpus_per_node, smaller.time_limit) == (1, unlimited)


def test_an_update_that_is_not_applied_whole_is_an_error(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job_id = submit().job_id
    with pytest.raises(UpdateIncompleteError) as error:
        operator.update(job_id, JobUpdate(shape=Shape(("n1", "nowhere"), 2)))
    assert error.value.differences
    assert operator.job(job_id).hold is HoldKind.USER


def test_the_shape_of_a_running_job_cannot_be_updated(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job = start(site, operator, submit().job_id, Shape(("n1",), 1))
    with pytest.raises(RefusedError, match="pending"):
        operator.update(job.job_id, JobUpdate(shape=Shape(("n2",), 2)))
    assert operator.job(job.job_id).gpus == (("n1", 1),)


def test_requeue_and_another_shape(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job_id = start(site, operator, submit().job_id, Shape(("n1",), 2)).job_id
    operator.requeue(job_id)
    site.until(lambda: operator.job(job_id).is_pending)
    waiting = operator.job(job_id)
    assert waiting.hold is HoldKind.ADMIN
    assert not waiting.holds_nodes
    again = start(site, operator, job_id, Shape(("n3", "n4"), 4))
    assert again.gpus == (("n3", 4), ("n4", 4))
    assert again.restarts == 1
    # Asked twice, it is done once.
    operator.requeue(job_id)
    operator.requeue(job_id)
    site.until(lambda: operator.job(job_id).is_pending)
    operator.requeue(job_id)
    assert operator.job(job_id).restarts == 2


def test_an_owners_hold_that_was_there_before_a_requeue_stays_theirs(
    site: Site, submit: Submit
) -> None:
    owner, operator = site.of("user1"), site.of("ef-slurm")
    job_id = start(site, operator, submit("user1").job_id, Shape(("n1",), 2)).job_id
    foreign = {HoldKind.USER}
    assert operator.observe().jobs[job_id].is_running
    owner.requeue(job_id)
    # By its last look it runs; its processes may still end, and then have ended.
    for _ in range(2):
        with pytest.raises(HeldFirstError):
            operator.requeue(job_id, foreign=foreign)
        assert operator.job(job_id).hold is HoldKind.USER
        site.until(lambda: operator.job(job_id).is_pending)
    operator.requeue(job_id)
    assert (operator.job(job_id).hold, operator.job(job_id).restarts) == (HoldKind.ADMIN, 1)


def test_an_owners_hold_that_was_there_before_ours_stays_theirs(site: Site, submit: Submit) -> None:
    operator, foreign = site.of("ef-slurm"), {HoldKind.USER}
    job_id = submit("user1").job_id
    with pytest.raises(HeldFirstError):
        operator.hold(job_id, foreign=foreign)
    assert operator.job(job_id).hold is HoldKind.USER
    operator.hold(job_id)
    operator.hold(job_id, foreign=foreign)
    assert operator.job(job_id).hold is HoldKind.ADMIN


def test_an_owners_hold_of_a_job_that_had_ended_stays_theirs_too(
    site: Site, submit: Submit
) -> None:
    owner, operator = site.of("user1"), site.of("ef-slurm")
    job_id = start(site, operator, submit("user1").job_id, Shape(("n1",), 1)).job_id
    operator.cancel(job_id)
    site.until(partial(is_final, operator, job_id))
    owner.requeue(job_id, ended=True)
    with pytest.raises(HeldFirstError):
        operator.requeue(job_id, ended=True, foreign={HoldKind.USER})
    assert operator.job(job_id).hold is HoldKind.USER
    owner.cancel(job_id)
    # Ours is an operator's.
    again = start(site, operator, submit("user1").job_id, Shape(("n1",), 1)).job_id
    operator.cancel(again)
    site.until(partial(is_final, operator, again))
    operator.requeue(again, ended=True, foreign={HoldKind.USER})
    assert operator.job(again).hold is HoldKind.ADMIN


def test_who_waited_for_nodes_when_slurmctld_ended_gets_others(site: Site, submit: Submit) -> None:
    """From then on Slurm shows the nodes for which the job waited, and not how many it asks for."""
    operator = site.of("ef-slurm")
    start(site, operator, submit().job_id, Shape(("n2",), 4))
    waits = submit().job_id
    operator.update(waits, JobUpdate(shape=Shape(("n2",), 4), start_now=True))
    operator.release(waits)
    site.until(lambda: operator.job(waits).reason == "Resources")
    operator.hold(waits)
    site.restart_slurmctld()
    job = start(site, operator, waits, Shape(("n3", "n4"), 2))
    assert job.gpus == (("n3", 2), ("n4", 2))


def test_a_running_job_gives_up_nodes(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job = start(site, operator, submit().job_id, Shape(("n1", "n2", "n3", "n4"), 2))
    smaller = operator.resize(job.job_id, ("n1", "n2"))
    assert smaller.is_running
    assert smaller.gpus == (("n1", 2), ("n2", 2))
    assert smaller.restarts == 0
    assert operator.resize(job.job_id, ("n2", "n1")).nodes == ("n1", "n2")
    with pytest.raises(RefusedError):
        operator.resize(job.job_id, ("n1", "n2", "n3"))
    with pytest.raises(RefusedError):
        operator.resize(job.job_id, ("n2",))  # without its batch host
    assert operator.job(job.job_id).nodes == ("n1", "n2")


A_STEP = """#!/bin/bash
# EF_STATE_DIR: what job_submit.lua knows our scripts by
unset SLURM_NTASKS SLURM_NPROCS SLURM_NNODES SLURM_NTASKS_PER_NODE
srun --nodes=2 --ntasks=2 --nodelist=n1,n2 --gres=gpu:1 sleep 4
exec sleep 600
"""


def test_steps_are_shown_on_their_nodes_until_they_end(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job_id = submit(script=A_STEP).job_id
    start(site, operator, job_id, Shape(("n1", "n2", "n3", "n4"), 2))
    site.runs_steps(job_id, ("n1", "n2"))
    site.until(lambda: operator.step_nodes(job_id) == {"n1", "n2"})
    site.runs_steps(job_id, ())
    site.until(lambda: operator.step_nodes(job_id) == set())
    assert operator.job(job_id).is_running


def test_only_an_operator_ends_an_operators_hold(site: Site, submit: Submit) -> None:
    owner, operator = site.of("user1"), site.of("ef-slurm")
    job_id = submit("user1").job_id
    operator.hold(job_id)
    assert operator.job(job_id).hold is HoldKind.ADMIN
    owner.hold(job_id)
    assert operator.job(job_id).hold is HoldKind.ADMIN
    # Slurm refuses, or job_submit.lua makes it a word to the daemon.
    with contextlib.suppress(NotPermittedError, RefusedError):
        owner.release(job_id)
    assert operator.job(job_id).hold is HoldKind.ADMIN
    operator.hold(job_id)
    assert operator.job(job_id).hold is HoldKind.ADMIN


def test_nobody_touches_anothers_job(site: Site, submit: Submit) -> None:
    stranger = site.of("user2")
    job_id = submit("user1").job_id
    for act in (stranger.hold, stranger.release, stranger.cancel):
        with pytest.raises(NotPermittedError):
            act(job_id)
    with pytest.raises(NotPermittedError):
        stranger.update(job_id, JobUpdate(shape=Shape(("n1",), 1)))
    assert site.of("user1").job(job_id).hold is HoldKind.USER


def test_releasing_and_holding_twice_is_harmless(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job = start(site, operator, submit().job_id, Shape(("n1",), 1))
    operator.release(job.job_id)
    assert operator.job(job.job_id).is_running


def test_a_cancelled_job_ends_and_stays_ended(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    running = start(site, operator, submit().job_id, Shape(("n1",), 1)).job_id
    held = submit().job_id
    for job_id in (running, held):
        operator.cancel(job_id)
        site.until(partial(is_final, operator, job_id))
        operator.cancel(job_id)
        job = operator.job(job_id)
        assert job.state is JobBaseState.CANCELLED
        assert not job.holds_nodes
        with pytest.raises(RefusedError):
            operator.requeue(job_id)
        with pytest.raises(RefusedError):
            operator.hold(job_id)
        operator.release(job_id)
        assert operator.job(job_id).is_final


def test_accounting_says_how_jobs_ended(site: Site, submit: Submit) -> None:
    ended, waits = submit("user1"), submit("user1")
    operator = site.of("ef-slurm")
    # 22.05 calls one "allocation", of uid 0, that ends before its submission has come to slurmdbd.
    site.wait(3.0)
    site.of("user1").cancel(ended.job_id)

    def told() -> Mapping[int, SlurmJob]:
        return operator.ended((ended.job_id, waits.job_id, UNKNOWN))

    storage = operator.configuration().settings.get("AccountingStorageType", "slurmdbd")
    if "slurmdbd" not in storage:
        with pytest.raises(SlurmError):
            told()
        return
    site.until(lambda: ended.job_id in told())
    (job,) = told().values()
    assert (job.job_id, job.state) == (ended.job_id, JobBaseState.CANCELLED)
    assert (job.name, job.user, job.uid) == (ended.name, ended.user, ended.uid)
    assert job.submit_time == ended.submit_time
    assert job.end_time is not None
    assert abs(job.end_time - site.now()) < 120.0


def test_a_job_that_has_ended_since_it_was_seen_is_not_put_back(site: Site, submit: Submit) -> None:
    operator, another = site.of("ef-slurm"), site.of("ef-slurm")
    job_id = start(site, operator, submit().job_id, Shape(("n1",), 1)).job_id
    assert operator.observe().jobs[job_id].is_running
    another.cancel(job_id)
    site.until(partial(is_final, another, job_id))
    with pytest.raises(RefusedError):
        operator.requeue(job_id)
    assert another.job(job_id).is_final


def test_an_ended_job_is_put_back_where_that_is_wanted(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job_id = start(site, operator, submit().job_id, Shape(("n1",), 1)).job_id
    operator.cancel(job_id)
    site.until(partial(is_final, operator, job_id))
    operator.requeue(job_id, ended=True)
    waiting = operator.job(job_id)
    assert (waiting.is_pending, waiting.hold, waiting.restarts) == (True, HoldKind.ADMIN, 1)
    assert start(site, operator, job_id, Shape(("n2",), 2)).gpus == (("n2", 2),)
    operator.requeue(job_id, ended=True)  # and one that runs
    site.until(lambda: operator.job(job_id).is_pending)
    assert operator.job(job_id).restarts == 2


def test_signals_are_for_running_jobs(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    job_id = submit().job_id
    with pytest.raises(RefusedError):
        operator.signal(job_id, "CONT", SignalTarget.ALL)
    start(site, operator, job_id, Shape(("n1",), 1))
    for target in SignalTarget:
        operator.signal(job_id, "CONT", target)
    assert operator.job(job_id).is_running


def test_an_unknown_job(site: Site) -> None:
    operator = site.of("ef-slurm")
    shape = JobUpdate(shape=Shape(("n1",), 1))
    acts: tuple[Callable[[], object], ...] = (
        lambda: operator.job(UNKNOWN),
        lambda: operator.hold(UNKNOWN),
        lambda: operator.release(UNKNOWN),
        lambda: operator.requeue(UNKNOWN),
        lambda: operator.update(UNKNOWN, shape),
        lambda: operator.resize(UNKNOWN, ("n1",)),
        lambda: operator.signal(UNKNOWN, "CONT", SignalTarget.STEPS),
    )
    for act in acts:
        with pytest.raises(NoSuchJobError):
            act()
    operator.cancel(UNKNOWN)


def test_the_whole_cluster_is_observed(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    held = submit("user1").job_id
    running = start(site, operator, submit("user2").job_id, Shape(("n4",), 4)).job_id
    seen = operator.observe()
    assert [node.name for node in seen.nodes] == ["n1", "n2", "n3", "n4"]
    assert all(node.usable and node.gpu_total == 4 for node in seen.nodes)
    assert all("ef" in node.partitions for node in seen.nodes)
    assert seen.jobs[held] == operator.job(held)
    assert seen.jobs[running].gpus == (("n4", 4),)
    assert seen.jobs[running].end_time is not None
    assert seen.reservations == ()


def test_some_jobs_are_read_with_one_query(site: Site, submit: Submit) -> None:
    operator = site.of("ef-slurm")
    first, second = submit("user1").job_id, submit("user2").job_id
    submit("user1")
    seen = operator.jobs((second, UNKNOWN, first))
    assert seen == {one: operator.job(one) for one in (first, second)}
    assert operator.jobs((UNKNOWN,)) == {}
    assert operator.jobs(()) == {}


def test_whoever_has_looked_before_sees_what_a_newcomer_sees(site: Site, submit: Submit) -> None:
    """Whatever has happened to a job in between."""
    operator, watcher = site.of("ef-slurm"), site.of("ef-slurm")

    def look() -> None:
        site.until(lambda: watcher.observe().jobs == site.of("ef-slurm").observe().jobs)

    watcher.observe()
    job_id = submit("user1").job_id
    look()
    operator.update(job_id, JobUpdate(comment="of another kind"))
    look()
    operator.hold(job_id)
    look()
    start(site, operator, job_id, Shape(("n1", "n2"), 2))
    look()
    assert watcher.observe().jobs[job_id].is_running
    operator.update(job_id, JobUpdate(time_limit=3600.0))
    look()
    operator.requeue(job_id)
    site.until(lambda: watcher.observe().jobs[job_id].is_pending)
    look()
    operator.update(job_id, JobUpdate(shape=Shape(("n3",), 4)))
    look()
    operator.cancel(job_id)
    site.until(lambda: watcher.observe().jobs[job_id].is_final)
    look()


def test_the_configuration_and_the_partition(site: Site) -> None:
    operator = site.of("ef-slurm")
    configuration = operator.configuration()
    assert configuration.version >= (22, 5, 0)
    assert configuration.kill_wait > 0
    assert configuration.min_job_age > 0
    assert configuration.job_requeue
    partitions = {partition.name: partition for partition in operator.partitions()}
    assert partitions["ef"].up
    assert partitions["ef"].nodes == ("n1", "n2", "n3", "n4")


def test_what_limits_there_are_can_be_asked(site: Site) -> None:
    """On every version; which limits there are is the cluster's business."""
    slurm = site.of("ef-slurm")
    slurm.licenses()
    slurm.accounting(["user1", "user2"])
    slurm.accounting([])
    assert "ef" in {one.name for one in slurm.partitions()}


def test_a_try_leaves_nothing_behind(site: Site) -> None:
    user = site.of("user1")
    before = set(user.observe().jobs)
    script = "#!/bin/bash\n# EF_STATE_DIR: what job_submit.lua knows our scripts by\n"
    options = ("--partition=ef", "--nodes=1", "--gres=gpu:1", "--time=10")
    user.test(Submission(script, options))
    with pytest.raises(RefusedError, match="partition"):
        user.test(Submission(script, (*options, "--partition=nowhere")))
    assert set(user.observe().jobs) <= before
