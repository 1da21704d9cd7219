"""What is wrong with a submission is told all at once, in the order in which it stands."""

import sys
from pathlib import Path

import pytest

from ef_slurm.cli.sbatch import command

SCRIPT = """#!/bin/bash
#SBATCH --job-name=bert --acount=nlp
#SBATCH --nodes=two --gres=gpu:4,ssd:1
#SBATCH --time=soon
#SBATCH --contiguous
#SBATCH --deadline=18:00
#SBATCH --json
#SBATCH hetjob
#EF --iterations=1.5 --epochs=3 --global-batch-size=0
#EF --stop-signal=KILL --keep-checkpoints=none --container-mounts=/data
#EF --nothing
torchrun train.py
#EF --soft
"""


def complaints(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    **environment: str,
) -> list[str]:
    config = tmp_path / "ef-slurm.toml"
    config.write_text('[slurm]\npartition = "ef"\n', encoding="utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["ef-sbatch", f"--config={config}", "--dry-run", *words])
    with pytest.raises(SystemExit) as end:
        command.main()
    printed = capsys.readouterr()
    assert (end.value.code, printed.out) == (2, "")
    prefix = "ef-sbatch: error: "
    lines = printed.err.splitlines()
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


def test_all_of_a_script_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    told = complaints(
        ["--partition=batch", "--chdir=/nowhere", "--state-dir=here", str(script)],
        tmp_path,
        monkeypatch,
        capsys,
        EF_SBATCH_MAX_GPUS="0",
    )
    # Of each line what is wrong, and where it stands.
    for part in (
        f"{script}:2: there is no option --acount; did you mean --account?",
        f"{script}:3: --nodes: 'two' is no number of nodes",
        f"{script}:3: --gres: 'gpu:4,ssd:1' is not gpu:N",
        f"{script}:4: --time: 'soon'",
        f"{script}:5: --contiguous: ef-slurm chooses the nodes",
        f"{script}:6: --deadline: write it on an #EF line",
        f"{script}:7: there is no option --json",
        f"{script}:8: hetjob: ef-slurm promises no heterogeneous jobs",
        f"{script}:9: --iterations: '1.5' is not a whole number",
        f"{script}:9: --global-batch-size: '0' is not a whole number",
        f"{script}:10: --stop-signal: 'KILL' is not valid: one of ",
        f"{script}:10: --keep-checkpoints: 'none' is not valid",
        "--container-mounts means nothing without a container",
        f"{script}:11: there is no option --nothing",
        f"{script}:13: an #EF line must stand before the first command",
        "--epochs and --iterations: give one of them",
        "when must it be finished?",
        "$EF_SBATCH_MAX_GPUS: --max-gpus: '0' is not a whole number",
        "--partition=batch: ef-slurm schedules the partition 'ef'",
        "--chdir=/nowhere: No such file or directory",
        "--state-dir=here: expected an absolute path",
    ):
        assert [line for line in told if line.startswith(part)], part
    assert len(told) == len(set(told)) == 21


def test_a_value_behind_an_option_that_there_is_none_of_is_not_taken_for_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train.py"
    script.write_text("", encoding="utf-8")
    words = ["--nothing", "value", "--iterations=x", "--best-effort", str(script), "--lr", "1"]
    told = complaints(words, tmp_path, monkeypatch, capsys)
    assert [line.partition(";")[0][:60] for line in told] == [
        "command line: there is no option --nothing",
        "command line: --iterations: 'x' is not a whole number of 1 o",
    ]


def test_no_value_is_too_long_or_too_strange_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "9" * 10_000_000
    strange = "$(touch pwned)\n\x1b[2J\u202e;`id`"
    told = complaints(
        [
            *(f"--{name}={long}" for name in ("iterations", "gpus", "nodes", "mem", "time")),
            *(f"--{name}={strange}" for name in ("ntasks", "gres", "signal", "if-infeasible")),
            *("--deadline=\u0663h", f"--model-name={strange}", "--wrap=true"),
        ],
        tmp_path,
        monkeypatch,
        capsys,
    )
    assert len(told) >= 10
    assert sum(map(len, told)) < 100_000
    assert all(line.isprintable() for line in told)
    assert not (Path.cwd() / "pwned").exists()
