"""The CPUs and the memory that come with each GPU of a job, and which sizes that leaves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions, per_gpu_of
from ef_slurm.formats.sentences import gpus
from ef_slurm.model import PerGpu
from ef_slurm.siteconfig.tables import JobsTable, PerGpuRule, SiteConfig
from ef_slurm.slurm.fair_share import fair_share, most_gpus
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.types import SlurmNode

_ONE_THREAD = "--hint=nomultithread"


@dataclass(frozen=True, slots=True)
class PerGpuChoice:
    """What a job asks for with each GPU.

    Args:
        per_gpu: in all, as its owner and the site have it.
        options: of sbatch, that say so.
        max_gpus: the largest size that the nodes allow that its owner bounds; None for no bound.
        notes: for the owner: which sizes there are none of.
    """

    per_gpu: PerGpu
    options: tuple[str, ...] = ()
    max_gpus: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodesOfType:
    """The nodes with GPUs of one type, and how many each has of it."""

    gpu_type: str
    nodes: tuple[tuple[SlurmNode, int], ...]


def per_gpu_choice(
    requested: SubmissionOptions,
    site: SiteConfig,
    slurm: Slurm,
    types: Sequence[str],
    nodes: Sequence[SlurmNode] | None = None,
) -> PerGpuChoice:
    """What the job asks for with each GPU, by what Slurm says of the nodes and of its defaults.

    Args:
        types: of GPUs that it may run on.
        nodes: that it may have; None for all.

    Raises:
        UsageError: no node has so much.
        SlurmError: Slurm does not answer.
    """
    partition = site.slurm.partition
    configuration = slurm.configuration()
    own = [one.default_per_gpu for one in slurm.partitions() if one.name == partition]
    everywhere = configuration.default_per_gpu
    return choose_per_gpu(
        requested,
        site.jobs,
        nodes_by_type(
            slurm.nodes() if nodes is None else nodes, partition, site.nodes.gpu_type, types
        ),
        default=PerGpu(
            next((one.cpus for one in own if one.cpus), everywhere.cpus),
            next((one.memory for one in own if one.memory), everywhere.memory),
        ),
        memory_counts=configuration.memory_counts,
    )


def nodes_by_type(
    nodes: Iterable[SlurmNode], partition: str, untyped: str, types: Sequence[str]
) -> tuple[NodesOfType, ...]:
    """The partition's nodes for each of the types; types that no node has are left out.

    Args:
        untyped: what GPUs are called whose gres names no type.
    """
    found: dict[str, list[tuple[SlurmNode, int]]] = {}
    for node in nodes:
        counts: dict[str, int] = {}
        for gpu in node.gpus if partition in node.partitions else ():
            kind = gpu.gpu_type or untyped
            counts[kind] = counts.get(kind, 0) + gpu.count
        for kind, count in counts.items():
            if count and kind in types:
                found.setdefault(kind, []).append((node, count))
    return tuple(NodesOfType(kind, tuple(found[kind])) for kind in sorted(found))


def choose_per_gpu(
    requested: SubmissionOptions,
    jobs: JobsTable,
    kinds: Sequence[NodesOfType],
    *,
    default: PerGpu,
    memory_counts: bool,
) -> PerGpuChoice:
    """What the job asks for with each GPU: its owner's word, else the site's, else a fair share.

    Args:
        kinds: the nodes that it may use.
        default: DefCpuPerGPU and DefMemPerGPU.
        memory_counts: whether Slurm gives memory to jobs.

    Raises:
        UsageError: no node has so much.
    """
    asked, said = per_gpu_of(requested), requested.with_gpu
    nodes = {node.name: node for kind in kinds for node, _ in kind.nodes}.values()
    fair = fair_share(nodes, memory_counts=memory_counts)
    cpus, memory, options = asked.cpus, asked.memory, []
    if said.cpus is None:
        cpus = _by_rule(jobs.cpus_per_gpu, default.cpus, _cores(fair.cpus, requested, nodes))
    if cpus:
        options.append(f"--cpus-per-gpu={cpus:.0f}")
    if said.memory_per_cpu is not None:
        memory = said.memory_per_cpu * max(1.0, cpus)
        options.append(f"--mem-per-cpu={math.ceil(said.memory_per_cpu)}M")
    elif said.memory is not None:
        options.append(f"--mem-per-gpu={math.ceil(said.memory)}M")
    elif memory_counts:
        memory = _by_rule(jobs.memory_per_gpu, default.memory, fair.memory)
        if memory:
            options.append(f"--mem-per-gpu={memory:.0f}M")
    per_gpu = PerGpu(cpus, memory if memory_counts else 0.0)
    notes = list(_notes(per_gpu, kinds))
    most = _most_on_nodes(requested, per_gpu, kinds)
    if most is not None and (requested.max_gpus is None or most < requested.max_gpus):
        notes.append(f"{requested.size.nodes_said}: at most {gpus(most)}")
    return PerGpuChoice(per_gpu, tuple(options), most, tuple(notes))


def _most_on_nodes(
    requested: SubmissionOptions, asked: PerGpu, kinds: Sequence[NodesOfType]
) -> int | None:
    """The largest size on so many nodes as its owner allows, whichever type of GPUs it gets."""
    nodes = requested.size.max_nodes
    if nodes is None:
        return None
    sizes = [most for kind in kinds if (most := _most(asked, kind))]
    return nodes * min(sizes) if sizes else None


def _by_rule(rule: int | PerGpuRule, default: float, fair: float) -> float:
    match rule:
        case PerGpuRule.SLURM:
            return 0.0
        case PerGpuRule.FAIR:
            return default or fair
        case number:
            return float(number)


def _cores(fair: float, requested: SubmissionOptions, nodes: Iterable[SlurmNode]) -> float:
    """A CPU is a whole core to Slurm where the job uses one thread of each."""
    if _ONE_THREAD not in (*requested.on_command_line, *requested.in_script):
        return fair
    threads = max((node.threads_per_core for node in nodes), default=1)
    return max(1.0, fair // threads) if fair else 0.0


def _notes(asked: PerGpu, kinds: Sequence[NodesOfType]) -> Iterator[str]:
    """Which sizes inside a node do not exist.

    Raises:
        UsageError: none does, on no node.
    """
    most = {kind.gpu_type: _most(asked, kind) for kind in kinds}
    if kinds and not any(most.values()):
        raise UsageError(_too_much(asked, [node for kind in kinds for node, _ in kind.nodes]))
    for kind in kinds:
        whole, size = _most(PerGpu(), kind), most[kind.gpu_type]
        tight = PerGpu(
            asked.cpus if _most(PerGpu(asked.cpus), kind) < whole else 0.0,
            asked.memory if _most(PerGpu(0.0, asked.memory), kind) < whole else 0.0,
        )
        where = f" of type {kind.gpu_type}" if len(kinds) > 1 else ""
        if not size:
            yield f"No GPU{where} has {_amounts(asked)} on its node"
        elif size < whole:
            yield f"At most {gpus(size)}{where} of a node with {_amounts(tight)} each"


def _too_much(asked: PerGpu, nodes: Sequence[SlurmNode]) -> str:
    """What no node gives to one GPU, and the largest that fits."""
    most = PerGpu(max(node.cpus for node in nodes), max(node.memory for node in nodes))
    lacking = PerGpu(
        asked.cpus if asked.cpus > most.cpus else 0.0,
        asked.memory if asked.memory > most.memory else 0.0,
    )
    if lacking == PerGpu():  # each is there, but not on one node
        return f"no node has {_amounts(asked)} together for one GPU"
    have = PerGpu(
        most.cpus if lacking.cpus else 0.0,
        most.memory if lacking.memory else 0.0,
    )
    flags = [flag for flag, one in (("cpus", lacking.cpus), ("mem", lacking.memory)) if one]
    largest = " ".join(
        f"--cpus-per-gpu={have.cpus:.0f}" if flag == "cpus" else f"--mem-per-gpu={have.memory:.0f}M"
        for flag in flags
    )
    return f"no node has {_amounts(lacking)} for one GPU: the largest that fits is {largest}"


def _most(asked: PerGpu, kind: NodesOfType) -> int:
    return max(most_gpus(asked, node, count) for node, count in kind.nodes)


def _amounts(per_gpu: PerGpu) -> str:
    """In words: 32 CPUs and 100000 MiB."""
    parts = ((per_gpu.cpus, "CPUs"), (per_gpu.memory, "MiB"))
    return " and ".join(f"{number:.0f} {unit}" for number, unit in parts if number)
