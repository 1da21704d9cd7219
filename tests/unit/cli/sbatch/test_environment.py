"""Options in the environment: over the script's lines, below the command line."""

from datetime import UTC

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.environment import (
    environment_options,
    of_sbatch,
    scrubbed,
    without_partition,
)
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.script import directives
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions, submission_options

NOW = 1_700_000_000.0


def requested(variables: dict[str, str], *words: str, script: str = "") -> SubmissionOptions:
    problems = Problems()
    given, _ = ALL_OPTIONS.parse(words, "command line")
    found = submission_options(
        given,
        directives(script, "job.sh"),
        NOW,
        UTC,
        environment=environment_options(variables, problems),
        problems=problems,
    )
    problems.tell()
    return found


SCRIPT = """#!/bin/sh
#SBATCH --account=script --qos=script --time=1
#EF --deadline=+1h --iterations=1
"""


def test_what_counts_most() -> None:
    variables = {
        "SBATCH_ACCOUNT": "environment",
        "SBATCH_QOS": "environment",
        "SBATCH_TIMELIMIT": "2",
        "EF_SBATCH_DEADLINE": "+2h",
        "EF_SBATCH_ITERATIONS": "2k",
        "PATH": "/bin",
    }
    found = requested(variables, "--qos=line", script=SCRIPT)
    assert (found.account, found.qos, found.time_limit) == ("environment", "line", 120.0)
    assert (found.deadline, found.iterations) == (NOW + 7200, 2000)
    # sbatch sees them as words, in the same order.
    assert found.in_script == ("--account=script", "--qos=script")
    assert found.on_command_line == ("--account=environment", "--qos=environment", "--qos=line")


def test_another_kind_of_job_replaces_the_one_of_the_layer_below() -> None:
    variables = {"EF_SBATCH_DEADLINE": "+2h", "EF_SBATCH_IF_INFEASIBLE": "wait"}
    assert requested(variables, "--best-effort").deadline is None
    assert requested({"EF_SBATCH_BEST_EFFORT": ""}, script=SCRIPT).deadline is None


@pytest.mark.parametrize(
    ("value", "given"), [("", True), ("yes", True), ("1", True), ("0", False), ("no", False)]
)
def test_flags_as_sbatch_has_them(value: str, given: bool) -> None:
    problems = Problems()
    found = environment_options({"SBATCH_WAIT": value, "EF_SBATCH_SOFT": ""}, problems)
    assert [option.text for option in found] == ["--soft", *(["--wait"] if given else [])]


def test_what_is_wrong_names_the_variable() -> None:
    with pytest.raises(UsageError) as error:
        requested({"EF_SBATCH_ITERATIONS": "1.5", "EF_SBATCH_NOTHING": "1", "SBATCH_GPUS": "x"})
    told = str(error.value).splitlines()
    assert "$EF_SBATCH_NOTHING: ef-sbatch has no such option, or not in the environment" in told
    assert any(line.startswith("$EF_SBATCH_ITERATIONS: --iterations: '1.5'") for line in told)
    assert any(line.startswith("$SBATCH_GPUS: --gpus: 'x' is no number of GPUs") for line in told)


def test_what_sbatch_alone_refuses_in_words_is_only_told_of_a_variable() -> None:
    """A site may set it for all jobs."""
    found = requested({"SBATCH_EXCLUSIVE": "user"}, "--best-effort")
    (note,) = found.notes
    assert note.startswith("$SBATCH_EXCLUSIVE: --exclusive has no effect: ")


def test_a_partition_for_all_other_jobs_is_told_and_ignored() -> None:
    problems = Problems()
    given = environment_options({"SBATCH_PARTITION": "batch", "SBATCH_QOS": "q"}, problems)
    kept, (note,) = without_partition(given, "ef")
    assert [option.text for option in kept] == ["--qos=q"]
    assert note.startswith("$SBATCH_PARTITION=batch: has no effect: ")
    assert without_partition(given, "batch") == (given, ())


def test_what_is_only_one_calls_is_not_read() -> None:
    problems = Problems()
    assert environment_options({"EF_SBATCH_JSON": "1"}, problems) == ()
    assert problems


def test_sbatchs_own_and_what_is_left_of_the_environment() -> None:
    variables = {"SBATCH_QOS": "q", "EF_SBATCH_SOFT": "1h", "SLURM_CONF": "/x", "HOME": "/h"}
    assert [one.text for one in of_sbatch(environment_options(variables, Problems()))] == [
        "--qos=q"
    ]
    assert scrubbed(variables) == {"SLURM_CONF": "/x", "HOME": "/h"}
