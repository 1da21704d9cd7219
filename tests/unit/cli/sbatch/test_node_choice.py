"""Which nodes a job may have: told Slurm in words that it keeps through every change of size."""

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.node_choice import LARGEST_FILE, NodeChoice, node_choice
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.submission_options import submission_options
from ef_slurm.formats.gres import GpuCount
from ef_slurm.slurm.types import SlurmNode

GPUS = (GpuCount("", 4),)


def node(name: str, *features: str, partition: str = "ef") -> SlurmNode:
    return SlurmNode(name, frozenset({"IDLE"}), GPUS, (partition,), features=features)


NODES = (
    node("n1", "a100", "ib"),
    node("n2", "a100"),
    node("n3", "h100", "ib"),
    node("n4"),
    node("other", "a100", partition="batch"),
    SlurmNode("login", frozenset(), (), ("ef",)),
)


def choice(*words: str) -> NodeChoice:
    given, _ = ALL_OPTIONS.parse(["--best-effort", *words], "command line")
    problems = Problems()
    found = node_choice(submission_options(given, (), 0.0, UTC), "ef", NODES, problems)
    problems.tell()
    return found


def test_without_options_all_may_be_used() -> None:
    assert choice() == NodeChoice()
    assert choice().of(NODES) == NODES


@pytest.mark.parametrize(
    ("words", "allowed", "options"),
    [
        (["-x", "n[1-2]"], "n3 n4", ["--exclude=n[1-2]"]),
        (["--exclude=other"], "n1 n2 n3 n4", ["--exclude=other"]),
        # A list of nodes would be overwritten when ef-slurm places the job.
        (["-w", "n2,n1"], "n1 n2", ["--exclude=n[3-4]"]),
        (["-w", "n[1-3]", "-x", "n2"], "n1 n3", ["--exclude=n[2,4]"]),
        (["-w", "n[1-4]"], "n1 n2 n3 n4", []),
        (["-C", "a100"], "n1 n2", ["--constraint=a100"]),
        (["-C", "a100,ib"], "n1", ["--constraint=a100&ib"]),
        (["-C", " a100 | h100 "], "n1 n2 n3", ["--constraint=a100|h100"]),
        # What Slurm makes of these differs from version to version.
        (["-C", "(a100|h100)&ib"], "n1 n3", ["--exclude=n[2,4]"]),
        (["-C", "ib", "-x", "n1"], "n3", ["--constraint=ib", "--exclude=n1"]),
    ],
)
def test_restrictions(words: list[str], allowed: str, options: list[str]) -> None:
    found = choice(*words)
    if options:
        assert found.allowed == frozenset(allowed.split())
    assert list(found.options) == options
    assert [f"{name}={text}" for name, text in found.asked] == [
        option.replace("--exclude", "excluded nodes").replace("--constraint", "features")
        for option in reversed(options)
    ][::-1]


def test_a_list_that_is_too_long_to_be_told() -> None:
    """Names without numbers in a row: nothing of them can be folded."""
    many = tuple(node(f"{'x' * 60}{number}y") for number in range(2000))
    given, _ = ALL_OPTIONS.parse(["--best-effort", f"-w{many[0].name}"], "command line")
    problems = Problems()
    node_choice(submission_options(given, (), 0.0, UTC), "ef", many, problems)
    with pytest.raises(UsageError, match="say with --constraint which it may have"):
        problems.tell()


def test_temporary_disk_is_a_restriction_too() -> None:
    with pytest.raises(UsageError, match=r"--tmp=2048M \(the most that a node has is 0M\)"):
        choice("--tmp=2G")
    given, _ = ALL_OPTIONS.parse(["--best-effort", "--tmp=2G"], "command line")
    nodes = (NODES[0], replace(NODES[1], temporary_disk=4096.0))
    found = node_choice(submission_options(given, (), 0.0, UTC), "ef", nodes, Problems())
    assert found.allowed == frozenset({"n2"})
    assert (found.options, found.asked) == ((), (("temporary disk per node", "2048"),))


def test_what_was_made_of_a_list_is_told() -> None:
    assert choice("-w", "n[1-2]").notes == (
        "--nodelist: none but n[1-2]; ef-slurm chooses which of them",
    )


def test_lists_in_files(tmp_path: Path) -> None:
    file = tmp_path / "nodes"
    file.write_text("n1\nn2  n3\n", encoding="utf-8")
    assert choice(f"--nodefile={file}").allowed == frozenset({"n1", "n2", "n3"})
    assert choice(f"--nodelist={file}").allowed == frozenset({"n1", "n2", "n3"})
    for words, message in (
        (f"--nodefile={tmp_path / 'none'}", "no such file"),
        (f"--nodefile={tmp_path}", "no such file"),
        ("--nodefile=/dev/zero", "no such file"),
    ):
        with pytest.raises(UsageError, match=message):
            choice(words)
    file.write_bytes(b"n" * (LARGEST_FILE + 1))
    with pytest.raises(UsageError, match="more than 1048576 bytes"):
        choice(f"--nodefile={file}")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text"):
        choice(f"--nodefile={file}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--exclude=n9"], "--exclude: Slurm has no node n9; it has "),
        (["--exclude="], "--exclude: name at least one node"),
        (["--exclude=n[1"], "--exclude: "),
        (["--nodelist=n9"], "--nodelist: Slurm has no node n9"),
        (["--nodelist=other"], "no node with GPUs of the partition ef, which has n[1-4]"),
        (["--nodelist=login"], "no node with GPUs of the partition ef"),
        (["--exclude=n[1-4]"], "--exclude=n[1-4]: no node with GPUs of the partition ef is left"),
        (["-C", "a100&h100"], "is left"),
        (["-C", "v100"], "has the feature 'v100' now; it has a100, h100, ib"),
        (["-C", "a100*2"], "a number of nodes with a feature"),
        (["-C", "[a100|h100]"], "brackets: "),
        (["-C", "a100|h100&ib"], "say with parentheses which is meant"),
        (["-C", ""], "is no constraint"),
        (["-C", "a100&"], "is no constraint"),
        (["-C", "(a100"], "is no constraint"),
        (["-C", "a\x1b1m"], "it does not print"),
        (["-C", "a" * 10_000_000], "4000 at most"),
        (["-C", "(" * 2000 + "a" + ")" * 1999], "is no constraint"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_words(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        choice(*words)
    assert message in str(error.value)
    assert len(str(error.value)) < 10_000
