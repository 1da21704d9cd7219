"""A test that fails is tried once more only where its mark says why a busy machine can fail it."""

import pytest

MARK = "flaky_on_busy_machine"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test is a unit test unless it needs the cluster; a unit test has one try.

    Raises:
        UsageError: a test asks for a second try without a reason, or may have none.
    """
    wrong = []
    for item in items:
        if item.get_closest_marker("cluster") is None:
            item.add_marker(pytest.mark.unit)
        if error := _error(item):
            wrong.append(f"{item.nodeid}: {error}")
        elif item.get_closest_marker(MARK):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if wrong:
        raise pytest.UsageError("\n".join(wrong))


def _error(item: pytest.Item) -> str:
    """What is wrong with how a test asks for a second try; empty where nothing is."""
    if item.get_closest_marker("flaky"):
        return f"mark it {MARK}(reason=...), not flaky"
    marker = item.get_closest_marker(MARK)
    if marker is None:
        return ""
    if item.get_closest_marker("unit"):
        return "a unit test has one try"
    if marker.args or set(marker.kwargs) != {"reason"} or not str(marker.kwargs["reason"]).strip():
        return f"{MARK} takes one argument: reason="
    return ""
