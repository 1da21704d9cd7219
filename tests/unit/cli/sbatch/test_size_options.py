"""sbatch's options of how many GPUs, nodes and tasks, and what they say of CPUs and memory."""

import pytest

from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.size_options import PerGpuOptions, Size, per_gpu_options, size_of
from ef_slurm.cli.sbatch.values import Values, layered


def values(*words: str) -> Values:
    given, rest = ALL_OPTIONS.parse(words, "command line")
    assert not rest
    return Values(given, Problems())


def size(*words: str) -> Size:
    found = values(*words)
    answer = size_of(found)
    found.problems.tell()
    return answer


def with_gpu(*words: str) -> PerGpuOptions:
    found = values(*words)
    answer = per_gpu_options(found)
    found.problems.tell()
    return answer


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("", None),
        ("--gpus=6", 6),
        ("-G 6", 6),
        ("--gpus=a100:6", 6),
        ("--gpus-per-node=4", 4),
        ("--gres=gpu:4", 4),
        ("--gres=gpu", 1),
        ("--gres=gpu:4 --nodes=3", 12),
        ("--gres=gpu:a100:4 -N1-2", 8),
        ("--gpus-per-node=4 --ntasks=8 --ntasks-per-node=4", 8),
        ("--gpus-per-task=2 --ntasks=3", 6),
        ("--gpus-per-task=2", None),
        ("--gpus=16 --gres=gpu:4 --nodes=2", 8),
        # One rank per GPU, where nothing else says how many GPUs.
        ("--ntasks=4", 4),
        ("--ntasks-per-node=4 --nodes=2", 8),
        ("--ntasks=1 --gres=gpu:8", 8),
        # One torchrun on each node.
        ("--nodes=2 --ntasks-per-node=1", None),
        ("--nodes=2", None),
        # Ours says all.
        ("--max-gpus=16 --gpus=4 --nodes=1", 16),
    ],
)
def test_the_size_is_an_upper_bound(words: str, most: int | None) -> None:
    assert size(*words.split()).max_gpus == most


@pytest.mark.parametrize(
    ("text", "nodes"), [("2", 2), ("1-4", 4), ("1k", 1024), ("2,4-16:2", 16), ("08", 8)]
)
def test_nodes_as_sbatch_has_them(text: str, nodes: int) -> None:
    found = size(f"--nodes={text}")
    assert (found.max_nodes, found.nodes_said) == (nodes, f"--nodes={text}")


def test_what_was_made_of_them_is_told() -> None:
    (note,) = size("--nodes=2", "--gres=gpu:4").notes
    assert note == "--nodes=2 --gres=gpu:4: at most 8 GPUs; --max-gpus=N sets another bound"
    (note,) = size("--max-gpus=2", "-G4", "-N1").notes
    assert note == "--nodes=1 --gpus=4: not counted beside --max-gpus=2"
    assert size("--max-gpus=2").notes == ()


def test_the_type_of_the_gpus() -> None:
    assert size("--gres=gpu:a100:2", "--gpus=a100:4").gpu_type == "a100"
    assert size("--gres=gpu:a100").gpu_type == "a100"
    assert size("--gpus=4").gpu_type is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--gpus=0", "'0' is no number of GPUs"),
        ("--gpus=a100:2,v100:2", "of one type"),
        ("--gpus=x\ny:2", "is no number of GPUs"),
        ("--gpus=٣", "is no number of GPUs"),
        ("--gres=ssd:1", "is not gpu:N"),
        ("--gres=gpu:2,ssd:1", "is not gpu:N"),
        ("--gres=gpu:a:b:c", "is not gpu:N"),
        ("--nodes=many", "is no number of nodes"),
        ("--nodes=0", "is no number of nodes"),
        ("--nodes=2-", "is no number of nodes"),
        ("--nodes=", "is no number of nodes"),
        ("--ntasks=1.5", "is not a whole number"),
        ("--ntasks-per-gpu=2", "one rank per GPU"),
    ],
)
def test_numbers_that_are_none(word: str, message: str) -> None:
    found = values(word)
    size_of(found)
    (problem,) = str(_told(found.problems)).splitlines()
    assert problem.startswith(f"command line: {word.partition('=')[0]}: ")
    assert message in problem


def _told(problems: Problems) -> Exception:
    with pytest.raises(Exception, match=".") as error:
        problems.tell()
    return error.value


def test_two_types_are_one_too_many() -> None:
    found = values("--gpus=a100:2", "--gres=gpu:v100:2")
    size_of(found)
    assert "several types of GPUs (a100, v100): give one" in str(_told(found.problems))


@pytest.mark.parametrize(
    ("words", "cpus", "memory"),
    [
        ("--cpus-per-gpu=8", 8, None),
        ("--cpus-per-task=8", 8, None),
        ("-c 8 --gpus-per-node=4 --ntasks-per-node=4", 8, None),
        ("-c 32 --gres=gpu:4", 8, None),
        ("-c 32 --gres=gpu:4 --nodes=2 --ntasks-per-node=1", 8, None),
        ("-c 10 --gres=gpu:4", 3, None),
        ("-c 8 --gpus-per-task=2 --ntasks=4", 4, None),
        ("-c 4 --ntasks-per-node=8 --gres=gpu:4", 8, None),
        ("-c 32 --gpus=4", 8, None),
        ("--mem=64G", None, 65536.0),
        ("--mem=256G --gres=gpu:4", None, 65536.0),
        ("--mem=256G --gpus=8 --nodes=2", None, 65536.0),
        ("--mem=0", None, None),
        ("--mem=0 --gres=gpu:4", None, None),
        ("--mem=1 --gres=gpu:4", None, 1.0),
        ("--mem-per-gpu=1T", None, 1024.0 * 1024),
    ],
)
def test_cpus_and_memory_are_per_gpu(words: str, cpus: int | None, memory: float | None) -> None:
    found = with_gpu(*words.split())
    assert (found.cpus, found.memory) == (cpus, memory)


def test_what_was_made_of_cpus_and_memory_is_told() -> None:
    assert with_gpu("-c", "32", "--gres=gpu:4", "--mem=1G").notes == (
        "--cpus-per-task=32 --gres=gpu:4: 8 CPUs with each GPU",
        "--mem=1G --gres=gpu:4: 256 MiB with each GPU",
    )
    assert with_gpu("--cpus-per-task=1").notes == ("--cpus-per-task=1: 1 CPU with each GPU",)
    assert with_gpu("--mem=0").notes == ("--mem=0: each GPU's share of its node's memory",)
    assert with_gpu("--cpus-per-gpu=8", "--mem-per-gpu=1G").notes == ()


def test_of_those_that_say_the_same_thing_one_counts() -> None:
    found = values("--mem=1G", "--mem-per-cpu=1G", "--cpus-per-gpu=1", "--cpus-per-task=2")
    per_gpu_options(found)
    assert str(_told(found.problems)).splitlines() == [
        "command line: --mem-per-cpu: give one of --mem, --mem-per-cpu",
        "command line: --cpus-per-task: give one of --cpus-per-gpu, --cpus-per-task",
    ]


def test_a_higher_layer_replaces_the_whole_group() -> None:
    script, _ = ALL_OPTIONS.parse(["--mem=1G", "-c4", "--nodes=2", "--deadline=1h"], "job.sh:2")
    above, _ = ALL_OPTIONS.parse(["--mem-per-gpu=2G", "--best-effort"], "command line")
    below, kept = layered([script, above])
    assert [option.text for option in below] == ["--cpus-per-task=4", "--nodes=2"]
    assert kept == above
