"""Options of command line and script become a checked submission."""

import math
from datetime import UTC
from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.sbatch.options import ALL_OPTIONS, REFUSED, TREATED
from ef_slurm.cli.sbatch.output_options import Mode, output_options
from ef_slurm.cli.sbatch.script import directives
from ef_slurm.cli.sbatch.submission_options import (
    SubmissionOptions,
    per_gpu_of,
    submission_options,
)
from ef_slurm.model import IfInfeasible, JobKind, PerGpu

NOW = 1_700_000_000.0
BASE = ("--deadline=+1h", "--iterations=100", "--global-batch-size=64", "--throughput=1:2.0")


def request(*words: str, script: str = "") -> SubmissionOptions:
    parsed, rest = ALL_OPTIONS.parse(words, "command line")
    assert not rest
    return submission_options(parsed, directives(script, "job.sh"), NOW, UTC)


def test_a_deadline_job() -> None:
    requested = request(*BASE)
    assert (requested.kind, requested.deadline) == (JobKind.DEADLINE, NOW + 3600)
    assert (requested.iterations, requested.global_batch_size) == (100, 64)
    assert requested.if_infeasible is IfInfeasible.REJECT
    assert requested.throughputs == (("1:2.0", "command line: --throughput"),)


def test_how_a_time_was_read_is_told_where_another_may_be_meant() -> None:
    notes = request("--deadline=18h", *BASE[1:], "--begin=13h").notes
    assert [note.partition(" is read as ")[0] for note in notes] == [
        "--deadline: 18h",
        "--begin: 13h",
    ]


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("now+10", NOW + 10),
        ("now+1hour", NOW + 3600),
        ("23:00", NOW + 2800),
        ("2023-11-15", NOW + 6400),
        ("tomorrow", NOW + 6400),
        ("today", None),
        ("now", None),
        ("2020-01-01T00:00:00", None),
    ],
)
def test_begin(text: str, begin: float | None) -> None:
    assert request("--deadline=+2d", *BASE[1:], f"--begin={text}").begin == begin
    assert request("--deadline=+2d", *BASE[1:], "-b", text).begin == begin
    script = f"#!/bin/sh\n#SBATCH --begin={text}\n"
    requested = request("--deadline=+2d", *BASE[1:], script=script)
    assert requested.begin == begin
    assert not any("begin" in word for word in (*requested.in_script, *requested.on_command_line))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("xyz", "--begin: 'xyz' is no point in time"),
        ("now+2hours", "--begin=now\\+2hours is .*: not before the deadline"),
        ("now+1hour", "not before the deadline"),
        ("", "--begin: an empty text"),
    ],
)
def test_a_wrong_begin(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        request(*BASE, f"--begin={text}")


@pytest.mark.parametrize(("option", "grace"), [("--soft", 900.0), ("--soft=10m", 600.0)])
def test_soft(option: str, grace: float) -> None:
    requested = request(*BASE, option)
    assert (requested.kind, requested.grace) == (JobKind.SOFT_DEADLINE, grace)


def test_best_effort() -> None:
    requested = request("--best-effort", *BASE[1:])
    assert (requested.kind, requested.deadline) == (JobKind.BEST_EFFORT, None)


def test_epochs_instead_of_iterations() -> None:
    requested = request("--deadline=+1h", "--epochs=2.5")
    assert (requested.epochs, requested.iterations) == (2.5, None)
    # The command line counts before the script, whichever of the two is there.
    requested = request("--deadline=+1h", "--iterations=9", script="#!/bin/sh\n#EF --epochs=3\n")
    assert (requested.epochs, requested.iterations) == (None, 9)
    with pytest.raises(UsageError, match="--epochs and --iterations"):
        request("--deadline=+1h", "--epochs=2", "--iterations=9")
    for wrong in ("0", "-1", "nan", "inf", "many", "1e12"):
        with pytest.raises(UsageError, match="--epochs"):
            request("--deadline=+1h", f"--epochs={wrong}")


def test_the_key_of_its_speed() -> None:
    requested = request(*BASE, "--model-name=bert", script="#EF --model-name=x --precision=bf16\n")
    assert (requested.model_name, requested.precision) == ("bert", "bf16")
    for word in ("--model-name=", "--precision=a\x1b"):
        with pytest.raises(UsageError, match="1 to 128 printable characters"):
            request(*BASE, word)


def test_the_rest() -> None:
    requested = request(
        *BASE, "--if-infeasible=wait", "--max-gpus=8", "--overhead=12.5", "--gpu-type=a100",
        "--state-dir=/shared/x", "-J", "bert", "--time=2:00:00",
        "--cpus-per-gpu=4", "--max-batch-per-gpu=16", "-A", "acct",
    )  # fmt: skip
    assert requested.if_infeasible is IfInfeasible.WAIT
    assert (requested.max_gpus, requested.overhead["move"], requested.gpu_type) == (8, 12.5, "a100")
    assert requested.state_dir == Path("/shared/x")
    assert (requested.job_name, requested.time_limit, requested.with_gpu.cpus) == (
        "bert",
        7200.0,
        4,
    )
    assert (requested.max_batch_per_gpu, requested.on_command_line) == (16, ("--account=acct",))


@pytest.mark.parametrize("text", ["UNLIMITED", "0", "0:00", "00:00:00", "0-0", "INFINITE", "-1"])
def test_no_time_limit_as_in_slurm(text: str) -> None:
    assert request(*BASE, f"--time={text}").time_limit == math.inf


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 120),
        ("0:01", 60),
        ("1:00:00", 3600),
        ("1-0", 86400),
        ("1-1:1", 90060),
    ],
)
def test_time_limits_are_slurms_whole_minutes(text: str, seconds: float) -> None:
    assert request(*BASE, f"--time={text}").time_limit == seconds


