"""What a refusal of Slurm's says: about the job's size, about nodes, or about the job itself.

Slurm may refuse any shape, when it is asked for or by never starting it. Its words are one of
hundreds of reasons (`squeue`'s, src/common/job_state_reason.c) or error messages
(src/common/slurm_errno.c), and new ones come with every version: what no row knows says nothing
about whether the size or the nodes were wrong.

>>> refusal_of("QOSMaxGRESPerUser")
<Refused.SIZE: 'size'>
>>> refusal_of("ReqNodeNotAvail, UnavailableNodes:n3")
<Refused.NODES: 'nodes'>
>>> refusal_of("a reason that nobody has seen before")
<Refused.UNKNOWN: 'unknown'>
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Refused(enum.Enum):
    """What Slurm refuses, as far as its words tell."""

    SIZE = "size"  # this many GPUs, CPUs or nodes, wherever: a limit, or no node has as much
    NODES = "nodes"  # these nodes, at any size
    JOB = "job"  # the job as it is, at any size and on any node
    BUSY = "busy"  # these nodes at this size just now: somebody else has something there
    UNKNOWN = "unknown"  # the words do not tell


@dataclass(frozen=True, slots=True)
class RefusalRule:
    """One row: words that fit the pattern, whatever their case, say `refused`."""

    refused: Refused
    pattern: str

    def fits(self, words: str) -> bool:
        """Whether the row speaks of these words."""
        return re.search(self.pattern, words, re.IGNORECASE) is not None


REFUSAL_RULES = (
    RefusalRule(Refused.SIZE, r"accounting/QOS policy"),
    # Time, numbers of jobs and names: no other shape helps.
    RefusalRule(Refused.JOB, r"MaxWall|TimeLimit|time limit|MaxJobs|MaxSubmit|SubmitJob|JobLimit"),
    RefusalRule(Refused.JOB, r"Dependency|JobHoldMaxRequeue|DeadLine|BeginTime"),
    RefusalRule(Refused.JOB, r"Invalid ?(account|qos)|(Account|QOS|Partition)NotAllowed"),
    RefusalRule(Refused.JOB, r"Partition(Down|Inactive|Config)|ReservationDeleted|Licenses"),
    RefusalRule(Refused.JOB, r"permission denied|not permitted to use"),
    # How much, of GPUs or of what comes with them.
    RefusalRule(Refused.SIZE, r"Assoc|QOS|Limit|policy"),
    RefusalRule(Refused.SIZE, r"BadConstraints|node configuration is not available"),
    RefusalRule(Refused.SIZE, r"(processors|CPUs|memory|nodes|tasks).*(permitted|available)"),
    RefusalRule(Refused.SIZE, r"CPU count|node count|generic resource|topology"),
    # Where.
    RefusalRule(Refused.NODES, r"NodeNotAvail|NodeDown|DOWN, DRAINED|node name|not respond"),
    RefusalRule(Refused.NODES, r"Reservation|FrontEnd|BootFail|NodeFail|launch failed|Prolog"),
    RefusalRule(Refused.BUSY, r"^(Resources|Priority|None|Cleaning|JobArrayTaskLimit)?$|busy"),
)


def refusal_of(words: str) -> Refused:
    """What Slurm's words refuse.

    Args:
        words: a pending job's reason, or the message of a command that failed.
    """
    rules = (rule for rule in REFUSAL_RULES if rule.fits(words.strip()))
    rule = next(rules, None)
    return Refused.UNKNOWN if rule is None else rule.refused


def is_hopeless(reason: str) -> bool:
    """Whether a released job that pends for this reason need not be waited for."""
    return refusal_of(reason) in (Refused.SIZE, Refused.JOB)
