"""From a request to a batch script: ``LaunchRequest`` and the pure function ``render``."""

from ef_slurm.launch.render import render
from ef_slurm.launch.request import (
    Container,
    ContainerKind,
    LaunchError,
    LaunchRequest,
    is_python,
)

__all__ = ["Container", "ContainerKind", "LaunchError", "LaunchRequest", "is_python", "render"]