@pytest.mark.parametrize("text", ["", "soon", "1h30", "-5", "1:2:3:4"])
def test_what_sbatch_does_not_take_is_no_time_limit(text: str) -> None:
    with pytest.raises(UsageError, match="--time"):
        request(*BASE, f"--time={text}")


SCRIPT = """#!/bin/bash
#SBATCH --job-name=bert --account=nlp   # who pays
#SBATCH --time=1:00:00

#EF --deadline=+2h --iterations=7
#EF --global-batch-size=32 --throughput=1:1,2:1.9
python train.py
#SBATCH --nodes=4
"""


def test_a_script_with_directives() -> None:
    requested = request(script=SCRIPT)
    assert (requested.job_name, requested.time_limit) == ("bert", 3600.0)
    assert (requested.deadline, requested.iterations) == (NOW + 7200, 7)
    assert (requested.in_script, requested.on_command_line) == (("--account=nlp",), ())


def test_the_command_line_wins() -> None:
    requested = request("--iterations=9", "--deadline=+3h", "--throughput=1:5", script=SCRIPT)
    assert (requested.iterations, requested.deadline) == (9, NOW + 3 * 3600)
    assert [text for text, _ in requested.throughputs] == ["1:5"]


def test_best_effort_on_the_command_line_replaces_the_scripts_deadline() -> None:
    assert request("--best-effort", script=SCRIPT).kind is JobKind.BEST_EFFORT


def test_a_profile_on_the_command_line_replaces_the_scripts_curve() -> None:
    requested = request("--profile=bert", script=SCRIPT)
    assert (requested.profile, requested.throughputs) == ("bert", ())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_owned_options_are_refused_with_what_to_use(name: str) -> None:
    option, sentence = TREATED[name].option, REFUSED[name]
    word = option.flag if option.takes.value == "nothing" else f"{option.flag}=1"
    with pytest.raises(UsageError) as error:
        request(*BASE, word)
    assert str(error.value) == f"command line: {option.flag}: {sentence}"
    assert error.value.code is ExitCode.USAGE


def test_what_sbatch_tells_srun_by_variables_is_told_it() -> None:
    requested = request(
        *BASE, "--cpu-freq=low", "--mem-bind=local;x", script="#SBATCH --cpu-freq=high"
    )
    assert [(one.option.name, one.value) for one in requested.launch] == [
        ("srun-options", "--cpu-freq=low"),
        ("srun-options", "'--mem-bind=local;x'"),
    ]
    assert "--cpu-freq=low" in requested.on_command_line


def test_what_means_nothing_here_is_told() -> None:
    notes = request(*BASE, "--gpu-bind=single:1", "-m", "block", "--ignore-pbs").notes
    assert [note.partition(" has no effect: ")[0] for note in notes] == [
        "command line: --gpu-bind",
        "command line: --distribution",
        "command line: --ignore-pbs",
    ]


@pytest.mark.parametrize("text", ["USR1", "usr1@30", "SIGUSR2@0", "10@65535", "R:TERM", "B:1"])
def test_a_signal_before_the_end(text: str) -> None:
    assert request(*BASE, f"--signal={text}").on_command_line == (f"--signal={text}",)


