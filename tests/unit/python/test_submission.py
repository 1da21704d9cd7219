"""`ef_slurm.submit`: on the way of ef-sbatch, with Python's values and typed errors."""

from __future__ import annotations

import pickle
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ef_slurm
from ef_slurm.model import JobKind, JobState, JobView, Outcome, PromiseOutcome
from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.unit.python.conftest import World

NUMBERS: dict[str, Any] = {
    "iterations": 100,
    "global_batch_size": 8,
    "throughput": {1: 1.0, 2: 1.9},
}
IN_AN_HOUR = timedelta(hours=1)


def test_a_promise(world: World) -> None:
    job = ef_slurm.submit(
        "train.py", "--lr=0.1", 3, deadline=IN_AN_HOUR, job_name="mine", **NUMBERS
    )
    assert job.state is JobState.ADMITTED
    assert not job.done
    promise = job.promise
    assert promise is not None
    assert promise.outcome is PromiseOutcome.OPEN
    assert promise.share == 2
    assert promise.deadline == job.deadline
    assert abs(promise.deadline.timestamp() - time.time() - 3600) < 60
    assert promise.deadline.tzinfo is not None
    registered = world.registered
    assert registered.job.name == "mine"
    assert registered.job.iterations == 100
    assert f"{world.directory}/train.py --lr=0.1 3" in " ".join(registered.script.text.split())
    (slurm_job,) = world.cluster.jobs.values()
    assert (slurm_job.job_id, slurm_job.hold) == (job.id, HoldKind.USER)


@pytest.mark.parametrize(
    "deadline",
    [
        datetime.now().replace(microsecond=0) + IN_AN_HOUR,
        datetime.now(UTC).replace(microsecond=0) + IN_AN_HOUR,
        round(time.time()) + 3600,
    ],
    ids=["local", "utc", "epoch"],
)
def test_deadlines_in_pythons_words(world: World, deadline: datetime | int) -> None:
    job = ef_slurm.submit("train.py", deadline=deadline, **NUMBERS)
    wanted = deadline.timestamp() if isinstance(deadline, datetime) else deadline
    assert world.registered.job.deadline == wanted
    assert job.deadline is not None
    assert job.deadline.timestamp() == wanted


def test_a_refusal_has_the_offer_in_it_and_leaves_nothing(world: World) -> None:
    world.daemon.outcome = Outcome.REJECTED
    with pytest.raises(ef_slurm.NotPromisedError, match=r"^Not promised: ") as refused:
        ef_slurm.submit("train.py", deadline="+1h", **NUMBERS)
    offer = refused.value.offer
    assert offer is not None
    assert offer.tzinfo is not None
    assert [job.state for job in world.cluster.jobs.values()] == [JobBaseState.CANCELLED]
    assert list((world.directory / "jobs").iterdir()) == []
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - as process pools do
    assert (str(again), again.offer) == (str(refused.value), offer)


def test_what_is_measured_first_has_no_promise_yet(world: World) -> None:
    world.daemon.outcome = None
    job = ef_slurm.submit("train.py", deadline="+1h", iterations=5, global_batch_size=8)
    assert job.promise is None
    assert job.state is JobState.RUNNING


def test_best_effort_has_no_deadline(world: World) -> None:
    world.daemon.outcome = Outcome.BEST_EFFORT
    job = ef_slurm.submit("train.py", best_effort=True, **NUMBERS)
    assert (job.promise, job.deadline) == (None, None)
    assert world.registered.job.kind is JobKind.BEST_EFFORT


def test_nobody_answers(world: World) -> None:
    world.daemon.there = False
    with pytest.raises(ef_slurm.NoAnswerError, match=r"nobody listens: job 1 stays held; ") as none:
        ef_slurm.submit("train.py", deadline="+1h", **NUMBERS)
    assert none.value.job is not None
    (slurm_job,) = world.cluster.jobs.values()
    assert none.value.job.id == slurm_job.job_id
    assert none.value.job.notes != ()  # nobody is there to judge it


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "when must it be finished"),
        ({"deadline": "+1h", "no_such": 1}, r"submit\(\): there is no option --no-such"),
        ({"deadline": "+1h", "wait": True}, r"job\.wait\(\)"),
        ({"deadline": "+1h", "dry_run": True}, "ef-sbatch --dry-run"),
        ({"deadline": "+1h", "array": "0-3"}, "ef-sbatch --array"),
        ({"deadline": "+1h", "max_gpus": 0}, "--max-gpus"),
        ({"deadline": object()}, "deadline="),
        ({"deadline": "yesteryear"}, "yesteryear"),
    ],
)
def test_wrong_options(world: World, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ef_slurm.WrongOptionError, match=told) as wrong:
        ef_slurm.submit("train.py", **options)
    assert isinstance(wrong.value, ValueError)
    assert world.cluster.jobs == {}


