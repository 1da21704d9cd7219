"""`--mail-type` and `--mail-user`: what ef-slurm tells, and what stays Slurm's to tell.

BEGIN, END and the like are about the job, which Slurm starts and requeues for every change of its
GPUs: ef-slurm tells them, once. What Slurm alone knows goes to sbatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ef_slurm.model import ModelError, NoticeKind, check_mail_user

OURS: Mapping[str, NoticeKind] = MappingProxyType({kind.name: kind for kind in NoticeKind})
SLURMS = (
    *("TIME_LIMIT", "TIME_LIMIT_90", "TIME_LIMIT_80", "TIME_LIMIT_50"),
    *("STAGE_OUT", "INVALID_DEPEND"),
)
"""Types that go to sbatch."""
NO_EFFECT = frozenset({"ARRAY_TASKS"})
"""Each task of an array is a job of its own."""


def parse_mail_types(text: str) -> tuple[tuple[NoticeKind, ...], tuple[str, ...]]:
    """Types of ours, and those that are Slurm's, of words with commas between them.

    Raises:
        ValueError: a word is none; the text says which there are.

    >>> parse_mail_types("kept,TIME_LIMIT_90")
    ((<NoticeKind.KEPT: 'kept'>,), ('TIME_LIMIT_90',))
    """
    ours: dict[NoticeKind, None] = {}
    slurms: dict[str, None] = {}
    for word in (word.strip().upper().replace("-", "_") for word in text.split(",")):
        if word == "ALL":
            ours.update(dict.fromkeys(NoticeKind))
        elif word in OURS:
            ours[OURS[word]] = None
        elif word in SLURMS:
            slurms[word] = None
        elif word != "NONE" and word not in NO_EFFECT:
            raise ValueError(f"{word!r} is none of {', '.join((*OURS, 'ALL', 'NONE', *SLURMS))}")
    return tuple(ours), tuple(slurms)


def parse_mail_user(text: str) -> str:
    """Users or mail addresses.

    Raises:
        ValueError: something else.
    """
    try:
        check_mail_user(text)
    except ModelError as error:
        raise ValueError(f"expected {error.wanted}") from None
    return text


def sbatch_options(slurms: tuple[str, ...], user: str) -> tuple[str, ...]:
    """What sbatch gets of it."""
    if not slurms:
        return ()
    return (f"--mail-type={','.join(slurms)}", *((f"--mail-user={user}",) if user else ()))
