"""The options of `ef-profile run`, and what is submitted for them."""

from __future__ import annotations

import math

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.profile.run_options import ITERATIONS, RunOptions, run_options, submitted_as
from ef_slurm.cli.sbatch.options import EF_OPTIONS
from ef_slurm.cli.sbatch.script import Script
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions, submission_options
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import JobKind


def submission(text: str, *directives: str) -> SubmissionOptions:
    options = run_options(text.split())
    parsed, _ = EF_OPTIONS.parse(directives, "train.sh:2")
    script = Script("train", ("train.py",), torchrun=True, options=tuple(parsed))
    words, script = submitted_as(options, script)
    return submission_options(words, script.options, 0.0, local_zone())


def test_what_is_not_said() -> None:
    options = run_options(["train.py", "--lr", "0.1", "--gpus", "7"])
    assert options == RunOptions(
        (), 600.0, math.inf, 30.0, (), ("train.py", "--lr", "0.1", "--gpus", "7")
    )
    assert options.on((1, 2)).sizes == (1, 2)
    assert options.on((1, 2)).limit == 600.0


def test_what_is_said() -> None:
    words = "--gpus 8,1,2,8 --max-time=90s --max-gpu-time=8m --seconds-per-size=5 --json t.py"
    options = run_options([*words.split(), "--json"])
    assert (options.sizes, options.seconds, options.seconds_per_size) == ((1, 2, 8), 90.0, 5.0)
    assert options.limit == 60.0  # eight minutes of one GPU, on eight
    assert options.json
    assert options.words == ("t.py", "--json")
    assert options.on((1,)).sizes == (1, 2, 8)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--gpus=3", "powers of two"),
        ("--gpus=", "powers of two"),
        ("--gpus=1,,2", "powers of two"),
        ("--gpus=0", "powers of two"),
        ("--gpus=-1", "powers of two"),
        ("--max-time=0", "more than 0"),
        ("--max-time=soon", "--max-time"),
        ("--max-gpu-time=-1h", "--max-gpu-time"),
        ("--seconds-per-size=nan", "--seconds-per-size"),
        ("--seconds-per-size=0", "more than 0"),
        ("--deadline=+1h", "no option --deadline"),
        ("--nodes=2", "no option --nodes"),
        ("--gpus", "needs a value"),
    ],
)
def test_what_is_wrong_is_said(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_options([*words.split(), "train.py"] if words != "--gpus" else ["--gpus"])


def test_it_is_a_best_effort_job_of_its_largest_size() -> None:
    told = submission("--gpus=1,4 --max-time=100s --model-name=m --global-batch-size=32 train.py")
    assert (told.kind, told.deadline, told.max_gpus) == (JobKind.BEST_EFFORT, None, 4)
    assert (told.iterations, told.model_name, told.global_batch_size) == (ITERATIONS, "m", 32)
    ((curve, _),) = told.throughputs
    assert curve == f"4:{ITERATIONS / 100:.6g}"  # its time is up when it is "done"
    # Whole minutes, and one more: Slurm ends what nobody has ended.
    assert told.time_limit == 180.0


def test_what_the_script_says_of_promises_is_left_out() -> None:
    told = submission(
        "--gpus=4 train.py",
        *("--deadline=+1h", "--if-infeasible=wait", "--throughput=1:5,2:9", "--max-gpus=2"),
        *("--iterations=77", "--precision=bf16", "--venv=/opt/v"),
    )
    assert (told.kind, told.max_gpus, told.iterations) == (JobKind.BEST_EFFORT, 4, 77)
    assert told.precision == "bf16"
    assert len(told.throughputs) == 1
    assert [option.value for option in told.launch] == ["/opt/v"]
