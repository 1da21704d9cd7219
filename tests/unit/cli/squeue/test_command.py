"""ef-squeue: which jobs it shows, in which order, and how it ends."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from ef_slurm.api.messages import MOST_JOB_IDS, ListJobs, Request, Response
from ef_slurm.cli.squeue import command
from ef_slurm.cli.squeue.choice import Choice, SortKey, in_order, parse_sort, parse_users
from ef_slurm.cli.squeue.columns import COLUMNS, Look
from ef_slurm.cli.squeue.listing import look_at
from ef_slurm.model import JobList, JobState, JobView, Measuring
from ef_slurm.siteconfig.tables import SiteConfig

NOW = 1_700_000_000.0
Make = Callable[..., JobView]
Run = Callable[..., tuple[int, str, str]]
MEASURED = Measuring(NOW, "gpu", (4,), ((1, 2.5),), seconds=40.0)


@dataclass
class Queue:
    """A daemon with some jobs, which picks by user, state and id as the real one does."""

    jobs: list[JobView] = field(default_factory=list)
    asked: list[ListJobs] = field(default_factory=list)

    def ask(self, request: Request) -> Response:
        assert isinstance(request, ListJobs)
        self.asked.append(request)
        return JobList(NOW, tuple(job for job in self.jobs if self._picks(request, job)))

    def _picks(self, request: ListJobs, job: JobView) -> bool:
        if request.job_ids and job.job_id not in request.job_ids:
            return False
        if request.users and job.owner not in request.users:
            return False
        return not request.states or job.state in request.states

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def queue(job: Make) -> Queue:
    return Queue(
        [
            job(job_id=1, name="b", owner="alice", account="nlp", nodes=("n1", "n2")),
            job(job_id=2, name="a", owner="bob", account="vision", nodes=("n3",), deadline=NOW),
            job(job_id=3, name="C", owner="bob", account="", share=0, nodes=(), deadline=None,
                state=JobState.PAUSED, started=None, schedule=()),
            job(job_id=4, name="d", owner="alice", partition="old", state=JobState.FAILED,
                ended=NOW, nodes=(), share=0),
        ]
    )  # fmt: skip


@pytest.fixture
def run(queue: Queue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(command, "connect", lambda *_: queue)
    monkeypatch.setattr(command, "configuration", lambda _: SiteConfig())
    monkeypatch.setattr(command, "_all_nodes", lambda _: frozenset({"n1", "n2", "n3", "n4"}))
    for name in ("FORMAT", "FORMAT2", "SORT", "STATES", "USERS", "ACCOUNT", "PARTITION", "NAMES"):
        monkeypatch.delenv(f"EF_SQUEUE_{name}", raising=False)

    def started(*words: str, **variables: str) -> tuple[int, str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["ef-squeue", *words])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return started


def ids(shown: tuple[int, str, str]) -> list[int]:
    assert shown[0] == 0, shown[2]
    return [int(line) for line in shown[1].split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("-A nlp", [1, 4]),
        ("-A nlp,vision", [1, 2, 4]),
        ("--account=vision -A nlp", [1, 2, 4]),
        ("-p ef", [1, 2, 3]),
        ("-p old,ef -A vision", [2]),
        ("-n a,C", [2, 3]),
        ("--name=c", []),
        ("-w n2", [1]),
        ("-w n[2-3]", [1, 2]),
        ("-w n4", []),
        ("-u alice", [1, 4]),
        ("-t paused,F", [3, 4]),
        ("-j 3,1 -t pd", [3]),
        ("-j 3,1,3", [1, 3]),
        ("--start", [3]),
        ("--start -t all", [3]),
        ("-S -jobid", [4, 3, 2, 1]),
        ("-S E,-i", [2, 4, 1, 3]),
        ("-S -deadline,i", [1, 4, 2, 3]),
        ("-S +name", [2, 1, 3, 4]),
        ("-S -j", [4, 3, 1, 2]),
        ("-S T,-i", [2, 1, 3, 4]),
    ],
)  # fmt: skip
def test_which_jobs_and_in_which_order(run: Run, words: str, expected: list[int]) -> None:
    assert ids(run("-h", "-o", "%i", *words.split())) == expected


def test_me_and_users_by_uid(run: Run, queue: Queue, job: Make) -> None:
    queue.jobs.append(job(job_id=9, owner=getpass.getuser()))
    assert ids(run("-h", "-o", "%i", "--me")) == [9]
    assert ids(run("-h", "-o", "%i", "--me", "-u", "bob")) == [2, 3, 9]
    assert parse_users(["0", "bob"]) == {"root", "bob"}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("-j 7", 1, "7: no such job in ef-slurm's queue"),
        ("-j 1,7,8", 1, "8: no such job in ef-slurm's queue"),
        ("-j x", 2, "'x' is no job id"),
        ("-j 1,,2", 2, "'' is no job id"),
        ("-u nobody-such", 1, "'nobody-such': no such user"),
        ("-u 4242424", 1, "'4242424': no such user"),
        ("-p gone", 1, "'gone': ef-slurm schedules partition ef"),
        ("-t gone", 2, "--states: 'gone' is no state"),
        ("-t pd,", 0, ""),
        ("-S nope", 2, "--sort: 'nope' is no column"),
        ("-S i,", 2, "--sort: '' is no column"),
        ("-S --i", 2, "--sort: '--i' is no column"),
        ("-o %y", 2, "--format: %y is not known"),
        ("-o %i%", 2, "--format: % is not known"),
        ("-O nope", 2, "--Format: 'nope' is not known"),
        ("-O jobid -o %i", 2, "give one"),
        ("-w n[", 2, "--nodelist: "),
        ("-w n[3-5]", 1, "'n5': no such node"),
        ("--start -t R,CD", 2, "--start shows jobs that wait"),
        ("-u ,", 2, "was given nothing"),
        ("-i x", 2, "--iterate: "),
        ("-i 0", 2, "--iterate: "),
        ("-i 1 --watch", 2, "give one of them"),
        ("--nope", 2, "--nope"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(run: Run, words: str, code: int, told: str) -> None:
    ended, _, err = run(*words.split())
    assert ended == code
    assert told in err
    assert not told or err.startswith("ef-squeue: error: ")


def test_the_jobs_that_are_there_are_shown_beside_an_error(run: Run) -> None:
    code, out, err = run("-h", "-o", "%i", "-j", "2,7")
    assert (code, out) == (1, "2\n")
    assert "7: no such job" in err
    code, out, _ = run("--json", "-j", "2,7")
    assert code == 1
    assert [one["job_id"] for one in json.loads(out)["jobs"]] == [2]


def test_many_ids_are_asked_for_in_parts(run: Run, queue: Queue) -> None:
    code, *_ = run("-j", ",".join(map(str, range(1, 2 * MOST_JOB_IDS))))
    assert code == 1
    assert [len(one.job_ids) for one in queue.asked] == [MOST_JOB_IDS, MOST_JOB_IDS - 1]


def test_jobs_that_are_measured_can_be_asked_for(job: Make) -> None:
    choice = Choice(measuring=True, states=frozenset({JobState.PAUSED}))
    assert choice.takes(job(measuring=MEASURED))
    assert choice.takes(job(state=JobState.PAUSED))
    assert not choice.takes(job())
    assert Choice().takes(job())
    (request,) = choice.requests()
    assert JobState.RUNNING in request.states
    assert JobState.FAILED not in request.states


@pytest.mark.parametrize(
    ("variables", "words", "expected"),
    [
        ({"EF_SQUEUE_FORMAT": "%j"}, "-h -j 1", "b\n"),
        ({"EF_SQUEUE_FORMAT2": "name"}, "-h -j 1", "b\n"),
        ({"EF_SQUEUE_FORMAT": "%j", "EF_SQUEUE_FORMAT2": "jobid"}, "-h -j 1", "b\n"),
        ({"EF_SQUEUE_FORMAT": "%j"}, "-h -j 1 -o %i", "1\n"),
        ({"EF_SQUEUE_FORMAT": "%j"}, "-h -j 1 -O jobid", "1\n"),
        ({"EF_SQUEUE_FORMAT2": "name"}, "-h -j 1 -o %i", "1\n"),
        ({"EF_SQUEUE_SORT": "-i"}, "-h -o %i", "4\n3\n2\n1\n"),
        ({"EF_SQUEUE_STATES": "PD,F"}, "-h -o %i", "3\n4\n"),
        ({"EF_SQUEUE_STATES": "PD,F"}, "-h -o %i -t R", "1\n2\n"),
        ({"EF_SQUEUE_USERS": "bob"}, "-h -o %i", "2\n3\n"),
        ({"EF_SQUEUE_ACCOUNT": "vision"}, "-h -o %i", "2\n"),
        ({"EF_SQUEUE_PARTITION": "old"}, "-h -o %i", "4\n"),
        ({"EF_SQUEUE_NAMES": "a,b"}, "-h -o %i", "1\n2\n"),
        ({"SQUEUE_FORMAT": "%y"}, "-h -o %i -j 1", "1\n"),
    ],
)
def test_variables_say_what_the_command_line_does_not(
    run: Run, variables: dict[str, str], words: str, expected: str
) -> None:
    code, out, err = run(*words.split(), **variables)
    assert (code, out) == (0, expected), err


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("EF_SQUEUE_FORMAT", "%y", "EF_SQUEUE_FORMAT: %y is not known"),
        ("EF_SQUEUE_FORMAT2", "nope", "EF_SQUEUE_FORMAT2: 'nope' is not known"),
        ("EF_SQUEUE_SORT", "nope", "EF_SQUEUE_SORT: 'nope' is no column"),
        ("EF_SQUEUE_STATES", "gone", "EF_SQUEUE_STATES: 'gone' is no state"),
    ],
)
def test_a_wrong_variable_is_named(run: Run, name: str, value: str, told: str) -> None:
    code, _, err = run(**{name: value})
    assert code == 2
    assert told in err


@pytest.mark.parametrize(("option", "columns"), [("-l", "ACCOUNT"), ("--start", "START_TIME")])
def test_layouts_that_have_a_name(run: Run, option: str, columns: str) -> None:
    code, out, _ = run(option, EF_SQUEUE_FORMAT="%j")
    assert code == 0
    assert columns in out.splitlines()[0].split()
    assert run(option, "-o", "%j")[1].splitlines()[0] == "NAME"


def test_jobs_are_sorted_by_every_column(job: Make) -> None:
    """Whatever a row holds, it is in the list once."""
    jobs = (
        job(job_id=1),
        job(job_id=2, deadline=float("nan"), rate=None, share=0, nodes=(), started=None),
        job(job_id=3, deadline=None, finish=None, state="no such state", iterations=None),
    )
    look: Look = look_at(JobList(NOW, jobs), bars=False)
    for column in COLUMNS:
        for descending in (False, True):
            ordered = in_order(jobs, [SortKey(column, descending)], look)
            assert {one.job_id for one in ordered} == {1, 2, 3}


def test_sorting_keeps_the_order_of_equals(job: Make) -> None:
    jobs = tuple(job(job_id=number, name="x") for number in (3, 1, 2))
    look = look_at(JobList(NOW, jobs), bars=False)
    for text in ("name", "-name"):
        ordered = in_order(jobs, parse_sort(text, "--sort"), look)
        assert [one.job_id for one in ordered] == [3, 1, 2]


JSON_KEYS = {
    *("account", "deadline", "ended", "exit_code", "finish", "generation", "gpu_type", "grace"),
    *("if_infeasible", "iteration", "iterations", "job_id", "kind", "measuring", "name", "nodes"),
    *("note", "owner", "partition", "progress_at", "promise", "promise_fault", "promise_outcome"),
    *("queue_id", "rate", "reason", "requested_kind", "reshapes", "schedule", "share", "slack"),
    *("started", "state", "state_dir", "submitted", "verdict"),
}
"""Programs read these: keys are added, never taken away or given another meaning."""


def test_json_is_stable(run: Run) -> None:
    code, out, _ = run("--json", "-S", "-i", "-t", "all")
    answer: dict[str, Any] = json.loads(out)
    assert code == 0
    assert answer.keys() == {"now", "jobs"}
    assert [one["job_id"] for one in answer["jobs"]] == [4, 3, 2, 1]
    for one in answer["jobs"]:
        assert one.keys() >= JSON_KEYS
