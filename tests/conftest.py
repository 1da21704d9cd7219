"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.reruns import pytest_collection_modifyitems as pytest_collection_modifyitems

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The published traces and throughput tables, which are not part of the project."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("EF_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no published data at {path} (set EF_SHARED_DATA)")
    return path
