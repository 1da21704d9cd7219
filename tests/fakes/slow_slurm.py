"""A Slurm whose commands take time, as many of them as `CommandSlurm` would run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

COMMANDS: Mapping[str, int] = MappingProxyType(
    {
        "observe": 3,
        "job": 1,
        "ended": 1,
        "nodes": 1,
        "partitions": 1,
        "configuration": 1,
        "submit": 1,
        "hold": 1,
        "update": 2,  # and read back; what was last seen says that it pends
        "release": 1,
        "resize": 3,
        "step_nodes": 1,
        "requeue": 1,
        "signal": 1,
        "cancel": 1,
    }
)


class SlowSlurm:
    """Another one's answers, later.

    Args:
        take: is told after how many commands an answer comes, and lets time pass.
    """

    def __init__(self, slurm: object, take: Callable[[int], None]) -> None:
        self._slurm = slurm
        self._take = take

    def __getattr__(self, name: str) -> Any:
        method, commands = getattr(self._slurm, name), COMMANDS.get(name, 0)
        if not commands:
            return method

        def slowly(*arguments: Any, **options: Any) -> Any:
            self._take(commands)
            return method(*arguments, **options)

        return slowly
