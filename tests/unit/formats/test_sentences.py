"""Reasons in words."""

from __future__ import annotations

import pytest

from ef_slurm.formats.sentences import reason_sentence
from ef_slurm.model import Reason, ReasonCode


@pytest.mark.parametrize(
    ("code", "measured", "words"),
    [
        (ReasonCode.PAUSED, False, "pauses: the promise to job 12 needs its GPUs"),
        (ReasonCode.PAUSED, True, "pauses: job 12 is measured on its GPUs first"),
        (ReasonCode.SHRANK, False, "shrinks to 4 GPUs: the promise to job 12 needs the rest"),
        (ReasonCode.SHRANK, True, "shrinks to 4 GPUs: job 12 is measured on the rest first"),
    ],
)
def test_who_makes_room_hears_for_what(code: ReasonCode, measured: bool, words: str) -> None:
    reason = Reason(code, job="0000000003", gpus=4, measured=measured)
    assert reason_sentence(reason, lambda _: "12") == words
