"""What comes with each GPU of a job, by what its owner asked Slurm for.

>>> per_gpu_of((("CPUs per GPU", "gres/gpu:8"), ("memory per CPU", "2048")))
PerGpu(cpus=8.0, memory=16384.0)
>>> per_gpu_of((("memory per GPU", "gres/gpu:65536"),))
PerGpu(cpus=0.0, memory=65536.0)
"""

from __future__ import annotations

import re

from ef_slurm.model import PerGpu, SlurmSettings

_COUNT = re.compile(r"[:=](\d+)$")


def per_gpu_of(settings: SlurmSettings) -> PerGpu:
    """CPUs and MiB for each GPU; 0 for what was not asked for by GPU.

    Args:
        settings: `SlurmJob.settings`.
    """
    words = dict(settings)
    cpus = _count(words.get("CPUs per GPU", ""))
    memory = _count(words.get("memory per GPU", ""))
    per_cpu = words.get("memory per CPU", "")
    if not memory and per_cpu.isdigit():
        memory = float(per_cpu) * max(1.0, cpus)
    return PerGpu(cpus, memory)


def _count(words: str) -> float:
    """The number of "gres/gpu:8", or of "gres:gpu:8"."""
    found = _COUNT.search(words)
    return float(found[1]) if found else 0.0
