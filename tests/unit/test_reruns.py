"""A failing test is tried again only where its mark says why."""

import pytest

CONFTEST = "from tests.reruns import pytest_collection_modifyitems\n"
CONFIGURATION = """
[pytest]
addopts = --strict-markers
markers =
    unit
    cluster
    flaky_on_busy_machine
"""
FAILS_ONCE = """
import pytest
tries = []
{marks}
def test_fails_once():
    tries.append(1)
    assert len(tries) == 2
"""
CLUSTER = "@pytest.mark.cluster\n"
GOOD = "@pytest.mark.flaky_on_busy_machine(reason='a deadline in seconds')\n"


@pytest.fixture
def session(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(CONFIGURATION)
    pytester.makeconftest(CONFTEST)
    return pytester


def run(session: pytest.Pytester, marks: str) -> pytest.RunResult:
    session.makepyfile(FAILS_ONCE.format(marks=marks))
    return session.runpytest_inprocess("-p", "no:cacheprovider")


def test_a_marked_cluster_test_is_tried_once_more(session: pytest.Pytester) -> None:
    run(session, CLUSTER + GOOD).assert_outcomes(passed=1)


def test_one_try_more_is_all(session: pytest.Pytester) -> None:
    session.makepyfile(FAILS_ONCE.format(marks=CLUSTER + GOOD).replace("== 2", "== 3"))
    session.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(failed=1)


@pytest.mark.parametrize("marks", ["", CLUSTER], ids=["unit", "cluster"])
def test_without_the_mark_there_is_one_try(session: pytest.Pytester, marks: str) -> None:
    run(session, marks).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (GOOD, "a unit test has one try"),
        (CLUSTER + "@pytest.mark.flaky_on_busy_machine\n", "takes one argument: reason="),
        (CLUSTER + "@pytest.mark.flaky_on_busy_machine(reason=' ')\n", "one argument: reason="),
        (CLUSTER + "@pytest.mark.flaky_on_busy_machine('slow')\n", "one argument: reason="),
        (CLUSTER + "@pytest.mark.flaky(reruns=3)\n", "flaky_on_busy_machine(reason=...), not"),
    ],
)
def test_a_mark_that_does_not_say_why_stops_the_run(
    session: pytest.Pytester, marks: str, message: str
) -> None:
    result = run(session, marks)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    result.assert_outcomes()
