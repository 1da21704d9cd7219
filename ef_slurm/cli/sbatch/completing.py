"""What the Tab key offers for the values of a submission's options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ef_slurm.cli.common.completing import (
    Complete,
    complete_accounts,
    complete_ended_jobs,
    complete_gpu_types,
    complete_partitions,
    words_of,
)
from ef_slurm.model import IfInfeasible, StopSignal

COMPLETE: Mapping[str, Complete] = MappingProxyType(
    {
        "account": complete_accounts,
        "continue": complete_ended_jobs,
        "deadline": words_of(["+1h", "+6h", "tomorrow", "18:00"]),
        "gpu-type": complete_gpu_types,
        "if-infeasible": words_of(choice.value for choice in IfInfeasible),
        "partition": complete_partitions,
        "stop-signal": words_of(signal.value for signal in StopSignal),
    }
)
"""By name of the option."""
