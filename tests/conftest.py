"""What all tests share: every test is a unit test unless it says that it needs the cluster."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("cluster") is None:
            item.add_marker(pytest.mark.unit)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The published traces and throughput tables, which are not part of the project."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("EF_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no published data at {path} (set EF_SHARED_DATA)")
    return path
