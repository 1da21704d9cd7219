"""What the daemon makes of what it sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.contract import Launch, LaunchState, Phase
from ef_slurm.daemon.observe.ends import MAX_UNBEGUN_STARTS, on_missing
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.transition import Transition
from ef_slurm.daemon.observe.transitions import derive_transition
from ef_slurm.model import (
    PUT_BACK,
    EventKind,
    Fault,
    HeldBy,
    Intent,
    IntentAction,
    IntentState,
    JobState,
    Json,
    PromiseOutcome,
    PromiseState,
    QueueJob,
    Running,
)
from ef_slurm.slurm.pending import BOOTED
from ef_slurm.slurm.types import OWNER_RELEASED, HoldKind, JobBaseState
from tests.unit.daemon.make import (
    NOW,
    TWO_NODES,
    launch,
    pending,
    progress,
    row,
    running,
    slurm_job,
)

HELD = Running(TWO_NODES, NOW - 100.0, NOW - 70.0)


def transition(
    job: QueueJob, status: JobStatus, intent: Intent | None = None, **options: object
) -> Transition:
    lost = options.get("lost", ())
    assert isinstance(lost, tuple)
    return derive_transition(
        job, status, intent, NOW, ours=HoldKind.ADMIN, seen_at=NOW, lost_nodes=lost
    )


def outcome(transition: Transition) -> tuple[PromiseOutcome, Fault | None] | None:
    settled = transition.settled
    return None if settled is None else (settled.outcome, settled.fault)


def release(
    state: IntentState = IntentState.EXECUTED, restarts: int = 0, booted: str = ""
) -> Intent:
    arguments: dict[str, Json] = {"restarts": restarts, BOOTED: booted}
    return Intent(1, 1, 1, IntentAction.RELEASE, arguments, state, NOW - 2, NOW - 2)


def requeue(state: IntentState, restarts: int = 0) -> Intent:
    arguments: dict[str, Json] = {"restarts": restarts}
    return Intent(1, 1, 1, IntentAction.REQUEUE, arguments, state, NOW - 2, NOW - 2)


def ended(state: JobBaseState, **reports: object) -> JobStatus:
    job = slurm_job(state, exit_code=1, end_time=NOW - 1.0)
    values = {"launch": launch(), "progress": progress(), **reports}
    return JobStatus(job, JobReports(**values))  # type: ignore[arg-type]


def never_began(
    restarts: int, *, said: Launch | None = None, end_time: float | None = NOW - 7.0
) -> JobStatus:
    """What a node makes of a job that starts there in the second in which its last run ended."""
    job = slurm_job(
        JobBaseState.FAILED,
        exit_code=1,
        restarts=restarts,
        start_time=NOW - 8.0,
        end_time=end_time,
    )
    earlier = launch(LaunchState.INTERRUPTED, restart_count=1)
    return JobStatus(job, JobReports(said or earlier))


class TestProgress:
    def test_reports_become_the_row(self) -> None:
        job = transition(row(running=HELD), running(TWO_NODES)).job
        assert (job.iteration, job.rate, job.checkpoint_iteration) == (500.0, 10.0, 400.0)
        assert job.first_started_at == NOW - 100.0

    def test_it_trains_from_its_first_iteration_on(self) -> None:
        starting = row(JobState.STARTING, running=HELD)
        result = running(TWO_NODES, progress=progress(first_iteration_at=None))
        assert transition(starting, result).to is None
        assert transition(starting, running(TWO_NODES)).to is JobState.RUNNING

    def test_a_report_of_an_older_launch_says_nothing(self) -> None:
        old = running(TWO_NODES, launch=launch(generation=2), progress=progress(iteration=900))
        assert transition(row(running=HELD, iteration=700.0), old).job.iteration == 700.0

    def test_what_is_in_no_checkpoint_is_gone_when_it_stops(self) -> None:
        status = replace(pending(), reports=JobReports(launch(), progress(), None))
        job = transition(row(JobState.PAUSED, iteration=500.0), status).job
        assert job.iteration == 400.0


class TestBehindOurBack:
    def test_a_lost_node_is_named(self) -> None:
        result = transition(
            row(running=HELD), pending(restarts=1, hold=HoldKind.NONE), lost=("n2",)
        )
        assert result.to is JobState.ADMITTED or result.to is JobState.PAUSED
        assert result.job.running is None
        assert result.replan
        assert result.entries[0].kind is EventKind.NODE
        assert "n2" in result.entries[0].message

    @pytest.mark.parametrize(
        ("state", "restart_count", "others"),
        [
            (LaunchState.RUNNING, 0, True),
            (LaunchState.INTERRUPTED, 0, True),
            (LaunchState.FAILED, 0, False),  # Slurm requeues it for its exit code
            (LaunchState.FAILED, 5, True),  # of an earlier run
        ],
    )
    def test_whose_doing_it_is_that_it_was_put_back(
        self, state: LaunchState, restart_count: int, others: bool
    ) -> None:
        restarts = 1 if restart_count == 0 else restart_count + 2
        told = launch(state, restart_count=restart_count)
        status = replace(
            pending(restarts=restarts, hold=HoldKind.NONE), reports=JobReports(told, None, None)
        )
        result = transition(row(running=HELD), status)
        assert result.why.startswith("requeued in Slurm, not by ef-slurm")
        assert result.entries[0].data[PUT_BACK] is others

    def test_the_owners_hold_takes_it_out_of_the_plan(self) -> None:
        result = transition(row(running=HELD), pending(restarts=1, hold=HoldKind.USER))
        assert result.to is JobState.HELD
        assert result.actor_is_owner
        assert outcome(result) == (PromiseOutcome.VOID, Fault.OWNER)

    def test_an_operators_hold_too(self) -> None:
        job = row(running=HELD, promise=PromiseState.SAFE)
        result = transition(job, pending(restarts=1, hold=HoldKind.ADMIN))
        assert (result.to, result.actor_is_owner) == (JobState.HELD, False)
        assert result.why == "held in Slurm by an operator"
        assert result.settled is None  # released early enough it may still be in time
        assert result.job.promise is PromiseState.AT_RISK
        assert "promise at risk: held in Slurm by an operator" in [
            e.message for e in result.entries
        ]

    def test_a_hold_of_slurms_own_is_put_back_in_its_words(self) -> None:
        status = pending(restarts=1, hold=HoldKind.SLURM, reason="JobHoldMaxRequeue")
        result = transition(row(running=HELD, first_started_at=NOW - 500), status)
        assert result.to is JobState.PAUSED
        assert "JobHoldMaxRequeue" in result.why

    def test_what_we_released_and_slurm_holds_is_left_to_the_next_step(self) -> None:
        job = row(JobState.STARTING, running=HELD)
        for hold in (HoldKind.SLURM, HoldKind.UNKNOWN):
            assert transition(job, pending(hold=hold), release()).to is None

    def test_where_the_daemon_holds_as_the_owner_an_operators_hold_is_seen_at_once(self) -> None:
        for state in (JobState.NEW, JobState.WAITLISTED, JobState.ADMITTED, JobState.PAUSED):
            result = derive_transition(
                row(state), pending(), None, NOW, ours=HoldKind.USER, seen_at=NOW
            )
            assert result.to is JobState.HELD
            assert transition(row(state), pending()).to is None

    def test_a_run_that_slurm_has_forgotten_is_nobodys_hold(self) -> None:
        for hold in HoldKind:
            status = replace(pending(hold=hold), reports=JobReports(launch()))
            result = transition(row(running=HELD, first_started_at=NOW - 500), status)
            assert result.to is JobState.PAUSED
            assert "forgotten" in result.why
            assert result.settled is None

    @pytest.mark.parametrize("state", [IntentState.EXECUTED, IntentState.CLOSED])
    def test_a_release_that_slurmctld_has_lost_is_nobodys_hold(self, state: IntentState) -> None:
        job = row(JobState.STARTING, running=HELD)
        for hold in set(HoldKind) - {HoldKind.NONE}:
            status = replace(pending(hold=hold), booted="tuesday")
            result = transition(job, status, release(state, booted="monday"))
            assert result.to is JobState.ADMITTED
            assert "forgotten that it was released" in result.why
            assert result.forgotten
            assert result.settled is None

    def test_the_same_slurmctld_tells_of_somebodys_hold(self) -> None:
        status = replace(pending(hold=HoldKind.ADMIN), booted="monday")
        job = row(JobState.STARTING, running=HELD)
        assert transition(job, status, release(booted="monday")).to is JobState.HELD

    def test_a_release_that_was_not_lost_is_waited_for(self) -> None:
        status = replace(pending(hold=HoldKind.NONE), booted="tuesday")
        job = row(JobState.STARTING, running=HELD)
        assert transition(job, status, release(booted="monday")).to is None
        # Its run was seen: it pends again as it did before, and Slurm will start it twice.
        seen = release(IntentState.CLOSED, booted="monday")
        result = transition(job, status, seen)
        assert (result.to, result.forgotten) == (JobState.ADMITTED, True)

    def test_our_own_release_is_no_requeue(self) -> None:
        job = row(JobState.STARTING, running=HELD)
        assert transition(job, pending(hold=HoldKind.NONE), release()).to is None
        assert transition(job, pending(hold=HoldKind.ADMIN), release(IntentState.OPEN)).to is None

    def test_a_second_requeue_while_it_starts_is_noticed(self) -> None:
        job = row(JobState.STARTING, running=HELD, first_started_at=NOW - 500)
        result = transition(job, pending(hold=HoldKind.NONE, restarts=1), release(restarts=0))
        assert result.to is JobState.PAUSED

    def test_our_own_requeue_is_none_of_theirs(self) -> None:
        assert transition(row(JobState.STOPPING, running=HELD), pending(restarts=1)).to is None

    def test_it_is_launched_again_on_nodes_that_it_has(self) -> None:
        said = launch(generation=2, nodes="n2,n9 as an operator wishes," + "x" * 60_000)
        status = running(TWO_NODES, launch=said, progress=None)
        result = transition(row(JobState.STOPPING, running=HELD), status)
        assert (result.to, result.why) == (JobState.STARTING, "launched again on n2")

    def test_without_a_block_to_go_to_it_is_paused(self) -> None:
        assert transition(row(JobState.STOPPING), pending(restarts=1)).to is JobState.PAUSED

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (JobState.NEW, JobState.NEW),
            (JobState.WAITLISTED, JobState.WAITLISTED),
            (JobState.RUNNING, JobState.NEW),  # its promise is void: judged anew
        ],
    )
    def test_released_again_it_goes_back(self, before: JobState, after: JobState) -> None:
        held = row(JobState.HELD, held_from=before, first_started_at=NOW - 500)
        assert transition(held, pending(hold=HoldKind.USER)).to is None
        assert transition(held, pending(hold=HoldKind.NONE)).to is after

    def test_a_promise_that_survived_a_hold_stands(self) -> None:
        held = row(
            JobState.HELD,
            held_from=JobState.RUNNING,
            first_started_at=NOW - 500,
            promise=PromiseState.AT_RISK,
        )
        assert transition(held, pending(hold=HoldKind.NONE)).to is JobState.PAUSED

    def test_an_owners_release_may_come_as_a_comment(self) -> None:
        held = row(
            JobState.HELD,
            held_from=JobState.RUNNING,
            held_by=HeldBy.OWNER,
            first_started_at=NOW - 500,
        )
        status = pending(hold=HoldKind.USER)
        asked = replace(status.slurm.requested, comment=OWNER_RELEASED)
        result = replace(status, slurm=replace(status.slurm, requested=asked))
        assert transition(held, result).to is JobState.NEW


class TestEnds:
    def test_in_time(self) -> None:
        finished = launch(LaunchState.FINISHED)
        last = progress(Phase.FINISHED, iteration=10_000)
        status = ended(JobBaseState.COMPLETED, launch=finished, progress=last)
        result = transition(row(running=HELD), status)
        assert (result.to, outcome(result)) == (JobState.COMPLETED, (PromiseOutcome.KEPT, None))
        assert result.ended_at == NOW - 1.0
        assert result.job.iteration == 10_000

    def test_finished_early_as_its_script_wanted(self) -> None:
        words = "finished early at iteration 600: good enough"
        last = progress(Phase.FINISHED, iteration=600, message=words)
        status = ended(JobBaseState.COMPLETED, launch=launch(LaunchState.FINISHED), progress=last)
        result = transition(row(running=HELD), status)
        assert (result.to, outcome(result)) == (JobState.COMPLETED, (PromiseOutcome.KEPT, None))
        assert (result.job.iteration, result.job.note, result.why) == (600, words, words)

    def test_left_early_without_a_word(self) -> None:
        """Its exit code is 0, and nobody was promised the rest in vain."""
        last = progress(Phase.RUNNING, iteration=600)
        status = ended(JobBaseState.COMPLETED, launch=launch(LaunchState.FINISHED), progress=last)
        result = transition(row(running=HELD), status)
        assert (result.to, result.job.iteration) == (JobState.COMPLETED, 600)
        assert outcome(result) == (PromiseOutcome.VOID, Fault.JOB)
        assert "left its loop at iteration 600 of 10000" in result.why

    def test_what_reports_nothing_is_believed_by_its_exit_code(self) -> None:
        finished = launch(LaunchState.FINISHED)
        status = ended(JobBaseState.COMPLETED, launch=finished, progress=None)
        result = transition(row(running=HELD), status)
        assert (result.to, result.job.iteration) == (JobState.COMPLETED, 10_000)
        assert "never reported progress" in result.job.note
        once = replace(row(running=HELD), progress_at=NOW - 100.0)
        assert transition(once, status).job.note == ""

    def test_late_and_in_its_grace(self) -> None:
        finished = ended(
            JobBaseState.COMPLETED,
            launch=launch(LaunchState.FINISHED),
            progress=progress(Phase.FINISHED, iteration=10_000),
        )
        job = row(running=HELD)
        late = replace(job, request=replace(job.request, deadline=NOW - 60.0))
        assert outcome(transition(late, finished)) == (PromiseOutcome.BROKEN, Fault.EF_SLURM)
        graceful = replace(late, request=replace(late.request, grace=120.0))
        assert outcome(transition(graceful, finished)) == (PromiseOutcome.KEPT_IN_GRACE, None)

    def test_cancelled(self) -> None:
        result = transition(row(running=HELD), ended(JobBaseState.CANCELLED))
        assert result.to is JobState.CANCELLED
        assert outcome(result) == (PromiseOutcome.VOID, Fault.OWNER)

    def test_failed_by_its_own_word(self) -> None:
        failed = ended(
            JobBaseState.FAILED,
            launch=launch(LaunchState.FAILED),
            progress=progress(Phase.FAILED, message="no such file"),
        )
        result = transition(row(running=HELD), failed)
        assert (result.to, result.job.note) == (JobState.FAILED, "no such file")
        assert outcome(result) == (PromiseOutcome.VOID, Fault.JOB)

    @pytest.mark.parametrize("late", [0.0, 60.0])
    def test_when_it_ended_is_for_slurm_to_say(self, late: float) -> None:
        """The daemon's clock may be behind, and show a moment at which there was time left."""
        job = row(running=HELD)
        assert job.request.deadline is not None
        at = job.request.deadline + late
        assert at > NOW
        slurm = slurm_job(JobBaseState.COMPLETED, exit_code=0, end_time=at)
        done = progress(Phase.FINISHED, iteration=10_000)
        status = JobStatus(slurm, JobReports(launch(LaunchState.FINISHED), done))
        result = transition(job, status)
        assert (result.to, result.ended_at) == (JobState.COMPLETED, at)
        assert result.settled is not None
        assert result.settled.outcome is (PromiseOutcome.BROKEN if late else PromiseOutcome.KEPT)

    def test_a_script_that_dies_is_tried_three_times(self) -> None:
        job = row(running=HELD, first_started_at=NOW - 500)
        for times in (1, 2):
            result = transition(job, ended(JobBaseState.FAILED, progress=None))
            assert (result.to, result.job.failed_starts) == (JobState.PAUSED, times)
            again = transition(
                replace(result.job, state=JobState.PAUSED), ended(JobBaseState.FAILED)
            )
            assert again.to is None
            job = replace(result.job, state=JobState.RUNNING, running=HELD)
        assert transition(job, ended(JobBaseState.FAILED, progress=None)).to is JobState.FAILED

    @pytest.mark.parametrize(
        "state", [IntentState.EXECUTED, IntentState.VERIFIED, IntentState.CLOSED]
    )
    @pytest.mark.parametrize("end", [JobBaseState.FAILED, JobBaseState.COMPLETED])
    def test_a_requeue_that_slurmctld_has_lost_is_no_failed_start(
        self, state: IntentState, end: JobBaseState
    ) -> None:
        job = row(JobState.STOPPING, failed_starts=2, first_started_at=NOW - 500)
        status = ended(end, launch=launch(LaunchState.WAITING), progress=None)
        result = transition(job, status, requeue(state))
        assert result.to is JobState.PAUSED
        assert "our requeue" in result.why
        assert result.job.failed_starts == 2

    def test_a_run_that_fails_because_slurmctld_had_forgotten_it_is_no_failed_start(self) -> None:
        job = row(JobState.STARTING, failed_starts=2, first_started_at=NOW - 500)
        released = release(IntentState.EXECUTED, booted="monday")
        for booted, starts in (("monday", 3), ("tuesday", 2)):
            status = replace(ended(JobBaseState.FAILED, progress=None), booted=booted)
            result = transition(job, status, released)
            assert result.job.failed_starts == starts
            assert result.to is (JobState.PAUSED if starts == 2 else JobState.FAILED)

    @pytest.mark.parametrize("before", [release(restarts=1), requeue(IntentState.CLOSED, 1)])
    def test_a_run_of_others_that_never_began_is_no_failed_start(self, before: Intent) -> None:
        """Put back and started by hand within a second, it is refused by its node."""
        job = row(failed_starts=2, first_started_at=NOW - 500, running=HELD)
        refused = never_began(restarts=2)
        for state in (JobState.STARTING, JobState.RUNNING, JobState.STOPPING):
            result = transition(replace(job, state=state), refused, before)
            assert (result.to, result.job.failed_starts) == (JobState.PAUSED, 2)
            assert "before its script began" in result.why
            assert result.why in result.entries[0].message

    @pytest.mark.parametrize(
        ("before", "refused"),
        [
            (release(restarts=2), {}),  # ours: whoever does nothing can fail so again and again
            (None, {}),
            (release(restarts=1), {"end_time": NOW + 3.0}),
            (release(restarts=1), {"end_time": None}),
            (release(restarts=1), {"said": launch(restart_count=2)}),
        ],
    )
    def test_whatever_else_ends_before_the_training_is_one(
        self, before: Intent | None, refused: dict[str, Any]
    ) -> None:
        job = row(failed_starts=2, running=HELD)
        status = never_began(restarts=2, **refused)
        assert transition(job, status, before).to is JobState.FAILED

    @pytest.mark.parametrize("state", [JobBaseState.FAILED, JobBaseState.BOOT_FAIL])
    def test_so_many_that_never_began_in_a_row_and_no_more(self, state: JobBaseState) -> None:
        job = row(JobState.STARTING, running=HELD, promise=PromiseState.SAFE)
        refused = never_began(restarts=2)
        refused = replace(refused, slurm=replace(refused.slurm, state=state))
        for starts in range(1, MAX_UNBEGUN_STARTS):
            result = transition(job, refused, release(restarts=1))
            assert (result.to, result.job.unbegun_starts) == (JobState.ADMITTED, starts)
            job = replace(result.job, state=JobState.STARTING, running=HELD)
        result = transition(job, refused, release(restarts=1))
        assert (result.to, result.job.failed_starts) == (JobState.FAILED, 0)
        assert outcome(result) == (PromiseOutcome.BROKEN, Fault.CLUSTER)
        assert f"{MAX_UNBEGUN_STARTS} times in a row, and its script never began" in result.why
        assert result.job.note == result.why

    def test_one_that_began_clears_the_count(self) -> None:
        before = row(JobState.STARTING, running=HELD, unbegun_starts=MAX_UNBEGUN_STARTS - 1)
        status = running(TWO_NODES, progress=None)
        assert transition(before, status).job.unbegun_starts == 0
        silent = replace(status, reports=JobReports())
        assert transition(before, silent).job.unbegun_starts == MAX_UNBEGUN_STARTS - 1

    @pytest.mark.parametrize(
        ("state", "said", "counts"),
        [
            (JobState.STARTING, None, True),
            (JobState.STARTING, launch(LaunchState.INTERRUPTED, restart_count=3), True),
            (JobState.STARTING, launch(LaunchState.INTERRUPTED, restart_count=4), False),
            (JobState.RUNNING, None, False),  # its reports cannot be read just now
        ],
    )
    def test_slurm_may_put_it_back_instead(
        self, state: JobState, said: Launch | None, counts: bool
    ) -> None:
        job = row(state, running=HELD, unbegun_starts=MAX_UNBEGUN_STARTS - 2)
        back = pending(restarts=5, hold=HoldKind.SLURM, reason="launch failed requeued held")
        status = replace(back, reports=JobReports(said))
        result = transition(job, status, release(restarts=4))
        assert result.to in (JobState.ADMITTED, JobState.PAUSED)
        again = replace(result.job, state=state, running=HELD)
        result = transition(again, status, release(restarts=4))
        assert (result.to is JobState.FAILED) is counts

    def test_what_was_requeued_long_ago_may_fail(self) -> None:
        for before in (requeue(IntentState.CLOSED, restarts=7), requeue(IntentState.ABANDONED)):
            job = row(JobState.RUNNING, failed_starts=2)
            status = ended(JobBaseState.FAILED, progress=None)
            assert transition(job, status, before).to is JobState.FAILED

    def test_a_newer_checkpoint_clears_the_count(self) -> None:
        job = transition(row(running=HELD, failed_starts=2), running(TWO_NODES)).job
        assert job.failed_starts == 0

    def test_a_node_failure_is_not_its_fault(self) -> None:
        result = transition(row(running=HELD, failed_starts=2), ended(JobBaseState.NODE_FAIL))
        assert result.to in (JobState.PAUSED, JobState.ADMITTED)

    def test_a_script_that_could_not_write_its_last_word_has_completed(self) -> None:
        """Its disk was full at that moment; that the training had finished stood there already."""
        last = progress(Phase.FINISHED, iteration=10_000)
        status = ended(JobBaseState.COMPLETED, progress=last)
        result = transition(row(running=HELD), status)
        assert result.to is JobState.COMPLETED
        assert outcome(result) != (PromiseOutcome.VOID, Fault.JOB)

    def test_a_completed_script_without_a_finished_training_goes_on(self) -> None:
        result = transition(row(running=HELD), ended(JobBaseState.COMPLETED))
        assert result.to in (JobState.PAUSED, JobState.ADMITTED)

    def test_an_unknown_state_is_never_final(self) -> None:
        assert transition(row(running=HELD), JobStatus(slurm_job(JobBaseState.UNKNOWN))).to is None


def test_what_slurm_forgot_is_known_from_its_last_word() -> None:
    job = row(running=HELD)
    assert on_missing(job, JobReports(launch(LaunchState.FINISHED)), NOW).to is JobState.COMPLETED
    assert on_missing(job, JobReports(launch(LaunchState.FAILED)), NOW).to is JobState.FAILED
    lost = on_missing(job, JobReports(launch(), progress()), NOW)
    assert (lost.to, lost.settled) == (JobState.LOST, None)  # it may be submitted again
    assert "iteration 400" in lost.job.note
