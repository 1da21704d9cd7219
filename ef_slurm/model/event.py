"""The audit log: who, what, why, numbers."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
else:
    # Who reads the hints at run time (the codec) cannot follow an alias into itself.
    Json = Any


class EventKind(enum.Enum):
    """What the audit log tells."""

    SUBMITTED = "submitted"
    STATE = "state"  # data: from, to
    VERDICT = "verdict"
    PROMISED = "promised"
    PROMISE = "promise"  # its state changed; data: from, to
    SHARE = "share"  # GPUs changed; data: from, to, nodes
    INTENT = "intent"  # data: intent, action, state
    NODE = "node"  # lost or back, or waited for
    MEASURED = "measured"  # data: job_id's seconds per change, or iterations/s at a share
    USER = "user"  # somebody acted on the Slurm job behind our back
    DAEMON = "daemon"  # started, stopped, recovered
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log: who, what, why, numbers.

    Args:
        job_id: None for what concerns no job in particular.
        actor: "ef-schedd", or the user that did it.
        message: a sentence.
    """

    at: float
    kind: EventKind
    actor: str
    message: str
    job_id: int | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    id: int = 0


PUT_BACK = "put_back"
"""In an event's data of a job that lost its run, or time: whether that was not its own doing."""

ACTOR = "ef-schedd"
"""Who did it, in an event that the daemon writes of its own accord."""
