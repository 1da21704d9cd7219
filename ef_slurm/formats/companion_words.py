"""What people are told of a job's companions."""

from __future__ import annotations

from ef_slurm.formats.hostlist import compress
from ef_slurm.model import CompanionState, CompanionView

_DOES = {
    CompanionState.WANTED: "is to bring {nodes}",
    CompanionState.SUBMITTED: "is to bring {nodes}, and is held in Slurm",
    CompanionState.RELEASED: "is to bring {nodes}, and Slurm is to start it",
    CompanionState.RUNNING: "has {nodes}, where its ranks start",
    CompanionState.READY: "has {nodes}, where its ranks wait to be taken in",
    CompanionState.JOINED: "trains with it on {nodes}",
    CompanionState.LEAVING: "leaves {nodes}",
    CompanionState.ENDED: "brought {nodes}, and has ended",
}


def companion_sentence(companion: CompanionView) -> str:
    """What a companion does now."""
    does = _DOES[companion.state].format(nodes=compress(companion.nodes))
    return f"Its companion, Slurm job {companion.job_id}, {does}."


def companion_word(companion: CompanionView) -> str:
    """One companion in a record: `1235:n2:joined`."""
    return f"{companion.job_id}:{compress(companion.nodes)}:{companion.state.value}"