@pytest.mark.parametrize("text", ["", "USR1@", "USR1@65536", "@30", "X:USR1", "USR1;x"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(UsageError, match="command line: --signal: "):
        request(*BASE, f"--signal={text}")


def test_logs_are_appended_to() -> None:
    request(*BASE, "--open-mode=append")
    with pytest.raises(UsageError, match="always appended to"):
        request(*BASE, "--open-mode=truncate")


def test_owned_options_in_a_script_name_the_line() -> None:
    with pytest.raises(UsageError, match=r"^job.sh:2: --contiguous: ef-slurm chooses the nodes"):
        request(*BASE, script="#!/bin/sh\n#SBATCH --contiguous\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (BASE[1:], "when must it be finished"),
        (("--deadline=yesterday", *BASE[1:]), "command line: --deadline: 'yesterday'"),
        (("--deadline=2001-01-01", *BASE[1:]), "not in the future"),
        ((*BASE, "--best-effort"), "--best-effort and --deadline: give one of them"),
        ((*BASE, "--iterations=0"), "'0' is not a whole number of 1 or more"),
        ((*BASE, "--iterations=1e-3"), "'1e-3' is not a whole number"),
        ((*BASE, "--iterations=1.5"), "'1.5' is not a whole number of 1 or more"),
        ((*BASE, "--iterations=-5"), "'-5' is not a whole number"),
        ((*BASE, "--max-gpus=0"), "--max-gpus: '0' is not a whole number"),
        ((*BASE, "--overhead=nan"), "'nan' is not a number of seconds"),
        ((*BASE, "--overhead=-1"), "'-1' is not a number of seconds"),
        ((*BASE, "--overhead=grow=x"), "grow: 'x' is not a number of seconds"),
        ((*BASE, "--overhead=growth=2"), "give KIND=SECONDS,… of start, grow, shrink"),
        ((*BASE, "--soft=soon"), "--soft: "),
        ((*BASE, "--if-infeasible=maybe"), "expected one of reject, wait, best-effort"),
        (("--best-effort", *BASE[1:], "--if-infeasible=wait"), "means nothing"),
        ((*BASE, "--profile=x"), "--throughput, --profile: give one of them"),
        ((*BASE, "--state-dir=x"), "expected an absolute path"),
        ((*BASE, "--time=long"), "--time: 'long'"),
    ],
)
def test_errors(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as error:
        request(*words)
    assert message in str(error.value)


def test_output_options() -> None:
    parsed, _ = ALL_OPTIONS.parse(
        ("--test-only", "--json", "--verdict-timeout=2", "--config=/x"), "command line"
    )
    output = output_options(parsed)
    assert (output.mode, output.json, output.wait) == (Mode.TEST_ONLY, True, False)
    assert (output.verdict_timeout, output.config) == (2.0, Path("/x"))


@pytest.mark.parametrize("words", [("--test-only", "--dry-run"), ("--json", "--parsable")])
def test_output_options_that_exclude_each_other(words: tuple[str, str]) -> None:
    parsed, _ = ALL_OPTIONS.parse(words, "command line")
    with pytest.raises(UsageError, match="give one of them"):
        output_options(parsed)


@pytest.mark.parametrize(
    ("options", "per_gpu"),
    [
        ([], PerGpu()),
        (["--cpus-per-gpu=8"], PerGpu(8.0)),
        (["--cpus-per-gpu=8", "--mem-per-gpu=100G"], PerGpu(8.0, 102_400.0)),
        (["--cpus-per-gpu=8", "--mem-per-cpu=2048"], PerGpu(8.0, 16_384.0)),
        (["--mem-per-cpu=2048"], PerGpu(0.0, 2048.0)),
        (["--mem-per-gpu=1T"], PerGpu(0.0, 1024.0 * 1024.0)),
    ],
)
def test_what_is_asked_for_with_each_gpu(options: list[str], per_gpu: PerGpu) -> None:
    assert per_gpu_of(request(*BASE, *options)) == per_gpu


@pytest.mark.parametrize("value", ["much", "-1", "1.5.2", "10X", ""])
def test_an_amount_of_memory_that_is_none(value: str) -> None:
    with pytest.raises(UsageError, match="--mem-per-gpu"):
        request(*BASE, f"--mem-per-gpu={value}")
