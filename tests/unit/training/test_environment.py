"""What the job's variables and the script say together."""

import pytest

from ef_slurm.contract import ContractError
from ef_slurm.training.environment import environment, targets


@pytest.mark.parametrize("number", [10_000, 1e4])
def test_counts_may_be_written_as_python_has_them(
    number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EF_ITERATIONS", raising=False)
    found = environment({"iterations": number, "global_batch_size": 8})
    assert targets(found) == (10_000, 8)
    assert isinstance(found.iterations, int)
    assert isinstance(found.script_iterations, int)


@pytest.mark.parametrize("number", [1.5, "1e4", True, -1, float("nan"), float("inf")])
def test_what_is_no_count_is_told(number: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EF_ITERATIONS", raising=False)
    with pytest.raises(ContractError, match="expected a whole number of 0 or more"):
        targets(environment({"iterations": number, "global_batch_size": 8}))
