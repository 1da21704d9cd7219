"""The loop, against timelines worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from ef_slurm.model import Block, Outcome, Overhead, Reservation, Schedule
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.engine import Engine, Outcomes
from ef_slurm.simulator.errors import InvariantError
from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob
from ef_slurm.simulator.trace import TraceJob, make_trace

Maker = Callable[..., TraceJob]
Step = tuple[float, Mapping[str, Grant]]


class Scripted:
    """Gives what a script says from each moment on."""

    name = "scripted"
    judges = False
    work_conserving = False
    fixed_size = False

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self.asked: list[float] = []
        self.seen: list[tuple[str, ...]] = []
        self.down: list[tuple[str, ...]] = []

    def see_down(self, down: Mapping[str, float]) -> None:
        self.down.append(tuple(sorted(down)))

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        self.asked.append(now)
        self.seen.append(tuple(job.spec.id for job in jobs))
        grants: Mapping[str, Grant] = {}
        for when, given in self._steps:
            if when <= now:
                grants = given
        present = {job.spec.id for job in jobs}
        later = [when for when, _ in self._steps if when > now]
        kept = {job_id: grant for job_id, grant in grants.items() if job_id in present}
        return Round(kept, next_change=min(later, default=math.inf))


def simulate(
    jobs: Sequence[TraceJob], policy: Scripted, overhead: Overhead | None = None, nodes: int = 2
) -> Outcomes:
    setup = ClusterSetup(uniform(nodes, 4), overhead or Overhead())
    return Engine(make_trace("test", jobs), setup, policy, check=True).simulate()


def block(first: int, gpus: int, node: int = 1) -> Grant:
    return Grant(gpus, Block("gpu", (f"n{node}",), gpus, first))


def test_a_job_trains_at_its_rate(make_job: Maker) -> None:
    (job,) = simulate([make_job(iterations=100)], Scripted((0, {"a": Grant(4)}))).jobs
    assert job.finished == 25
    assert (job.starts, job.reshapes, job.pauses) == (1, 0, 0)


def test_starts_and_reshapes_cost_their_overhead(make_job: Maker) -> None:
    overhead = Overhead(start=10, grow=20, move=20, restart=20, per_doubling=1)
    policy = Scripted((0, {"a": Grant(1)}), (30, {"a": Grant(4)}))
    (job,) = simulate([make_job(iterations=100)], policy, overhead).jobs
    # 0-10 start, 10-30 twenty iterations, 30-52 reshape to four GPUs, then 80 iterations at 4/s
    assert job.finished == 72
    assert (job.starts, job.reshapes) == (1, 1)
    assert [(s.start, s.end, s.gpus, s.trains_from) for s in job.held_shares] == [
        (0, 30, 1, 10),
        (30, 72, 4, 52),
    ]


def test_a_reshape_in_unpaid_overhead_gains_nothing_and_pays_again(make_job: Maker) -> None:
    policy = Scripted((0, {"a": Grant(1)}), (5, {"a": Grant(2)}))
    (job,) = simulate([make_job(iterations=100)], policy, Overhead.constant(10)).jobs
    assert job.finished == 5 + 10 + 50


def test_a_resume_is_a_reshape_and_a_pause_is_not(make_job: Maker) -> None:
    policy = Scripted((0, {"a": Grant(1)}), (40, {}), (60, {"a": Grant(1)}))
    (job,) = simulate([make_job(iterations=100)], policy, Overhead(start=10)).jobs
    # 30 iterations by 40, nothing until 60, ten seconds of start, 70 iterations
    assert job.finished == 140
    assert (job.starts, job.reshapes, job.pauses, job.migrations) == (1, 1, 1, 0)
    assert job.last_reshape == 60


def test_moving_to_another_block_is_a_migration(make_job: Maker) -> None:
    policy = Scripted((0, {"a": block(0, 2)}), (10, {"a": block(0, 2, node=2)}))
    (job,) = simulate([make_job(iterations=100)], policy, Overhead.constant(5)).jobs
    assert (job.reshapes, job.migrations) == (1, 1)
    assert job.finished == 5 + 5 + 5 + (100 - 10) / 2


def test_other_indices_on_the_same_node_cost_nothing(make_job: Maker) -> None:
    policy = Scripted((0, {"a": block(0, 2)}), (10, {"a": block(2, 2)}))
    (job,) = simulate([make_job(iterations=100)], policy, Overhead.constant(5)).jobs
    assert (job.reshapes, job.migrations, job.last_reshape) == (0, 0, -math.inf)
    assert job.finished == 5 + 100 / 2
    (share,) = job.held_shares
    assert share.places == ((0, Block("gpu", ("n1",), 2)), (10, Block("gpu", ("n1",), 2, 2)))


def test_whole_nodes_behind_the_old_ones_are_a_growth(make_job: Maker) -> None:
    wide = Grant(8, Block("gpu", ("n1", "n2"), 4))
    policy = Scripted((0, {"a": block(0, 4)}), (10, {"a": wide}))
    spec = make_job(iterations=120, sizes=(4, 8))
    (job,) = simulate([spec], policy, replace(Overhead.constant(50), start=0, grow=3)).jobs
    assert job.finished == 10 + 3 + (120 - 40) / 8


def test_giving_up_whole_nodes_is_a_shrink(make_job: Maker) -> None:
    wide = Grant(8, Block("gpu", ("n1", "n2"), 4))
    policy = Scripted((0, {"a": wide}), (10, {"a": block(0, 4)}))
    spec = make_job(iterations=120, sizes=(4, 8))
    (job,) = simulate([spec], policy, replace(Overhead.constant(50), start=0, shrink=3)).jobs
    assert job.finished == 10 + 3 + (120 - 80) / 4


def test_nothing_changes_when_the_same_is_given_again(make_job: Maker) -> None:
    policy = Scripted((0, {"a": block(0, 2)}), (10, {"a": block(0, 2)}))
    (job,) = simulate([make_job(iterations=100)], policy, Overhead.constant(5)).jobs
    assert (job.reshapes, job.finished) == (0, 55)


def test_a_completion_frees_its_gpus_before_an_arrival_of_the_same_moment(make_job: Maker) -> None:
    jobs = [make_job("a", iterations=40), make_job("b", submitted=10)]
    policy = Scripted((0, {"a": Grant(4)}), (10, {"b": Grant(4)}))
    first, second = simulate(jobs, policy, nodes=1).jobs
    assert (first.finished, second.finished) == (10, 35)
    assert policy.asked == [0, 10, 35]
    assert policy.seen == [("a",), ("b",), ()]


def test_arrivals_of_one_moment_are_one_round(make_job: Maker) -> None:
    jobs = [make_job(name, submitted=7) for name in "xyz"]
    policy = Scripted((0, {name: Grant(1) for name in "xyz"}))
    simulate(jobs, policy)
    assert policy.seen[0] == ("x", "y", "z")
    assert len(policy.asked) == 2


def test_what_never_runs_stays_unfinished(make_job: Maker) -> None:
    (job,) = simulate([make_job()], Scripted((0, {}))).jobs
    assert job.finished is None
    assert job.held_shares == []


def test_progress_counts_every_job_once(make_job: Maker) -> None:
    jobs = [make_job("a"), make_job("b"), make_job("never")]
    heard: list[int] = []
    policy = Scripted((0, {"a": Grant(1), "b": Grant(2)}))
    Engine(
        make_trace("t", jobs), ClusterSetup(uniform(2, 4)), policy, on_done=heard.append
    ).simulate()
    assert sum(heard) == 3


def planned(*reservations: tuple[float, float, int]) -> Grant:
    schedule = tuple(Reservation(start, end, gpus, "gpu") for start, end, gpus in reservations)
    return Grant(4, schedule=schedule)


def test_plans_in_hand_that_do_not_fit_together_are_caught(make_job: Maker) -> None:
    plans = {"a": planned((0, 10, 4), (20, 30, 4)), "b": planned((0, 20, 4), (25, 30, 8))}
    with pytest.raises(InvariantError, match="the plans in hand need 12 GPUs at 25"):
        simulate([make_job("a"), make_job("b")], Scripted((0, plans)))
    plans["b"] = planned((0, 20, 4), (30, 35, 8))
    simulate([make_job("a"), make_job("b")], Scripted((0, plans)))


def test_a_promise_planned_to_break_is_caught(make_job: Maker) -> None:
    judge = Judge({"a": Outcome.PROMISED}, schedule=(Reservation(0, 30, 1, "gpu"),))
    with pytest.raises(InvariantError, match=r"job a is planned to end 5 s late"):
        simulate([make_job("a", deadline=25)], judge)


@pytest.mark.parametrize(
    ("grants", "message"),
    [
        ({"a": Grant(4), "b": Grant(4), "c": Grant(4)}, "12 GPUs given out, the cluster has 8"),
        ({"a": block(0, 4), "b": block(0, 2)}, "jobs a and b share GPU 0 of n1"),
        ({"a": Grant(4, Block("gpu", ("n1",), 2))}, "4 GPUs in"),
        ({"a": Grant(4, Block("gpu", ("n7",), 4))}, "nodes that the cluster has not"),
        ({"a": Grant(2, Block("gpu", ("n2", "n1"), 1))}, "not on an aligned run"),
        ({"a": Grant(2, Block("gpu", ("n1", "n2"), 1))}, "without filling them"),
        ({"a": Grant(4, Block("gpu", ("n1",), 4, 4))}, "reaches beyond its node"),
        ({"a": Grant(8, Block("gpu", ("n1", "n2"), 4))}, "cannot run on 8 GPUs"),
    ],
)
def test_impossible_answers_are_caught(
    make_job: Maker, grants: Mapping[str, Grant], message: str
) -> None:
    with pytest.raises(InvariantError, match=message):
        simulate([make_job(name) for name in "abc"], Scripted((0, grants)))


def test_idle_gpus_are_caught_where_a_policy_promises_to_use_them(make_job: Maker) -> None:
    policy = Scripted((0, {"a": Grant(4)}))
    policy.work_conserving = True
    with pytest.raises(InvariantError, match="job b waits for 1 GPUs while 4 are idle"):
        simulate([make_job("a"), make_job("b")], policy)


class Judge(Scripted):
    """Answers every round with the same verdicts."""

    judges = True

    def __init__(
        self,
        verdicts: Mapping[str, Outcome],
        next_change: float = math.inf,
        schedule: Schedule = (),
    ) -> None:
        super().__init__()
        self._verdicts = verdicts
        self._next = next_change
        self._schedule = schedule

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:  # noqa: ARG002
        grants = {job.spec.id: Grant(1, schedule=self._schedule) for job in jobs}
        return Round(grants, self._verdicts, self._next)


def test_no_job_is_judged_after_its_admission(make_job: Maker) -> None:
    with pytest.raises(InvariantError, match="judges a, which was judged before"):
        simulate([make_job("a")], Judge({"a": Outcome.PROMISED}, next_change=1.0))


def test_a_policy_cannot_ask_for_the_past(make_job: Maker) -> None:
    with pytest.raises(InvariantError, match="asks to be called again at -1"):
        simulate([make_job("a")], Judge({}, next_change=-1.0))


def test_gpus_without_admission_are_caught(make_job: Maker) -> None:
    jobs = [make_job("a", submitted=1)]
    with pytest.raises(InvariantError, match="job a holds GPUs and is waitlisted"):
        simulate(jobs, Judge({"a": Outcome.WAITLISTED}))


def test_gpus_for_a_rejected_job_are_caught(make_job: Maker) -> None:
    jobs = [make_job("a", submitted=1)]
    with pytest.raises(InvariantError, match=r"grants GPUs to \['a'\], which are not there"):
        simulate(jobs, Judge({"a": Outcome.REJECTED}))
