"""Looks at all jobs: what is read in full, and when."""

import json
import re
from dataclasses import dataclass, field

import pytest

from ef_slurm.slurm.commands.job_looks import FULL_SECONDS, JobLooks
from ef_slurm.slurm.commands.runner import Result
from ef_slurm.slurm.errors import NoSuchJobError, RefusedError, UnexpectedOutputError
from ef_slurm.slurm.types import JobBaseState
from tests.unit.slurm.test_job_json import newer


@dataclass
class Squeue:
    """A squeue of a few jobs, and what it was asked for: "lines", "all" or the ids."""

    jobs: dict[int, dict[str, object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    knows_fields: bool = True
    refuses: bool = True
    """Whether it fails where it does not know a field; that of 22.05 leaves it out."""
    forgets: frozenset[int] = frozenset()
    now: float = 1000.0
    forged: str = ""
    """What a job called MARK adds to its own line, with the mark of this very command."""

    def add(self, job_id: int, **fields: object) -> None:
        self.jobs[job_id] = newer(job_id=job_id, **fields)

    def __call__(self, *command: str) -> Result:
        form = next((word for word in command if word.startswith("--Format=")), None)
        if form is not None:
            return self._lines(form)
        named = next((word for word in command if word.startswith("--jobs=")), None)
        if named is None:
            self.asked.append("all")
            return Result(json.dumps({"jobs": list(self.jobs.values())}), "")
        ids = [int(word) for word in named.removeprefix("--jobs=").split(",")]
        self.asked.append(named.removeprefix("--jobs="))
        left = [i for i in ids if i not in self.forgets]
        if not left:
            raise NoSuchJobError("Invalid job id specified")
        return Result(json.dumps({"jobs": [self.jobs[i] for i in left]}), "")

    def _lines(self, form: str) -> Result:
        self.asked.append("lines")
        error = "" if self.knows_fields else "Invalid job format specification: Prefer"
        if error and self.refuses:
            raise RefusedError(error)
        mark = re.search(r":\|(x\w+)$", form)
        assert mark is not None
        lines = []
        for job in self.jobs.values():
            state = job["job_state"]
            assert isinstance(state, list)
            priority = job["priority"]
            assert isinstance(priority, dict)
            parts = [job["job_id"], priority["number"], state[-1], job["name"], job["comment"]]
            lines.append("|".join(map(str, parts)) + f"|{mark[1]}\n")
            if job["name"] == "MARK" and self.forged:
                lines.append(f"{self.forged}|{mark[1]}\n")
        return Result("".join(lines), f"squeue: error: {error}\n" if error else "")


@pytest.fixture
def squeue() -> Squeue:
    made = Squeue()
    made.add(7)
    made.add(8)
    return made


@pytest.fixture
def looks(squeue: Squeue) -> JobLooks:
    return JobLooks(squeue, lambda: squeue.now)


def asked_for(squeue: Squeue) -> list[str]:
    asked, squeue.asked = squeue.asked, []
    return asked


def test_the_first_look_reads_everything(squeue: Squeue, looks: JobLooks) -> None:
    assert set(looks.look()) == {7, 8}
    assert asked_for(squeue) == ["lines", "all"]


def test_a_look_at_what_has_not_changed_reads_nothing(squeue: Squeue, looks: JobLooks) -> None:
    first = looks.look()
    asked_for(squeue)
    assert looks.look() == first
    assert asked_for(squeue) == ["lines"]


def test_what_has_changed_come_and_gone_is_seen(squeue: Squeue, looks: JobLooks) -> None:
    looks.look()
    asked_for(squeue)
    squeue.add(7, comment="another")
    squeue.add(9)
    del squeue.jobs[8]
    jobs = looks.look()
    assert asked_for(squeue) == ["lines", "7,9"]
    assert set(jobs) == {7, 9}
    assert jobs[7].requested.comment == "another"


def test_a_priority_that_grows_is_no_change_but_a_hold_is(squeue: Squeue, looks: JobLooks) -> None:
    looks.look()
    squeue.add(7, priority={"set": True, "infinite": False, "number": 5})
    asked_for(squeue)
    looks.look()
    assert asked_for(squeue) == ["lines"]
    squeue.add(7, priority={"set": True, "infinite": False, "number": 0})
    looks.look()
    assert asked_for(squeue) == ["lines", "7"]


def test_a_state_that_hides_another_is_read_at_every_look(squeue: Squeue, looks: JobLooks) -> None:
    squeue.add(7, job_state=["RUNNING", "COMPLETING"])
    looks.look()
    asked_for(squeue)
    squeue.jobs[7]["job_state"] = ["FAILED", "COMPLETING"]
    assert looks.look()[7].state is JobBaseState.FAILED
    assert asked_for(squeue) == ["lines", "7"]


@pytest.mark.parametrize("passed", [FULL_SECONDS, -3600.0])
def test_now_and_then_everything_is_read_again(
    squeue: Squeue, looks: JobLooks, passed: float
) -> None:
    looks.look()
    asked_for(squeue)
    squeue.now += passed
    looks.look()
    looks.look()
    assert asked_for(squeue) == ["lines", "all", "lines"]


def test_many_changes_are_read_as_all(squeue: Squeue, looks: JobLooks) -> None:
    looks.look()
    asked_for(squeue)
    for job_id in range(100, 700):
        squeue.add(job_id)
    assert len(looks.look()) == 602
    assert asked_for(squeue) == ["lines", "all"]


def test_a_job_that_goes_between_two_questions_is_gone(squeue: Squeue, looks: JobLooks) -> None:
    looks.look()
    squeue.add(9)
    squeue.forgets = frozenset({9})
    assert set(looks.look()) == {7, 8}


@pytest.mark.parametrize("refuses", [True, False])
def test_a_squeue_without_the_fields_is_asked_for_everything(
    squeue: Squeue, looks: JobLooks, refuses: bool
) -> None:
    squeue.knows_fields, squeue.refuses = False, refuses
    looks.look()
    looks.look()
    assert asked_for(squeue) == ["lines", "all", "all"]


@pytest.mark.parametrize("text", ["a|b\nc", "9|0|RUNNING|x|x\n9|0|PENDING|y\n", "|xdeadbeef\n7|"])
def test_no_name_of_a_job_makes_a_line_of_its_own(
    squeue: Squeue, looks: JobLooks, text: str
) -> None:
    squeue.add(7, name=text, comment=text)
    first = looks.look()
    asked_for(squeue)
    assert set(first) == {7, 8}
    assert looks.look() == first
    assert asked_for(squeue) == ["lines"]


@pytest.mark.parametrize("forged", ["8|0|PENDING|x", "no line", "8|0"])
def test_who_knows_the_mark_in_time_hides_nothing(
    squeue: Squeue, looks: JobLooks, forged: str
) -> None:
    """It is on squeue's command line, for whoever is on that host to see."""
    squeue.add(7, name="MARK")
    looks.look()
    squeue.forged = forged
    squeue.add(8, comment="another")
    asked_for(squeue)
    assert looks.look()[8].requested.comment == "another"
    assert asked_for(squeue) == ["lines", "all"]
    squeue.forged = ""
    squeue.add(8, comment="a third one")
    assert looks.look()[8].requested.comment == "a third one"


def test_after_a_look_that_failed_all_is_read_anew(squeue: Squeue, looks: JobLooks) -> None:
    looks.look()
    squeue.add(7, comment="another")
    job = squeue.jobs.pop(7)
    squeue.jobs[7] = {"job_id": 7, "job_state": ["RUNNING"]} | {
        key: job[key] for key in ("name", "comment", "priority")
    }
    squeue.jobs[7]["nodes"] = "n[1-"
    with pytest.raises(UnexpectedOutputError):
        looks.look()
    squeue.add(7, comment="another")
    asked_for(squeue)
    assert looks.look()[7].requested.comment == "another"
    assert asked_for(squeue) == ["lines", "7,8"]
