"""Steps of a job, as `squeue --steps` lists them."""

from __future__ import annotations

import re

from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.slurm.errors import UnexpectedOutputError

_STEP = re.compile(r"(\d+)\.(\S+) +(\S*)\s*", re.ASCII)
_SLURMS_OWN = frozenset({"batch", "extern"})


def parse_step_nodes(text: str, job_id: int) -> frozenset[str]:
    """Nodes on which steps of a job run, its batch script and Slurm's own step not counted.

    Args:
        text: a line for each step: `%i %N`.

    Raises:
        UnexpectedOutputError: it is something else.

    >>> sorted(parse_step_nodes("7.batch n1\\n7.0 n[1-2]\\n8.0 n3\\n", 7))
    ['n1', 'n2']
    """
    nodes: set[str] = set()
    for line in text.splitlines():
        if not line.strip():
            continue
        found = _STEP.fullmatch(line)
        if found is None:
            raise UnexpectedOutputError(f"squeue wrote {line!r}, no step and its nodes")
        if int(found[1]) != job_id or found[2] in _SLURMS_OWN:
            continue
        try:
            nodes.update(expand(found[3]))
        except HostlistError as error:
            raise UnexpectedOutputError(f"squeue wrote {line!r}: {error}") from None
    return frozenset(nodes)
