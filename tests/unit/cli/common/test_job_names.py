"""Job ids as people type them."""

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.job_names import parse_job_ids


def test_job_ids() -> None:
    assert parse_job_ids(("12, 13", "14")) == (12, 13, 14)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "12,", "١٢", "9" * 5000])
def test_no_job_ids(text: str) -> None:
    with pytest.raises(UsageError, match="is no job id"):
        parse_job_ids((text,))
