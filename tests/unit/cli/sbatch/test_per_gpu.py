"""What comes with each GPU of a job whose owner says nothing, or too much."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.per_gpu import PerGpuChoice, choose_per_gpu, nodes_by_type, per_gpu_choice
from ef_slurm.cli.sbatch.submission_options import submission_options
from ef_slurm.formats.gres import GpuCount
from ef_slurm.model import PerGpu
from ef_slurm.siteconfig.tables import JobsTable, PerGpuRule, SiteConfig
from ef_slurm.slurm.types import SlurmNode
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm

NOW = 1_700_000_000.0
JOB = ("--best-effort", "--iterations=1", "--global-batch-size=8", "--throughput=1:1")
A100 = SlurmNode(
    "n1", frozenset({"IDLE"}), (GpuCount("a100", 4),), ("ef",), cpus=64, memory=250_000.0
)
SMALL = replace(A100, name="n2", cpus=48)
OLD = replace(A100, name="n3", gpus=(GpuCount("3090", 4),), cpus=32, memory=120_000.0)


def chosen(
    *words: str,
    nodes: tuple[SlurmNode, ...] = (A100,),
    types: tuple[str, ...] = ("a100", "3090", "gpu"),
    default: PerGpu | None = None,
    memory_counts: bool = True,
    **site: Any,
) -> PerGpuChoice:
    given, _ = ALL_OPTIONS.parse([*JOB, *words], "command line")
    return choose_per_gpu(
        submission_options(given, (), NOW, UTC),
        replace(JobsTable(), **site),
        nodes_by_type(nodes, "ef", "gpu", types),
        default=default or PerGpu(),
        memory_counts=memory_counts,
    )


def test_by_default_a_gpu_comes_with_its_share_of_the_node() -> None:
    assert chosen().options == ("--cpus-per-gpu=16", "--mem-per-gpu=62500M")
    assert chosen().per_gpu == PerGpu(16, 62_500)
    assert chosen().notes == ()


def test_memory_is_asked_for_only_where_slurm_gives_it() -> None:
    assert chosen(memory_counts=False).options == ("--cpus-per-gpu=16",)
    assert chosen("--mem-per-gpu=100G", memory_counts=False).per_gpu == PerGpu(16, 0)


def test_the_smallest_share_of_the_nodes_that_the_job_may_use_counts() -> None:
    nodes = (A100, SMALL, OLD, replace(OLD, name="c1", partitions=("batch",), cpus=4))
    assert chosen(nodes=nodes, types=("a100",)).per_gpu == PerGpu(12, 62_500)
    assert chosen(nodes=nodes).per_gpu == PerGpu(8, 30_000)


def test_shares_are_of_all_gpus_of_a_node_and_of_whole_cores() -> None:
    both = (GpuCount("a100", 4), GpuCount("1g.10gb", 7))
    mixed = replace(A100, gpus=both, threads_per_core=2)
    # 64 threads are 32 cores, two for each of 11 GPUs.
    assert chosen(nodes=(mixed,)).per_gpu == PerGpu(4, 22_727)
    assert chosen(nodes=(replace(A100, gpus=(GpuCount("", 4),)),)).per_gpu == PerGpu(16, 62_500)


def test_few_cores_or_none_known_ask_for_nothing() -> None:
    assert chosen(nodes=(replace(A100, cpus=2, memory=0.0),)).options == ()
    assert chosen(nodes=()).options == ()


def test_one_thread_of_each_core_is_half_as_many_cpus() -> None:
    node = replace(A100, threads_per_core=2)
    assert chosen("--hint=nomultithread", nodes=(node,)).options[0] == "--cpus-per-gpu=8"
    assert chosen("--hint=multithread", nodes=(node,)).options[0] == "--cpus-per-gpu=16"


def test_the_owners_word_counts_first() -> None:
    assert chosen("--cpus-per-gpu=4").options == ("--cpus-per-gpu=4", "--mem-per-gpu=62500M")
    assert chosen("--cpus-per-gpu=4").per_gpu == PerGpu(4, 62_500)
    assert chosen("--mem-per-gpu=10G").options == ("--cpus-per-gpu=16", "--mem-per-gpu=10240M")
    assert chosen("--mem-per-cpu=1000").options == ("--cpus-per-gpu=16", "--mem-per-cpu=1000M")
    assert chosen("--mem-per-cpu=1000").per_gpu == PerGpu(16, 16_000)


def test_sbatchs_other_words_for_it_are_per_gpu() -> None:
    script = ("--gres=gpu:4", "--nodes=2", "--cpus-per-task=32", "--mem=100G")
    assert chosen(*script).options == ("--cpus-per-gpu=8", "--mem-per-gpu=25600M")
    assert chosen("--mem=0").options == ("--cpus-per-gpu=16", "--mem-per-gpu=62500M")
    with pytest.raises(
        UsageError,
        match="no node has 65 CPUs for one GPU: the largest that fits is --cpus-per-gpu=64",
    ):
        chosen("--cpus-per-task=65")


def test_a_bound_of_nodes_is_one_of_gpus() -> None:
    assert chosen("--nodes=2").max_gpus == 8
    assert chosen("--nodes=2").notes == ("--nodes=2: at most 8 GPUs",)
    # Two GPUs of a node have so many CPUs.
    assert chosen("--nodes=2", "--cpus-per-gpu=32").max_gpus == 4
    # What the other options bound closer is not told again.
    assert chosen("--nodes=1", "--gpus=2").notes == ()
    assert chosen("--nodes=1", "--max-gpus=8").max_gpus is None
    # Whichever type it gets.
    both = (A100, replace(OLD, gpus=(GpuCount("3090", 2),)))
    assert chosen("--nodes=2", nodes=both).max_gpus == 4


def test_then_the_sites_keys_and_slurms_defaults() -> None:
    assert chosen(cpus_per_gpu=6, memory_per_gpu=1000, default=PerGpu(3, 500)).per_gpu == PerGpu(
        6, 1000
    )
    assert chosen(default=PerGpu(3, 500)).options == ("--cpus-per-gpu=3", "--mem-per-gpu=500M")
    slurm = PerGpuRule.SLURM
    assert chosen(cpus_per_gpu=slurm, memory_per_gpu=slurm).options == ()


def test_what_no_size_has_is_told() -> None:
    assert chosen("--cpus-per-gpu=32").notes == ("At most 2 GPUs of a node with 32 CPUs each",)
    assert chosen("--mem-per-gpu=100G").notes == ("At most 2 GPUs of a node with 102400 MiB each",)
    # Three would fit, but there are no three.
    assert chosen("--cpus-per-gpu=20").notes == ("At most 2 GPUs of a node with 20 CPUs each",)
    assert chosen("--cpus-per-gpu=64").notes == ("At most 1 GPU of a node with 64 CPUs each",)
    assert chosen("--cpus-per-gpu=16").notes == ()


def test_it_is_told_by_type() -> None:
    assert chosen("--cpus-per-gpu=33", nodes=(A100, OLD)).notes == (
        "No GPU of type 3090 has 33 CPUs and 30000 MiB on its node",
        "At most 1 GPU of type a100 of a node with 33 CPUs each",
    )


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--cpus-per-gpu=65", "no node has 65 CPUs for one GPU: the largest .* --cpus-per-gpu=64$"),
        ("--mem-per-gpu=245G", "no node has 250880 MiB .* --mem-per-gpu=250000M$"),
    ],
)
def test_what_no_node_has_is_an_error(word: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        chosen(word)


def test_slurm_is_asked() -> None:
    slurm = MemorySlurm(MemoryCluster({"n1": 8, "n2": 4}), lambda: NOW)
    given, _ = ALL_OPTIONS.parse(JOB, "command line")
    requested = submission_options(given, (), NOW, UTC)
    choice = per_gpu_choice(requested, SiteConfig(), slurm, ("gpu",))
    assert choice == PerGpuChoice(PerGpu(8, 0), ("--cpus-per-gpu=8",))
