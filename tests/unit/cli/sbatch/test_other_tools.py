"""What other people's tools hand to sbatch, word for word, handed to ef-sbatch.

The scripts in other_tools are as submitit 1.5 writes them; snakemake's words are those of its Slurm
executor 2. tests/cluster/test_other_tools.py runs the tools themselves.
"""

from __future__ import annotations

import time
from datetime import UTC
from pathlib import Path

import pytest

from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.environment import environment_options
from ef_slurm.cli.sbatch.given import Given
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.prepare import batch_script
from ef_slurm.cli.sbatch.script import Script, from_text, from_words, wrapped
from ef_slurm.cli.sbatch.submission import asked_for
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions, submission_options
from ef_slurm.siteconfig.tables import SiteConfig

SCRIPTS = Path(__file__).parent / "other_tools"
SNAKEMAKE = (
    *("--parsable", "--job-name", "d855cb38-8987-4d78-9bed-90cfa62d4cdb"),
    *("--output", "/home/alice/.snakemake/slurm_logs/rule_train/%j.log", "--export=ALL"),
    *("--comment", "rule_train", "-A", "acct1", "-p", "ef", "-t", "10", "--mem", "1000"),
    *("--cpus-per-task=1", "--deadline=+20m", "-D", "/tmp", "--gpus=1"),
)


def asked(script: Script, *words: str, **environment: str) -> SubmissionOptions:
    parsed, rest = ALL_OPTIONS.parse(words, "command line")
    assert rest == []
    problems = Problems()
    given = environment_options(environment, problems)
    return submission_options(
        parsed, script.options, time.time(), UTC, environment=given, problems=problems
    )


def test_submitit() -> None:
    script = from_words([str(SCRIPTS / "submitit.sh")])
    found = asked(script, EF_SBATCH_DEADLINE="+6h", EF_SBATCH_ITERATIONS="1000")
    assert (found.job_name, found.partition, found.max_gpus) == ("submitit", "ef", 2)
    assert (found.iterations, found.time_limit) == (1000, 3600.0)
    assert "--signal=USR2@90" in found.in_script
    assert "--wckey=submitit" in found.in_script
    assert script.calls_srun


def test_the_signal_that_submitit_wants_reaches_its_function() -> None:
    """USR2 is ef-slurm's own elsewhere; a script that starts its own steps is told otherwise."""
    words = ("--deadline=+6h", "--iterations=1", str(SCRIPTS / "submitit.sh"))
    parsed, rest = ALL_OPTIONS.parse(words, "command line")
    found = asked_for(Given(parsed, rest, words), None, SiteConfig())
    found.problems.tell()
    text = batch_script(found.requested, found.script, SiteConfig(), found.state_dir)
    assert "export EF_STOP_SIGNAL=URG" in text
    assert "#SBATCH --signal=USR2@90" in text


def test_submitit_with_lines_of_its_own() -> None:
    """`slurm_setup=["#EF --deadline=+6h"]`: they stand before the first command."""
    text = (SCRIPTS / "submitit.sh").read_text()
    assert "\n# command\n" in text
    lines = text.replace("\n# command\n", "\n# setup\n#EF --deadline=+6h\n\n# command\n")
    found = asked(from_text(lines))
    assert found.deadline is not None
    assert found.deadline > time.time()


def test_snakemake() -> None:
    script = wrapped("/usr/bin/python3 -m snakemake --executor slurm-jobstep --mode 'remote'")
    found = asked(script, *SNAKEMAKE)
    assert found.job_name == "d855cb38-8987-4d78-9bed-90cfa62d4cdb"
    assert (found.max_gpus, found.comment, found.directory) == (1, "rule_train", "/tmp")
    assert found.deadline is not None


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("srun hostname", True),
        ("  OMP_NUM_THREADS=1 srun -n1 hostname", True),
        ("for i in 1 2; do srun hostname; done", True),
        ("[ -e x ] && exec /usr/bin/srun hostname", True),
        ("out=$(srun hostname)", True),
        ("# srun hostname", False),
        ("echo srun hostname", False),
        ("./my_srun hostname", False),
        ("module load srun", False),
        ("python train.py --launcher=srun now", False),
    ],
)
def test_scripts_that_start_their_own_steps(tmp_path: Path, text: str, calls: bool) -> None:
    file = tmp_path / "job.sh"
    file.write_text(f"#!/bin/bash\n{text}\n")
    assert from_words([str(file)]).calls_srun is calls
    assert wrapped(text).calls_srun is calls


def test_a_training_script_never_does(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("srun x\n")
    assert not from_words([str(tmp_path / "train.py")]).calls_srun


@pytest.mark.timeout(30)
@pytest.mark.parametrize("part", ['{"a":1},', ";a=b", ";", "/", "a=b "])
def test_data_in_a_script_is_looked_through_at_once(part: str) -> None:
    assert not wrapped(part * (100_000 // len(part))).calls_srun
