"""sbatch's options of how many GPUs, nodes and tasks: bounds within which ef-slurm chooses.

And what they say about CPUs and memory: those are kept per GPU, since GPUs come and go.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ef_slurm.cli.sbatch.values import CPUS, MEMORY, Values
from ef_slurm.formats.memory import parse_memory
from ef_slurm.formats.sentences import gpus

_PER_NODE = ("gpus-per-node", "gres")
_PER_NODE_TASKS = ("ntasks-per-node", "tasks-per-node")
_SIZES = ("nodes", "gpus", *_PER_NODE, "gpus-per-task", "ntasks", *_PER_NODE_TASKS)

_GPUS = re.compile(r"(?:([^:,=\s]+)[:=])?(\d{1,9})", re.ASCII)
_GRES = re.compile(r"(?:gres[/:])?gpu(?:[:=](.+))?", re.ASCII)
_NODES = re.compile(r"(\d{1,9})([kKmM]?)", re.ASCII)
_THOUSANDS = {"": 1, "k": 1024, "m": 1024 * 1024}


@dataclass(frozen=True, slots=True)
class Size:
    """What the options say of the job's size.

    Args:
        max_gpus, max_nodes: at most so many; None for as many as ef-slurm chooses.
        nodes_said: the option that says the nodes.
        gpu_type: of the GPUs; None where they do not say it.
        notes: for the owner: what was made of them.
    """

    max_gpus: int | None = None
    max_nodes: int | None = None
    nodes_said: str = ""
    gpu_type: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PerGpuOptions:
    """CPUs, and MiB of memory, that are to come with each GPU; None for what is not said.

    Args:
        memory_per_cpu: instead of `memory`: with each of its CPUs.
        notes: for the owner: what was made of the options.
    """

    cpus: int | None = None
    memory: float | None = None
    memory_per_cpu: float | None = None
    notes: tuple[str, ...] = ()


def size_of(values: Values) -> Size:
    """The bounds that the options set. What is wrong with them is noted.

    `--max-gpus` is ours and says all: nothing else counts beside it.
    """
    asked = _Asked.of(values)
    if values.has("max-gpus"):
        other = values.said(*_SIZES)
        notes = (f"{other}: not counted beside {values.said('max-gpus')}",) if other else ()
        return Size(values.whole("max-gpus"), gpu_type=asked.gpu_type, notes=notes)
    bounds = list(_bounds(asked, values))
    if not bounds:
        return Size(None, asked.nodes, values.said("nodes"), asked.gpu_type)
    most, said = min(bounds)
    note = f"{said}: at most {gpus(most)}; --max-gpus=N sets another bound"
    return Size(most, asked.nodes, values.said("nodes"), asked.gpu_type, (note,))


def per_gpu_options(values: Values) -> PerGpuOptions:
    """What is to come with each GPU. What is wrong with the options is noted."""
    for names in (MEMORY, CPUS):
        given = [name for name in sorted(names) if values.has(name)]
        if len(given) > 1:
            values.wrong(given[-1], f"give one of {', '.join(f'--{name}' for name in given)}")
    asked = _Asked.of(values)
    notes: list[str] = []
    cpus = values.whole("cpus-per-gpu")
    per_task = values.whole("cpus-per-task")
    if cpus is None and per_task is not None:
        cpus = math.ceil(per_task * asked.tasks_per_gpu)
        notes.append(f"{_with(values, 'cpus-per-task', asked)}: {_cpus(cpus)} with each GPU")
    memory = values.parsed("mem-per-gpu", parse_memory)
    per_node = values.parsed("mem", parse_memory)
    if per_node is not None and memory is None:
        memory = float(math.floor(per_node / (asked.gpus_of_a_node or 1)))
        if per_node:
            said = _with(values, "mem", asked)
            notes.append(f"{said}: {max(1.0, memory):.0f} MiB with each GPU")
            memory = max(1.0, memory)
    if memory == 0:
        notes.append(f"{values.said(*sorted(MEMORY))}: each GPU's share of its node's memory")
        memory = None
    return PerGpuOptions(cpus, memory, values.parsed("mem-per-cpu", parse_memory), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The numbers as they were given; None for what was not."""

    gpus: int | None
    gpus_per_node: int | None
    gpus_per_task: int | None
    nodes: int | None
    tasks: int | None
    tasks_per_node: int | None
    gpu_type: str | None

    @classmethod
    def of(cls, values: Values) -> _Asked:
        types: dict[str, str] = {}
        numbers: dict[str, int | None] = {}
        for name in ("gpus", "gpus-per-node", "gpus-per-task"):
            found = values.parsed(name, _typed_gpus)
            numbers[name] = None if found is None else found[1]
            if found is not None and found[0]:
                types[name] = found[0]
        gres = values.parsed("gres", _gres)
        if gres is not None:
            numbers["gres"] = gres[1]
            if gres[0]:
                types["gres"] = gres[0]
        if len(set(types.values())) > 1:
            several = ", ".join(sorted(set(types.values())))
            values.wrong(max(types), f"several types of GPUs ({several}): give one")
        ranks = values.whole("ntasks-per-gpu")
        if ranks not in (None, 1):
            values.wrong("ntasks-per-gpu", "ef-slurm starts one rank per GPU")
        per_node = [values.whole(name) for name in _PER_NODE_TASKS]
        return cls(
            gpus=numbers["gpus"],
            gpus_per_node=numbers["gpus-per-node"] or numbers.get("gres"),
            gpus_per_task=numbers["gpus-per-task"],
            nodes=values.parsed("nodes", _most_nodes),
            tasks=values.whole("ntasks"),
            tasks_per_node=next((one for one in per_node if one), None),
            gpu_type=next(iter(types.values()), None),
        )

    @property
    def likely_nodes(self) -> int:
        """How many nodes sbatch would have taken."""
        if self.nodes is not None:
            return self.nodes
        if self.tasks is not None and self.tasks_per_node is not None:
            return math.ceil(self.tasks / self.tasks_per_node)
        return 1

    @property
    def all_tasks(self) -> int | None:
        if self.tasks is not None:
            return self.tasks
        return None if self.tasks_per_node is None else self.tasks_per_node * self.likely_nodes

    @property
    def gpus_of_a_node(self) -> int | None:
        """How many GPUs of a node the script was written for."""
        if self.gpus_per_node is not None:
            return self.gpus_per_node
        whole = self.gpus
        if whole is None and self.gpus_per_task is not None:
            whole = self.gpus_per_task * (self.all_tasks or self.likely_nodes)
        return None if whole is None else math.ceil(whole / self.likely_nodes)

    @property
    def tasks_per_gpu(self) -> Fraction:
        """Of the script as it was written: a rank is a task where it does not say otherwise."""
        if self.gpus_per_task is not None:
            return Fraction(1, self.gpus_per_task)
        if self.gpus_of_a_node is None:
            return Fraction(1)
        tasks = self.all_tasks or self.likely_nodes
        return Fraction(tasks, self.gpus_of_a_node * self.likely_nodes)


