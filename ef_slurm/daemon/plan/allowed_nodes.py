"""The nodes that a job is not to run on, by what Slurm says that it asks for: holes for it alone.

>>> nodes = (SlurmNode("n1", frozenset(), features=("a100",)), SlurmNode("n2", frozenset()))
>>> sorted(AllowedNodes(lambda: nodes).bars((("features", "a100"),))[0].nodes)
['n2']
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ef_slurm.formats.hostlist import HostlistError, expand
from ef_slurm.formats.numbers import parse_count
from ef_slurm.model import Bar, Job, SlurmSettings
from ef_slurm.slurm.features import FeaturesError, parse_features
from ef_slurm.slurm.types import SlurmNode


class AllowedNodes:
    """Which of Slurm's nodes a job is not to run on. Many jobs ask for the same: kept by its words.

    Args:
        nodes: tells them, as Slurm last told of them.
    """

    def __init__(self, nodes: Callable[[], tuple[SlurmNode, ...]]) -> None:
        self._of_now = nodes
        self._nodes: tuple[SlurmNode, ...] = ()
        self._without: dict[str, frozenset[str]] = {}
        self._excluded: dict[str, frozenset[str]] = {}

    def restricted(self, job: Job, settings: SlurmSettings) -> Job:
        """The job with what its owner, or whoever changed it in Slurm, keeps it from."""
        bars = self.bars(settings)
        if not bars:
            return job
        return replace(job, bars=(*job.bars, *bars))

    def bars(self, settings: SlurmSettings) -> tuple[Bar, ...]:
        """Nodes that it is not to run on, for any number of GPUs."""
        if self._nodes is not (now := self._of_now()):
            self._nodes = now
            self._without.clear()
            self._excluded.clear()
        words = dict(settings)
        excluded = self._named(words.get("excluded nodes", ""))
        found = (
            excluded,
            self._lacking(words.get("features", "")),
            self._too_small(words.get("temporary disk per node", "")),
        )
        return tuple(Bar(nodes) for nodes in found if nodes)

    def _too_small(self, text: str) -> frozenset[str]:
        wanted = parse_count(text)
        if not wanted:
            return frozenset()
        return frozenset(node.name for node in self._nodes if node.temporary_disk < wanted)

    def _named(self, text: str) -> frozenset[str]:
        if text and text not in self._excluded:
            try:
                self._excluded[text] = frozenset(expand(text))
            except HostlistError:
                self._excluded[text] = frozenset()  # Slurm keeps it from them, whatever they are
        return self._excluded.get(text, frozenset())

    def _lacking(self, text: str) -> frozenset[str]:
        if text and text not in self._without:
            try:
                wanted = parse_features(text)
            except FeaturesError:
                self._without[text] = frozenset()  # Slurm honours what cannot be planned with
            else:
                self._without[text] = frozenset(
                    node.name for node in self._nodes if not wanted.allows(node.features)
                )
        return self._without.get(text, frozenset())