def test_without_a_script(world: World) -> None:
    with pytest.raises(ef_slurm.WrongOptionError, match="which script"):
        ef_slurm.submit(deadline="+1h")
    with pytest.raises(ef_slurm.WrongOptionError, match="no_such"):
        ef_slurm.submit("no_such.py", deadline="+1h")
    ef_slurm.submit(wrap="true", deadline="+1h", **NUMBERS)
    assert world.registered.job.name == "wrap"


def test_a_function_is_a_script_that_imports_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(world.directory)
    (world.directory / "unique_training.py").write_text(
        "import sys\ndef main(*words, lr):\n    print(words, lr, 'torch' in sys.modules)\n"
    )
    import unique_training  # type: ignore[import-not-found]

    function = partial(unique_training.main, "a b", lr=0.5)
    ef_slurm.submit(function, {"depth": 3}, deadline="+1h", **NUMBERS)
    registered = world.registered
    copy = Path(registered.job.state_dir) / "script.py"
    assert (registered.job.name, registered.job.model_name) == ("main", "unique_training")
    assert str(copy) in registered.script.text
    assert "torch" in registered.script.text  # one rank per GPU
    ran = subprocess.run(
        [sys.executable, copy], cwd="/", capture_output=True, text=True, check=False
    )
    assert ran.stdout == "('a b', {'depth': 3}) 0.5 False\n", ran.stderr


def inner() -> None:
    """Of a test's module, whose file exists."""


def of_a_file_with_a_dash() -> None:
    """As if `my-train.py` had been run."""


NESTED: list[Any] = []
for _ in range(9000):
    NESTED = [NESTED]

of_a_file_with_a_dash.__module__ = "my-train"
sys.modules["my-train"] = sys.modules[__name__]


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (lambda: None, (), "cannot be imported by its name"),
        (Path().exists, (), "cannot be imported by its name"),
        (print, (), "lies in no file"),
        (inner, (object(),), "cannot be written into a script"),
        (inner, (float("nan"),), "cannot be written into a script"),
        (inner, (NESTED,), "cannot be written into a script"),
        (partial(inner, **{"learning rate": 1}), (), "'learning rate' is no name in Python"),
        (partial(inner, **{"lambda": 1}), (), "'lambda' is no name in Python"),
        (of_a_file_with_a_dash, (), "'my-train' is no name in Python"),
    ],
)
def test_functions_that_cannot_be_scripts(
    world: World, function: Any, arguments: tuple[object, ...], told: str
) -> None:
    with pytest.raises(ef_slurm.WrongOptionError, match=told):
        ef_slurm.submit(function, *arguments, deadline="+1h", **NUMBERS)
    assert world.cluster.jobs == {}


def test_going_on_leaves_the_working_directory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ef_slurm.submit("train.py", deadline="+1h", **NUMBERS)
    before = world.registered.job
    (Path(before.state_dir) / "checkpoint" / "40").mkdir(parents=True)
    world.daemon.jobs[job.id] = _ended(world, job.id)
    world.cluster.jobs.clear()
    elsewhere = world.directory / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    second = ef_slurm.submit(continue_from=job, deadline="+2h")
    assert Path.cwd() == elsewhere
    assert any("Goes on from iteration 40" in note for note in second.notes)
    after = world.registered.job
    assert (after.done, after.iterations, after.name) == (40, 100, before.name)
    assert f"{world.directory}/train.py" in world.registered.script.text


def _ended(world: World, job_id: int) -> JobView:
    state_dir = world.registered.job.state_dir
    return replace(world.daemon.jobs[job_id], state=JobState.FAILED, state_dir=state_dir)


def test_the_import_is_light() -> None:
    """Jobs import the package, where there is neither click nor msgspec, and no time to lose."""
    program = (
        "import sys, ef_slurm\n"
        "heavy = {'click', 'jinja2', 'msgspec'} & {name.split('.')[0] for name in sys.modules}\n"
        "print(heavy, [name for name in sys.modules if name.startswith('ef_slurm.')])\n"
        "print(set(ef_slurm.__all__) <= set(dir(ef_slurm)), callable(ef_slurm.submit))\n"
        "import ef_slurm.python as room\n"
        "print(sorted(room.__all__) == sorted(ef_slurm.__all__))"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "set() []\nTrue True\nTrue\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ef_slurm.nothing


def test_the_example(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """docs/examples/submit.py: refused, and what is offered is taken."""
    path = Path(__file__).parents[3] / "docs" / "examples" / "submit.py"
    monkeypatch.setattr(sys, "argv", [str(path), "train.py"])
    world.daemon.outcomes += [Outcome.REJECTED, Outcome.PROMISED]
    world.daemon.ends = True
    runpy.run_path(str(path), run_name="__main__")
    refused, told, promised, changed, ended = capfd.readouterr().out.splitlines()
    assert refused.startswith("Not promised")
    assert " admitted until " in told
    assert promised.startswith("promised: 2 GPUs, slack ")
    assert (changed, ended) == ("so it is", "completed")
