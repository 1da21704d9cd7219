"""`KEY=VALUE` words, in scontrol's ways of writing them."""

import math
from zoneinfo import ZoneInfo

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.scontrol.changes import parse_update
from ef_slurm.model import JobChange

ZONE = ZoneInfo("Europe/Berlin")
NOW = 1_700_000_000.0


def parsed(*words: str) -> tuple[tuple[int, ...], JobChange]:
    names, change = parse_update(words, NOW, ZONE, print)
    return tuple(name.job_id for name in names), change


@pytest.mark.parametrize(
    ("words", "jobs", "change"),
    [
        (("12", "deadline=+2h"), (12,), JobChange(deadline=NOW + 7200)),
        (("12,13", "14", "max_gpus=8"), (12, 13, 14), JobChange(max_gpus=8)),
        (("JobId=12", "MaxGpus=8", "Iterations=300"), (12,), JobChange(None, 300, 8)),
        (("12", "max-gpus=0"), (12,), JobChange(max_gpus=0)),
        (("12", "max_gpus=none"), (12,), JobChange(max_gpus=0)),
        (("12", "best_effort=YES"), (12,), JobChange(best_effort=True)),
        (("best_effort=no", "12"), (12,), JobChange(best_effort=False)),
        (("12", "begin=now+1hour"), (12,), JobChange(begin=NOW + 3600)),
        (("12", "StartTime=now"), (12,), JobChange(begin=0.0)),
    ],
)
def test_the_words_of_an_update(words: tuple[str, ...], jobs: object, change: JobChange) -> None:
    assert parsed(*words) == (jobs, change)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deadline=+2h",), "which job"),
        (("12",), "what is to change"),
        (("12", "nodes=3"), "nodes= cannot be changed; there is deadline="),
        (("12", "TimeLimit=3"), "Slurm's time limit follows"),
        (("12", "iterations=-1"), "iterations=-1"),
        (("12", "iterations=many"), "iterations=many"),
        (("12", "max_gpus=1.5"), "max_gpus=1.5"),
        (("12", "best_effort=maybe"), "expected yes or no"),
        (("12", "deadline=soon"), "deadline=soon"),
        (("12", "deadline="), "deadline="),
        (("12", "deadline=+1h", "Deadline=+2h"), "twice"),
        (("x", "deadline=+1h"), "'x' is no job id"),
        (("jobid=", "deadline=+1h"), "no job id"),
    ],
)
def test_what_is_wrong_is_named(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        parsed(*words)


def test_a_deadline_is_read_as_ef_sbatch_reads_it() -> None:
    _, change = parsed("12", "deadline=18:00")
    assert change.deadline is not None
    assert math.fmod(change.deadline, 3600.0) == 0.0
    assert change.deadline > NOW
