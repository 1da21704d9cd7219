"""Job ids as people type them."""

from collections.abc import Callable

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.job_names import companion, means, parse_job_ids, parse_job_names
from ef_slurm.model import CompanionState, CompanionView, JobView


def test_job_ids() -> None:
    assert parse_job_ids(("12, 13", "14")) == (12, 13, 14)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "12,", "١٢", "9" * 5000])
def test_no_job_ids(text: str) -> None:
    with pytest.raises(UsageError, match="is no job id"):
        parse_job_ids((text,))


def test_a_companion_stands_for_its_job(job: Callable[..., JobView]) -> None:
    brought = CompanionView(1240, ("n2",), CompanionState.JOINED)
    grown = job(companions=(brought,))
    own, other, stranger, task = parse_job_names(("1234", "1240", "1241", "1240_1"))
    assert [means(one, grown) for one in (own, other, stranger, task)] == [True, True, False, False]
    assert [companion(one, grown) for one in (own, other, task)] == [None, brought, None]
