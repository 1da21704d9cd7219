"""Nodes that one job may not use."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.model.errors import ModelError


@dataclass(frozen=True, slots=True)
class Bar:
    """A job may have no block of `from_gpus` GPUs or more that touches one of `nodes`."""

    nodes: frozenset[str]
    from_gpus: int = 1

    def __post_init__(self) -> None:
        if self.from_gpus < 1:
            raise ModelError("bar", self.from_gpus, "1 GPU or more")
