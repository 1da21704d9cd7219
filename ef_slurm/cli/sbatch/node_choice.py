"""Which nodes a job may have, by --constraint, --exclude, --nodelist and --nodefile.

Slurm keeps features and excluded nodes of a job through every change of its size, and ef-schedd
plans with what Slurm says of them. A list of nodes it would not keep: it is where ef-schedd writes
which nodes the job gets. So Slurm is told which nodes the job may not have: all others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions
from ef_slurm.formats.hostlist import HostlistError, compress, expand
from ef_slurm.model.bounds import LONGEST_ASKED
from ef_slurm.slurm.features import Features, FeaturesError, parse_features
from ef_slurm.slurm.types import SlurmNode

LARGEST_FILE = 1 << 20
"""Bytes of a file with nodes."""

TEMPORARY_DISK = "temporary disk per node"
"""What Slurm's field of `--tmp` is called in `SlurmJob.settings`."""
_SHOWN = 20
"""Names in an error."""


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """Where a job may run.

    Args:
        allowed: names; None for everywhere.
        options: that say so to sbatch.
        asked: the same in the words in which Slurm tells them of a job.
        notes: for the owner: what was made of the options.
    """

    allowed: frozenset[str] | None = None
    options: tuple[str, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, nodes: Sequence[SlurmNode]) -> tuple[SlurmNode, ...]:
        """Those of the nodes that it may have."""
        return tuple(node for node in nodes if self.allowed is None or node.name in self.allowed)


def node_choice(
    requested: SubmissionOptions, partition: str, nodes: Sequence[SlurmNode], problems: Problems
) -> NodeChoice:
    """The nodes that the options leave.

    Args:
        nodes: all of Slurm's.
        problems: takes what is wrong; such an option then leaves everything.
    """
    here = [node for node in nodes if partition in node.partitions and node.gpu_total]
    known = frozenset(node.name for node in nodes)
    gone: frozenset[str] = frozenset()
    options: list[str] = []
    asked: list[tuple[str, str]] = []
    notes: list[str] = []
    excluded: frozenset[str] = frozenset()
    if requested.exclude is not None:
        with problems.collecting():
            excluded = _named("--exclude", requested.exclude, known)
    if requested.constraint is not None:
        with problems.collecting():
            wanted = _features(requested.constraint, partition, here)
            without = frozenset(one.name for one in here if not wanted.allows(one.features))
            gone = without
            if wanted.is_flat:
                options.append(f"--constraint={wanted}")
                asked.append(("features", str(wanted)))
            else:  # which of such Slurm honours differs from version to version
                excluded |= without
                notes.append(f"--constraint={wanted}: kept from all nodes that have it not now")
    disk = requested.temporary_disk
    if disk is not None:
        asked.append((TEMPORARY_DISK, f"{math.ceil(disk)}"))
        gone |= {one.name for one in here if one.temporary_disk < math.ceil(disk)}
    within, flag = None, "--nodefile" if requested.nodelist is None else "--nodelist"
    with problems.collecting():
        within = _within(requested, known)
    if within is not None:
        names = {node.name for node in here}
        for name in sorted(within - names):
            problems.add(
                f"{flag}: {name}: no node with GPUs of the partition {partition}, which has "
                f"{_some(names)}"
            )
        excluded |= names - within
        some = _some(within & names)
        notes.append(f"{flag}: none but {some}; ef-slurm chooses which of them")
    if excluded:
        words = compress(sorted(excluded))
        if len(words) > LONGEST_ASKED:
            problems.add(
                f"the nodes that the job is not to have are a list of {len(words)} characters, and "
                f"{LONGEST_ASKED} is the most: say with --constraint which it may have"
            )
        options.append(f"--exclude={words}")
        asked.append(("excluded nodes", words))
    if not asked:
        return NodeChoice()
    allowed = frozenset(node.name for node in here) - gone - excluded
    if not allowed and not problems:
        given = [
            f"--{name}={text}"
            for name in ("constraint", "exclude", "nodelist", "nodefile")
            if (text := getattr(requested, name)) is not None
        ]
        if disk is not None:
            largest = max((one.temporary_disk for one in here), default=0.0)
            given.append(f"--tmp={math.ceil(disk)}M (the most that a node has is {largest:.0f}M)")
        problems.add(f"{' '.join(given)}: no node with GPUs of the partition {partition} is left")
    return NodeChoice(allowed, tuple(options), tuple(asked), tuple(notes))


def _features(constraint: str, partition: str, here: Sequence[SlurmNode]) -> Features:
    try:
        wanted = parse_features(constraint)
    except FeaturesError as error:
        raise UsageError(f"--constraint: {error}") from None
    found = {feature for node in here for feature in node.features}
    unknown = sorted(wanted.names - found)
    if unknown:
        raise UsageError(
            f"--constraint={constraint}: no node with GPUs of the partition {partition} has the "
            f"feature {unknown[0]!r} now; it has {', '.join(sorted(found)) or 'none'}"
        )
    return wanted


def _within(requested: SubmissionOptions, known: Collection[str]) -> frozenset[str] | None:
    if requested.nodelist is not None:
        if "/" in requested.nodelist:  # as sbatch tells the name of a file from a node's
            return _named("--nodelist", _read(requested.nodelist, "--nodelist"), known)
        return _named("--nodelist", requested.nodelist, known)
    if requested.nodefile is not None:
        return _named("--nodefile", _read(requested.nodefile, "--nodefile"), known)
    return None


def _named(flag: str, text: str, known: Collection[str]) -> frozenset[str]:
    try:
        names = frozenset(expand(text))
    except HostlistError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not names:
        raise UsageError(f"{flag}: name at least one node")
    unknown = sorted(names - frozenset(known))
    if unknown:
        raise UsageError(f"{flag}: Slurm has no node {_some(unknown)}; it has {_some(known)}")
    return names


def _read(file: str, flag: str) -> str:
    path = Path(file)
    try:
        if not path.is_file():
            raise UsageError(f"{flag}={file}: no such file")
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{flag}={file}: more than {LARGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{flag}={file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{flag}={file}: no text") from None
    return ",".join(text.split())


def _some(names: Collection[str]) -> str:
    ordered = sorted(names)
    try:
        text = compress(ordered)
    except HostlistError:
        text = ",".join(ordered)
    return text if len(text) <= 300 else f"{','.join(ordered[:_SHOWN])}, …"
