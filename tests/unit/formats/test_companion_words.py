"""What is told of companions."""

import pytest

from ef_slurm.formats.companion_words import companion_sentence, companion_word
from ef_slurm.model import CompanionState, CompanionView


@pytest.mark.parametrize("state", CompanionState)
def test_each_state_has_words(state: CompanionState) -> None:
    companion = CompanionView(18, ("n2", "n3"), state)
    told = companion_sentence(companion)
    assert told.startswith("Its companion, Slurm job 18, ")
    assert "n[2-3]" in told
    assert companion_word(companion) == f"18:n[2-3]:{state.value}"