def _bounds(asked: _Asked, values: Values) -> Iterator[tuple[int, str]]:
    """Each bound of GPUs, and the options that set it."""
    if asked.gpus is not None:
        yield asked.gpus, values.said("gpus")
    if asked.gpus_per_node is not None:
        said = values.said("nodes", *_PER_NODE)
        yield asked.gpus_per_node * asked.likely_nodes, said
    if asked.gpus_per_task is not None and asked.all_tasks is not None:
        said = values.said("gpus-per-task", "nodes", "ntasks", *_PER_NODE_TASKS)
        yield asked.gpus_per_task * asked.all_tasks, said
    counted = (asked.gpus, asked.gpus_per_node, asked.gpus_per_task)
    # One task on each of several nodes starts the ranks there, and is none itself.
    starts = asked.nodes is not None and asked.all_tasks == asked.nodes
    if asked.all_tasks is not None and counted == (None, None, None) and not starts:
        yield asked.all_tasks, values.said("nodes", "ntasks", *_PER_NODE_TASKS)


def _with(values: Values, name: str, asked: _Asked) -> str:
    """The option, and those by which it was divided."""
    return values.said(name, *(_SIZES if asked.gpus_of_a_node is not None else ()))


def _cpus(count: int) -> str:
    return f"{count} CPU{'' if count == 1 else 's'}"


def _typed_gpus(text: str) -> tuple[str, int]:
    """`[TYPE:]N` of sbatch's options.

    >>> _typed_gpus("a100:4"), _typed_gpus("2")
    (('a100', 4), ('', 2))
    """
    found = _GPUS.fullmatch(text.strip())
    if found is None or not int(found[2]):
        raise ValueError(f"{text!r} is no number of GPUs: N or TYPE:N, of one type")
    return found[1] or "", int(found[2])


def _gres(text: str) -> tuple[str, int]:
    """`gpu`, `gpu:N`, `gpu:TYPE` and `gpu:TYPE:N`.

    >>> _gres("gpu:a100:4"), _gres("gpu:2"), _gres("gpu"), _gres("gpu:a100")
    (('a100', 4), ('', 2), ('', 1), ('a100', 1))
    """
    found = _GRES.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is not gpu:N or gpu:TYPE:N: ef-slurm sets what a job has of GPUs at every "
            "change, and of nothing else; --licenses counts what is not of nodes"
        )
    rest = found[1]
    if rest is None:
        return "", 1
    if _GPUS.fullmatch(rest):
        return _typed_gpus(rest)
    if "," in rest or ":" in rest or "=" in rest:
        raise ValueError(f"{text!r} is not gpu:N or gpu:TYPE:N, of one type")
    return rest, 1


def _most_nodes(text: str) -> int:
    """The most of `--nodes`: N, MIN-MAX, or sizes such as 1,2,4-8 (k and m as sbatch has them).

    >>> _most_nodes("2"), _most_nodes("1-4"), _most_nodes("1k"), _most_nodes("2,4-16:2")
    (2, 4, 1024, 16)
    """
    words = [word.partition(":")[0] for part in text.split(",") for word in part.split("-")]
    found = [_NODES.fullmatch(word.strip()) for word in words]
    counts = [int(one[1]) * _THOUSANDS[one[2].lower()] for one in found if one is not None]
    if len(counts) < len(words) or max(counts) < 1:
        raise ValueError(f"{text!r} is no number of nodes: N or MIN-MAX")
    return max(counts)
