"""Slurm's generic resources as text: "gpu:a100:4(S:0-1),gpu:3090:2", "cpu=8,gres/gpu:a100=4".

One grammar for all places where Slurm writes them: Gres= of nodes, what a job asks for and what it
holds, TRES of the accounting. An item of the list is

    [gres: or gres/] name [:type] [:no_consume] [: or = count] [(details)]

Names are matched in lower case, types as they stand: they may begin with a digit (3090, 1g.10gb)
and be "(null)", which is none. A count may end in K, M, G, T or P (1024, 1024², …) and is 1 where
there is none. A last field that is a number is the count, as in Slurm: "gpu:3090" is 3,090 GPUs.
What is no generic resource (cpu=8, mem=4G, license/matlab=1) is passed over, and so is what cannot
be read and names no GPUs: nothing here depends on it.

GPUs can also be shared, as shards or by MPS. Whoever holds any of those keeps others from having
the whole GPU; `held_gpus` counts such GPUs, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

GPU = "gpu"
SHARED = frozenset({"shard", "mps"})
"""Resources that are parts of GPUs."""

NO_CONSUME = "no_consume"
"""What stands in the place of a type, or behind it, where jobs take nothing away."""

_UNITS: dict[str, int] = {"": 1} | {unit: 1024**n for n, unit in enumerate("kmgtp", 1)}
_COUNT = re.compile(r"(\d{1,18})([kmgtp]?)", re.A | re.I)
_ITEM = re.compile(
    r"\s*(?:gres[:/])?\s*(?P<name>\w[\w.-]*)\s*"
    r"(?P<fields>(?::[^:=()]*)*)"
    r"(?:=\s*(?P<count>[^()]*?))?\s*"
    r"(?P<details>(?:\([^()]*\)\s*)*)",
    re.A | re.I,
)
_NOTHING = frozenset({"", "(null)", "n/a", "none", "unknown"})
_OTHER_TRES = frozenset({"billing", "cpu", "energy", "mem", "node", "pages", "vmem"})
_OTHER_KINDS = re.compile(r"\s*(?:license|bb|fs|ic|usage)/", re.I)
_NAMES_GPUS = re.compile(r"gpu|shard|mps", re.I)
_PART_USED = re.compile(r"\b([1-9]\d*)/\d+", re.A)


class GresError(ValueError):
    """Not a list of generic resources."""


@dataclass(frozen=True, slots=True)
class Gres:
    """One item of a list.

    Args:
        name: gpu, shard, mps, …; in lower case.
        type: "" where none is named.
        count: 1 where none is named.
        no_consume: whether jobs that ask for it take nothing away.
        details: what stood in parentheses: "S:0-1", "IDX:0-3", "0/4,2/4".
    """

    name: str
    type: str = ""
    count: int = 1
    no_consume: bool = False
    details: str = ""


@dataclass(frozen=True, slots=True)
class GpuCount:
    """GPUs of one type; `gpu_type` is "" where Slurm names none."""

    gpu_type: str
    count: int


def parse_gres(text: str) -> tuple[Gres, ...]:
    """The generic resources of a list, in its order.

    Raises:
        GresError: an item that names GPUs in a way which this module's grammar does not know.

    >>> parse_gres("gpu:3090:4(S:0-1), shard:1k")
    ... # doctest: +NORMALIZE_WHITESPACE
    (Gres(name='gpu', type='3090', count=4, no_consume=False, details='S:0-1'),
     Gres(name='shard', type='', count=1024, no_consume=False, details=''))
    """
    return tuple(_parse(text))


def format_gres(items: Iterable[Gres]) -> str:
    """The list as Slurm's nodes show it: the inverse of `parse_gres`.

    >>> format_gres([Gres("gpu", "a100", 4, details="S:0-1"), Gres("mps", count=400)])
    'gpu:a100:4(S:0-1),mps:400'
    """
    return ",".join(
        ":".join(
            (
                item.name,
                *((item.type,) if item.type else ()),
                *((NO_CONSUME,) if item.no_consume else ()),
                str(item.count),
            )
        )
        + (f"({item.details})" if item.details else "")
        for item in items
    )


def gpus_of(items: Iterable[Gres]) -> tuple[GpuCount, ...]:
    """Whole GPUs by type, in the order of the list.

    >>> gpus_of(parse_gres("gpu:a100:2,gpu:t4:2,shard:8"))
    (GpuCount(gpu_type='a100', count=2), GpuCount(gpu_type='t4', count=2))
    """
    counts: dict[str, int] = {}
    for item in items:
        if item.name == GPU:
            counts[item.type] = counts.get(item.type, 0) + item.count
    return _counts(counts)


def gpus_of_tres(text: str) -> tuple[GpuCount, ...]:
    """Whole GPUs by type in a list of TRES, where one without a type is the sum of all.

    Raises:
        GresError: see `parse_gres`.

    >>> gpus_of_tres("cpu=8,mem=4G,gres/gpu=4,gres/gpu:a100=3")
    (GpuCount(gpu_type='a100', count=3), GpuCount(gpu_type='', count=1))
    """
    counts = {one.gpu_type: one.count for one in gpus_of(parse_gres(text))}
    total = counts.pop("", 0)
    counts[""] = total - sum(counts.values())
    return _counts(counts)


def held_gpus(text: str) -> tuple[GpuCount, ...]:
    """GPUs by type that a job keeps others from having on one node, by its `gres_detail`.

    Of shares it holds as many GPUs as the details name; Slurm gives a job those of one GPU where
    they name none.

    Raises:
        GresError: see `parse_gres`.

    >>> held_gpus("gpu:a100:2(IDX:0-1)"), held_gpus("shard:a100:3(0/4,3/4)")
    ((GpuCount(gpu_type='a100', count=2),), (GpuCount(gpu_type='a100', count=1),))
    """
    counts: dict[str, int] = {}
    for item in parse_gres(text):
        gpus = 0
        if item.name == GPU:
            gpus = item.count
        elif item.name in SHARED and item.count:
            gpus = len(_PART_USED.findall(item.details)) or 1
        counts[item.type] = counts.get(item.type, 0) + gpus
    return _counts(counts)


def _counts(counts: dict[str, int]) -> tuple[GpuCount, ...]:
    return tuple(GpuCount(gpu_type, count) for gpu_type, count in counts.items() if count > 0)


def _parse(text: str) -> Iterator[Gres]:
    for part in _split(text):
        if part.strip().lower() in _NOTHING or _OTHER_KINDS.match(part):
            continue
        # "(null)" stands for no type; what else stands in parentheses are details.
        match = _ITEM.fullmatch(re.sub(r":\s*\(null\)", ":", part, flags=re.I))
        if match is None:
            if not _NAMES_GPUS.search(part):
                continue
            raise GresError(f"{part.strip()!r} is not name[:type][:count]")
        name = match["name"].lower()
        if name in _OTHER_TRES and not part.strip().lower().startswith("gres"):
            continue
        fields = [field.strip() for field in match["fields"].split(":")[1:]]
        named = match["count"]
        if named is not None and not (_COUNT.fullmatch(named) or _NAMES_GPUS.fullmatch(name)):
            continue
        if named is None and fields and _COUNT.fullmatch(fields[-1]):
            named = fields.pop()
        no_consume = NO_CONSUME in [field.lower() for field in fields]
        types = [field for field in fields if field and field.lower() != NO_CONSUME]
        if len(types) > 1 and _NAMES_GPUS.fullmatch(name):
            raise GresError(f"{part.strip()!r} names more than one type")
        yield Gres(
            name,
            ":".join(types),
            1 if named is None else _count(named, part),
            no_consume,
            match["details"].strip().strip("()").replace(")(", " "),
        )


def _count(text: str, part: str) -> int:
    match = _COUNT.fullmatch(text.strip())
    if match is None:
        raise GresError(f"{part.strip()!r} does not end in a number")
    number, unit = match.groups()
    return int(number) * _UNITS[unit.lower()]


def _split(text: str) -> Iterator[str]:
    """The parts between commas that are outside parentheses."""
    depth = start = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth <= 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]
