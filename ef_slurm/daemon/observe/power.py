"""How long nodes that are powered down take to be there for a job (slurm.conf(5), power saving).

Slurm wakes a node when a job is released to it, so for us it is capacity that starts late. A node
that is powering down has to be off before it can be woken.
"""

from __future__ import annotations

from collections.abc import Iterable

from ef_slurm.formats.durations import parse_setting
from ef_slurm.model import Block
from ef_slurm.slurm.site_types import PowerTimes, SlurmConfiguration, SlurmPartition
from ef_slurm.slurm.types import Observation, SlurmNode

REREAD_SECONDS = 600.0
"""Seconds for which the site's times are believed: an operator changes them now and then."""


def power_times(
    configuration: SlurmConfiguration, partitions: Iterable[SlurmPartition]
) -> PowerTimes:
    """The site's times; a partition may have its own."""
    known = PowerTimes()
    resume = parse_setting(configuration.settings.get("ResumeTimeout", ""))
    suspend = parse_setting(configuration.settings.get("SuspendTimeout", ""))
    return PowerTimes(
        resume=known.resume if resume is None else resume,
        suspend=known.suspend if suspend is None else suspend,
        resume_of={
            one.name: one.resume_timeout for one in partitions if one.resume_timeout is not None
        },
    )


def wake_seconds(node: SlurmNode, power: PowerTimes) -> float:
    """Until a job that is released to the node can start there; 0 where it is up."""
    if not node.is_asleep:
        return 0.0
    # Slurm waits for the longest of the node's partitions.
    resume = max(
        (power.resume_of.get(name, power.resume) for name in node.partitions),
        default=power.resume,
    )
    return resume + (power.suspend if node.is_powering_down else 0.0)


def wake_seconds_of(observation: Observation, block: Block) -> float:
    """The same of all nodes of a block."""
    return max(
        (
            wake_seconds(node, observation.power)
            for node in observation.nodes
            if node.name in block.nodes
        ),
        default=0.0,
    )
