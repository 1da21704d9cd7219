"""What a job's owner is told while they are not looking (`--mail-type`, `--mail-user`)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from ef_slurm.model.errors import ModelError


class NoticeKind(enum.Enum):
    """What somebody may want to be told of a job: once for each time that it comes to pass."""

    BEGIN = "begin"  # it trains for the first time
    END = "end"  # it has ended, however
    FAIL = "fail"  # it has ended without being complete, and its owner did not cancel it
    REQUEUE = "requeue"  # it lost its GPUs, and ef-slurm had not taken them
    PROMISED = "promised"  # its deadline is promised; also another one, and one that was at risk
    AT_RISK = "at-risk"  # it is predicted to miss it
    LATE = "late"  # it has missed it
    KEPT = "kept"  # it is complete in time


class NoticeState(enum.Enum):
    """How far the telling is."""

    OPEN = "open"
    SENDING = "sending"  # for the only moment in which a kill leaves open whether it was sent
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"  # overtaken before it was sent


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell about one job.

    Args:
        job_id: the queue's.
        at: when it came to pass, UTC epoch seconds.
        message: a sentence.
        tries: how often it was tried to send it, this time included.
    """

    id: int
    job_id: int
    kind: NoticeKind
    at: float
    message: str
    tries: int


MOST_ADDRESSES = 5
_ADDRESS = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.+%=-]{0,63}(?:@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)?",
    re.A,
)


def is_address(text: str) -> bool:
    """Whether it can only be taken for a user, or for a mail address, by any mail program.

    >>> is_address("ann+gpu@example.org"), is_address("-oQ/tmp"), is_address("a b@example.org")
    (True, False, False)
    """
    return _ADDRESS.fullmatch(text) is not None


def check_mail_user(text: str) -> None:
    """Refuse what is no list of users or mail addresses.

    Raises:
        ModelError: it is not.
    """
    parts = text.split(",")
    if len(parts) > MOST_ADDRESSES or not all(map(is_address, parts)):
        wanted = f"users or mail addresses, {MOST_ADDRESSES} at most, with commas between them"
        raise ModelError("mail user", text, wanted)
